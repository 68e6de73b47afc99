//! A blocking netlink socket: one request, one acknowledgement. A plugin that lives for milliseconds needs no more.
//!
//! The socket belongs to the network namespace in which it was opened (`man 7 netlink`).

#![allow(clippy::disallowed_methods, reason = "a wrapper: netlink")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// The kernel answers at once; a socket that waits longer than this has lost its answer.
const PATIENCE_SECONDS: i64 = 5;
/// A link's description with all its statistics is below 4 KiB.
const ANSWER_LIMIT: usize = 64 * 1024;

/// An open socket.
pub(crate) struct Socket {
    descriptor: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens one in the namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Socket> {
        let descriptor =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
        bind(descriptor.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&descriptor, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_SECONDS))?;
        Ok(Socket { descriptor, sequence: 0 })
    }

    /// Makes an object that must not exist yet.
    pub(crate) fn create(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        let created = self.request(message, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK).map(drop);
        fault::point("plugin.netlink.created");
        created
    }

    /// Changes or removes an object.
    pub(crate) fn change(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        let changed = self.request(message, NLM_F_ACK).map(drop);
        fault::point("plugin.netlink.changed");
        changed
    }

    /// The link of that name, where there is one.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<LinkMessage>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.request(RouteNetlinkMessage::GetLink(message), 0) {
            Ok(Some(RouteNetlinkMessage::NewLink(link))) => Ok(Some(link)),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is not a link")),
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects of the kind that the request is of.
    pub(crate) fn list(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.send(message, NLM_F_DUMP)?;
        let mut found = Vec::new();
        let mut buffer = vec![0; ANSWER_LIMIT];
        loop {
            let size = recv(self.descriptor.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let mut rest = &buffer[..size];
            while !rest.is_empty() {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(invalid)?;
                // Messages begin at multiples of four bytes (`man 3 netlink`).
                let length = (message.header.length as usize).next_multiple_of(4).min(rest.len());
                rest = &rest[length..];
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(object) => found.push(object),
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    /// Sends a request; the answer is an object, or none for an acknowledgement.
    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
        self.send(message, flags)?;
        self.answer()
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        send(self.descriptor.as_raw_fd(), &bytes, MsgFlags::empty()).map(drop).map_err(io::Error::from)
    }

    fn answer(&self) -> io::Result<Option<RouteNetlinkMessage>> {
        let mut buffer = vec![0; ANSWER_LIMIT];
        loop {
            let size = recv(self.descriptor.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&buffer[..size]).map_err(invalid)?;
            if message.header.sequence_number != self.sequence {
                continue;
            }
            return match message.payload {
                NetlinkPayload::InnerMessage(answer) => Ok(Some(answer)),
                NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
                _ => Ok(None),
            };
        }
    }
}

fn invalid(error: netlink_packet_core::DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
