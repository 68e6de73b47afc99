//! Compiles the controller-agent protocol without a system `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["proto/stream.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".ferrant.v1").btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
