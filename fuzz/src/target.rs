//! The targets: who reads what from outside. Each is a function of bytes that may do anything but panic, run out of memory or not end.

use openflow::{HEADER_LENGTH, Message};

/// One reader.
pub struct Target {
    /// Its name, also of its folder of seeds.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "openflow", run: openflow_message },
    Target { name: "openflow_stream", run: agent::fuzzing::openflow_stream },
    Target { name: "packet_in", run: packet_in },
    Target { name: "ovsdb", run: agent::fuzzing::ovsdb },
    Target { name: "unixctl", run: agent::fuzzing::unixctl },
    Target { name: "cni_plugin", run: cni::fuzzing::plugin },
    Target { name: "cni_socket", run: agent::fuzzing::cni_socket },
    Target { name: "yaml", run: controller::fuzzing::yaml },
    Target { name: "from_agent", run: controller::fuzzing::from_agent },
    Target { name: "from_controller", run: agent::fuzzing::from_controller },
    Target { name: "journal", run: agent::fuzzing::journal },
    Target { name: "ledger", run: agent::fuzzing::ledger },
    Target { name: "attachment", run: agent::fuzzing::attachment },
];

/// One message of any kind: its type, then its body. What can be sent again must mean the same.
fn openflow_message(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let Ok(length) = u16::try_from(body.len() + HEADER_LENGTH) else { return };
    let mut bytes = vec![6, *kind];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0, 0, 1]);
    bytes.extend(body);
    let Ok((xid, message)) = Message::decode(&bytes) else { return };
    let _ = message.to_string();
    if let Ok(again) = message.encode(xid) {
        // What was not as the encoder writes it is so from here on.
        let (_, back) = Message::decode(&again).expect("what was encoded decodes");
        assert_eq!(back.encode(xid), Ok(again));
    }
}

/// A packet that the switch hands up, in either format, with all that can come with it.
fn packet_in(data: &[u8]) {
    let Some((format, body)) = data.split_first() else { return };
    // OFPT_PACKET_IN, or NXT_PACKET_IN2 of experimenter 0x2320.
    let (kind, head): (u8, &[u8]) = if format & 1 == 0 { (10, &[]) } else { (4, &[0, 0, 0x23, 0x20, 0, 0, 0, 30]) };
    openflow_message(&[&[kind], head, body].concat());
}
