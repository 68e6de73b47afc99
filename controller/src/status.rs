//! What the controller says of its source in files beside it: `errors.json`. Of several controllers only the holder of the lease
//! writes it.

use std::fs;
use std::io;
use std::path::Path;

use crate::lease::Lease;
use crate::watch::SourceError;

/// Writes all that is wrong with the source, as one file that is whole at any moment; nothing where another holds the lease.
pub fn write_errors(status: &Path, errors: &[SourceError], lease: &Lease) -> io::Result<()> {
    if !lease.is_held() {
        return Ok(());
    }
    let body = serde_json::to_vec_pretty(&serde_json::json!({ "errors": errors }))?;
    let (path, new) = (status.join("errors.json"), status.join(format!(".errors.{}.json.new", std::process::id())));
    fs::write(&new, body)?;
    // Asked again: the process may have been paused while it wrote.
    if lease.is_held() { fs::rename(&new, &path) } else { fs::remove_file(&new) }
}
