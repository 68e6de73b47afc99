//! What comes from outside, byte for byte, into the readers that meet it: entry points for the fuzzer (`fuzz/`), in no other build.

#![allow(clippy::disallowed_methods)] // files of the fuzzer's own, which no crash harness stops at

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::OnceLock;

use apis::cni::{ADD_PATH, AddRequest, CONFIRM_PATH, ConfirmRequest, DELETE_PATH, DelRequest, MacAddress};
use apis::stream as wire;

use crate::apply::reexamine;
use ovs_pipeline::{Datapath, Intent, Node, Part};
use prost::Message;

use crate::apply::flows::Flows;
use crate::ipam::attachment::alias::Label;
use crate::ipam::attachment::{Attachment, Attachments, PodNetwork};
use crate::ledger::Ledger;
use crate::ledger::store::Store;
use crate::ovs::jsonrpc::{self, Decoder};
use crate::ovs::{openflow, ovsdb};
use crate::plan::{Planner, Wanted};
use crate::serve::trace;
use crate::state::{Attached, Changed, IdentityId, PodKey, RuleId, State, SwitchPorts};
use crate::watch::journal::Journal;
use crate::watch::stream::Gathering;

/// The node of the sample clusters that is fuzzed.
const NODE: &str = "node-a";

/// A connection to a switch.
pub fn openflow_stream(data: &[u8]) {
    openflow::fuzzing::stream(data);
}

/// A connection to a database with the schema that Open vSwitch ships.
pub fn ovsdb(data: &[u8]) {
    static SCHEMA: OnceLock<ovsdb::schema::Schema> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let places = ["/usr/share/openvswitch/vswitch.ovsschema", "/usr/local/share/openvswitch/vswitch.ovsschema"];
        let text = places.iter().find_map(|place| std::fs::read_to_string(place).ok());
        text.and_then(|text| ovsdb::fuzzing::schema(&text)).expect("Open vSwitch is installed, with its schema")
    });
    ovsdb::fuzzing::session(schema, data);
}

/// A control socket's answers: a trace, or tracked connections.
pub fn unixctl(data: &[u8]) {
    let mut decoder = Decoder::default();
    decoder.feed(data);
    while let Ok(Some(message)) = decoder.next() {
        let jsonrpc::Message::Response { result: Ok(result), .. } = message else { continue };
        let Some(text) = result.as_str() else { continue };
        let _ = trace::read(text);
        text.lines().for_each(reexamine::fuzzing::look_at);
    }
}

fn network() -> PodNetwork {
    PodNetwork {
        pod_cidrs: ["10.10.1.0/28", "fd00:10:0:1::/120"].map(|range| range.parse().expect("a range")).to_vec(),
        gateway_mac: MacAddress([0x0a, 0, 0, 0, 0, 0xff]),
        mtu: 1450,
        transmit_checksum_offload: false,
    }
}

/// What plugins ask, a line each: a path and a body.
pub fn cni_socket(data: &[u8]) {
    let mut attachments = Attachments::new(network());
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let Some(space) = line.iter().position(|byte| *byte == b' ') else { continue };
        let (path, body) = (&line[..space], &line[space + 1..]);
        if path == ADD_PATH.as_bytes() {
            if let Ok(request) = serde_json::from_slice::<AddRequest>(body) {
                let _ = attachments.plan(&request, 1);
            }
        } else if path == CONFIRM_PATH.as_bytes() {
            if let Ok(request) = serde_json::from_slice::<ConfirmRequest>(body)
                && let Ok((attachment, _)) = attachments.confirm(&request)
            {
                written_and_read(&attachment);
            }
        } else if path == DELETE_PATH.as_bytes()
            && let Ok(request) = serde_json::from_slice::<DelRequest>(body)
        {
            let _ = attachments.remove(&request, 1);
        }
    }
}

/// What is written beside a pod's interface says the same when it is read.
fn written_and_read(attachment: &Attachment) {
    let read = Attachment::from_external_ids(&attachment.host_interface, &attachment.external_ids());
    if let Ok(Some(read)) = read {
        assert_eq!(read.addresses, attachment.addresses);
    }
}

/// What is written beside an interface in the database, `key=value` a line.
pub fn attachment(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Or on its link: the alias, then alternative names.
    let mut words = text.lines();
    let label = Label {
        alias: words.next().unwrap_or_default().to_owned(),
        alternative_names: words.map(str::to_owned).collect(),
    };
    if let Ok(Some(attachment)) = Attachment::from_label("web-1a2b3c4d", &label)
        && let Ok(Some(again)) = Attachment::from_label("web-1a2b3c4d", &attachment.label())
    {
        assert_eq!(again.addresses, attachment.addresses);
    }
    let ids: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    if let Ok(Some(attachment)) = Attachment::from_external_ids("web-1a2b3c4d", &ids) {
        written_and_read(&attachment);
        let mut attachments = Attachments::new(network());
        attachments.restore(attachment);
    }
}

