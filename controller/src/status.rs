//! What the controller says of its source in files beside it: `errors.json`.

use std::fs;
use std::io;
use std::path::Path;

use crate::watch::SourceError;

/// Writes all that is wrong with the source, as one file that is whole at any moment.
pub fn write_errors(status: &Path, errors: &[SourceError]) -> io::Result<()> {
    let body = serde_json::to_vec_pretty(&serde_json::json!({ "errors": errors }))?;
    let (path, new) = (status.join("errors.json"), status.join(".errors.json.new"));
    fs::write(&new, body)?;
    fs::rename(&new, &path)
}
