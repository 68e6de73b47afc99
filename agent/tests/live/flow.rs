//! Flow mods as bytes (OpenFlow 1.5.1, section 7.3.4.2), for tests of the connection that carries them.

/// `OFPFC_ADD` and its kin.
#[derive(Clone, Copy)]
pub enum Command {
    Add = 0,
    Delete = 3,
}

/// What a flow does.
#[derive(Clone, Copy)]
pub enum Does {
    Drop,
    Output(u32),
    /// To the controller.
    Controller,
    Group(u32),
}

/// A flow for one IPv4 destination; `None` matches everything.
pub fn flow(command: Command, table: u8, priority: u16, destination: Option<u32>, does: Does) -> Vec<u8> {
    let mut oxm = Vec::new();
    if let Some(destination) = destination {
        oxm.extend_from_slice(&[0x80, 0, 5 << 1, 2, 8, 0]);
        oxm.extend_from_slice(&[0x80, 0, 12 << 1, 4]);
        oxm.extend_from_slice(&destination.to_be_bytes());
    }
    raw_flow(command, table, priority, &oxm, does)
}

/// A flow that every switch refuses: an IPv4 destination without saying that the packet is IPv4.
pub fn refused_flow(table: u8) -> Vec<u8> {
    raw_flow(Command::Add, table, 1, &[0x80, 0, 12 << 1, 4, 10, 0, 0, 1], Does::Drop)
}

fn raw_flow(command: Command, table: u8, priority: u16, oxm: &[u8], does: Does) -> Vec<u8> {
    let mut bytes = vec![6, 14, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(&[0; 16]); // cookie and its mask
    bytes.extend_from_slice(&[table, command as u8, 0, 0, 0, 0]);
    bytes.extend_from_slice(&priority.to_be_bytes());
    bytes.extend_from_slice(&[0xff; 12]); // no buffer, any port, any group
    bytes.extend_from_slice(&[0; 4]); // flags and importance
    let length = 4 + oxm.len();
    bytes.extend_from_slice(&[0, 1, 0, length as u8]);
    bytes.extend_from_slice(oxm);
    bytes.resize(bytes.len() + length.next_multiple_of(8) - length, 0);
    let action = match does {
        Does::Drop => Vec::new(),
        Does::Output(port) => [&[0, 0, 0, 16], port.to_be_bytes().as_slice(), &[0; 8]].concat(),
        Does::Controller => [&[0, 0, 0, 16], 0xffff_fffd_u32.to_be_bytes().as_slice(), &[0xff, 0xff], &[0; 6]].concat(),
        Does::Group(group) => [&[0, 22, 0, 8], group.to_be_bytes().as_slice()].concat(),
    };
    if !action.is_empty() {
        bytes.extend_from_slice(&[0, 4, 0, 8 + action.len() as u8, 0, 0, 0, 0]);
        bytes.extend_from_slice(&action);
    }
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}
