//! A file of the source, for the fuzzer.

use super::read;
use crate::object::{Object, Pool};

/// Its valid objects.
pub fn objects(bytes: &[u8]) -> Vec<Object> {
    let contents = read::small(bytes, &mut Pool::default());
    contents.documents.into_iter().filter_map(|document| document.object.ok()).map(|valid| valid.object).collect()
}
