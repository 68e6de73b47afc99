//! `docs/pipeline.md` is generated from the tables, the registers and the flows of one scenario; a stale page fails.

#[allow(dead_code, reason = "each test target uses its part of the harness")]
mod page;
#[allow(dead_code, reason = "each test target uses its part of the harness")]
mod scenario;

use std::path::Path;

#[test]
#[allow(clippy::disallowed_methods, reason = "the page is a file")]
fn the_page_is_what_the_pipeline_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pipeline.md");
    let page = page::generate().expect("the page can be made");
    if scenario::golden::bless() {
        std::fs::write(&path, page).expect("the page can be written");
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let first = page.lines().zip(written.lines()).enumerate().find(|(_, (new, old))| new != old);
    assert!(page == written, "docs/pipeline.md is stale (from {first:?}); BLESS=1 rewrites it, review the difference");
}