/// An attachment with these addresses, as it is written.
pub fn written_attachments(addresses: &str) -> Vec<String> {
    let attachment = Attachment {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        container_id: "c1".to_owned(),
        interface: "eth0".to_owned(),
        network_namespace: PathBuf::from("/run/netns/x"),
        host_interface: "web-1a2b3c4d".to_owned(),
        addresses: addresses.split(',').map(|address| address.parse().expect("an address")).collect(),
        mac: MacAddress([0x0a, 0, 0, 0, 0, 1]),
        network: "ferrant".to_owned(),
        port: Some(0x1000),
        since: 1,
    };
    let lines = attachment.external_ids().into_iter().map(|(key, value)| format!("{key}={value}\n"));
    let Label { alias, alternative_names } = attachment.label();
    vec![lines.collect(), std::iter::once(alias).chain(alternative_names).collect::<Vec<_>>().join("\n")]
}

/// A file of this process's own for a reader that wants one.
fn as_file<T>(name: &str, data: &[u8], read: impl FnOnce(&std::path::Path) -> T) -> T {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("ferrant-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for temporary files");
        folder
    });
    let path = folder.join(name);
    std::fs::write(&path, data).expect("a temporary file");
    read(&path)
}

/// The ledger that an earlier life left behind.
pub fn ledger(data: &[u8]) {
    as_file("ledger", data, |path| {
        let Ok((mut store, mut ledger, _)) = Store::open(path, Some(3)) else { return };
        // What it gave out it gives out again, and the next is another.
        let known = ledger.identity(IdentityId([1; 16]));
        assert_ne!(known, ledger.identity(IdentityId([0xee; 16])));
        let _ = store.append(&ledger.take_pending());
    });
}

/// Ledgers as they are written.
pub fn written_ledgers() -> Vec<Vec<u8>> {
    let mut ledger = Ledger::new(3);
    let empty = as_file("seed", &[], |path| {
        let _ = Store::rewrite(path, &ledger);
        std::fs::read(path).unwrap_or_default()
    });
    for number in 1..5 {
        ledger.identity(IdentityId([number; 16]));
        ledger.rule(RuleId([number; 16]));
        ledger.isolation(ovs_pipeline::Direction::Ingress, IdentityId([number; 16]));
        ledger.conjunction(RuleId([number; 16]), &[6, 0, 80, 0, 90, number]);
    }
    let full = as_file("seed", &[], |path| {
        let _ = Store::rewrite(path, &ledger);
        std::fs::read(path).unwrap_or_default()
    });
    vec![empty, full]
}

/// What a controller said last, as an earlier life left it on disk.
pub fn journal(data: &[u8]) {
    as_file("frames", data, |path| {
        let (journal, _) = Journal::open(path, NODE);
        drop(journal.holding());
    });
}

/// A journal of these frames.
pub fn written_journal(parts: &[wire::Frame]) -> Vec<u8> {
    as_file("seed", &[], |path| {
        let (mut journal, _) = Journal::open(path, NODE);
        for part in parts {
            journal.part(part);
            if part.last {
                journal.commit();
            }
        }
        std::fs::read(path).unwrap_or_default()
    })
}

/// Where what the planner wants becomes flows.
#[derive(Default)]
struct Merged(Flows);

impl Wanted for Merged {
    fn want(&mut self, intent: &Intent, node: &Node) {
        let _ = ovs_pipeline::flows(intent, node, &mut |part: Part| drop(self.0.add(&part, false)));
    }

    fn withdraw(&mut self, intent: &Intent, node: &Node) {
        let _ = ovs_pipeline::flows(intent, node, &mut |part: Part| self.0.remove(&part));
    }
}

/// A node whose switch stands and that has a pod.
fn node() -> State {
    let mut state = State::new(NODE, Datapath::Netdev);
    let mut changed = Changed::default();
    let gateway = Some((2, [0x0a, 0, 0, 0, 0, 0xff]));
    state.set_ports(SwitchPorts { tunnel: Some(1), gateway }, &mut changed);
    let addresses = ["10.10.1.2", "fd00:10:0:1::2"].map(|text| text.parse::<IpAddr>().expect("an address"));
    let pod = Attached {
        interface: "web-1a2b3c4d".to_owned(),
        port: Some(3),
        mac: [0x0a, 0, 0, 0, 0, 1],
        addresses: addresses.into_iter().collect(),
        container: "c1".to_owned(),
    };
    state.set_attached(&PodKey::new("shop", "web"), Some(pod), &mut changed);
    state
}

/// What a controller says, message after message, down to the flows that come of it.
pub fn from_controller(mut data: &[u8]) {
    let (mut state, mut ledger) = (node(), Ledger::new(0));
    let (mut planner, mut flows) = (Planner::default(), Merged::default());
    let mut changed = Changed::everything();
    let mut gathering = Gathering::new(NODE);
    while let Ok(message) = wire::FromController::decode_length_delimited(&mut data) {
        let Some(wire::from_controller::Message::Frame(part)) = message.message else { continue };
        let Ok(gathered) = gathering.take(part) else { return };
        let Some(frame) = gathered else { continue };
        let accepted = state.frame.as_ref().map(|frame| frame.version.clone()).unwrap_or_default();
        if frame.version.follows(&accepted).is_err() {
            return;
        }
        state.take_frame(frame, &mut changed);
        planner.update(&state, &mut ledger, &std::mem::take(&mut changed), &mut flows);
    }
}
