//! The version vector as it goes on the wire: what has changed since a stream was last told, encoded once for all streams that
//! were told the same.

use apis::stream as wire;
use bytes::Bytes;
use hashbrown::HashMap;
use prost::Message;

use crate::object::ObjectKey;
use crate::state::{Since, State};

/// Encoded versions of one moment.
#[derive(Default)]
pub(super) struct EncodedVersions {
    at: u64,
    encoded: HashMap<(Option<u64>, bool), Bytes>,
}

impl EncodedVersions {
    /// The version, with the nodes that have changed since a change; with none, the whole.
    pub fn of(&mut self, state: &State, since: Option<u64>, protocol: u32) -> Bytes {
        if self.at != state.change() {
            self.encoded.clear();
            self.at = state.change();
        }
        let first = protocol < 2;
        let since = since.filter(|_| !first);
        let make = || Bytes::from(version(state, since, first).encode_to_vec());
        self.encoded.entry((since, first)).or_insert_with(make).clone()
    }
}

/// In a directory all kinds carry one version; a Kubernetes source will give each its own. `first`: for protocol version 1.
fn version(state: &State, since: Option<u64>, first: bool) -> wire::Version {
    let source = state.source().version;
    let kinds = ObjectKey::KINDS.into_iter().filter(|_| first);
    let nodes = state.versions_since(since.unwrap_or(0));
    // Whoever was told of a node knows its boot.
    let boot = |of: &Since<'_>| if of.other_boot || first { of.version.boot.clone() } else { Bytes::new() };
    let node = |of: &Since<'_>| wire::NodeVersion { boot: boot(of), sequence: of.version.sequence };
    wire::Version {
        source: kinds.map(|kind| (kind.to_owned(), source)).collect(),
        nodes: nodes.map(|of| (of.node.to_string(), node(&of))).collect(),
        every: if first { 0 } else { source },
        whole: !first && since.is_none(),
    }
}
