//! The plugin's process: environment and standard input in, one document and an exit code out.

// Input and output are the wrappers' (tidy/tests/wrappers.rs).
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let answer = cni::answer(|name| std::env::var_os(name), io::stdin().lock());
    fault::point("plugin.answer.before");
    if let Some(document) = answer.document
        && let Err(error) = writeln!(io::stdout().lock(), "{document}")
    {
        eprintln!("ferrant-cni: the answer cannot be written to standard output: {error}");
        return ExitCode::FAILURE;
    }
    if answer.success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
