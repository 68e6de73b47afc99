//! A database's words, for the fuzzer.

use serde_json::Value;

use super::link;
use super::monitor::Cache;
use super::row;
use super::schema::Schema;
use super::transaction::Transaction;
use crate::ipam::attachment::Attachment;
use crate::ovs::jsonrpc::{Decoder, Message};
use crate::watch;

/// Reads messages as the client does: updates of the monitor, answers to the questions it asks; then what the agent reads of the rows.
pub fn session(schema: &Schema, data: &[u8]) {
    let mut decoder = Decoder::default();
    let mut cache = Cache::new(schema);
    for piece in data.chunks(1021) {
        decoder.feed(piece);
        while let Ok(Some(message)) = decoder.next() {
            if let Some(updates) = link::updates(&message) {
                let _ = cache.apply(updates);
            } else if let Message::Response { result: Ok(result), .. } = message {
                answered(&mut cache, result);
            }
            for (name, fact) in watch::ovs::read(&cache, "br-int") {
                let _ = Attachment::from_external_ids(&name, &fact.external_ids);
            }
        }
    }
}

/// An answer may be one to any question: the rows of a new monitor, a schema, what became of a transaction.
fn answered(cache: &mut Cache, result: Value) {
    if let Some(rows) = result.get(2) {
        let _ = cache.apply(rows);
    }
    if let Ok(schema) = Schema::from_json(&result)
        && row::check(&schema).is_ok()
    {
        drop(cache.replace(Cache::new(&schema)));
    }
    let _ = Transaction::new().outcome(result);
}

/// The schema that Open vSwitch ships.
pub fn schema(text: &str) -> Option<Schema> {
    let schema = Schema::from_json(&serde_json::from_str(text).ok()?).ok()?;
    row::check(&schema).is_ok().then_some(schema)
}
