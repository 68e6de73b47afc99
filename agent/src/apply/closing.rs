//! Closes interfaces to the node's own stack, many at once, and opens them again, without a process: the messages that `nft` would send
//! (nf_tables over netlink, linux/netfilter/nf_tables.h).
//!
//! What comes of it is exactly a chain of [`super::nat`]'s table `netdev ferrant`: drop everything at the ingress hook of the
//! device. All of it is one transaction. A device that is not there refuses the whole, or is closed when it comes: kernels differ.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// The kernel answers within milliseconds, also when it waits for packets that are under way.
const PATIENCE_SECONDS: i64 = 5;

// linux/netlink.h
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const NLA_F_NESTED: u16 = 0x8000;
/// Length of `struct nlmsghdr` and `struct nfgenmsg` together.
const HEADER: usize = 20;

// linux/netfilter/nfnetlink.h
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
/// linux/netfilter.h
const NFPROTO_NETDEV: u8 = 5;
const NF_NETDEV_INGRESS: u32 = 0;
const NF_DROP: u32 = 0;

// linux/netfilter/nf_tables.h
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_DELCHAIN: u16 = 5;
const NFT_MSG_DELRULE: u16 = 8;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_HOOK_DEV: u16 = 3;

/// A chain to be, and its device.
pub(super) struct Closed {
    /// The chain's name.
    pub(super) chain: String,
    /// The interface's name.
    pub(super) device: String,
}

/// A netlink socket to nf_tables, opened when it is first needed and kept: closing one waits until the kernel has freed all that
/// transactions took away, which is a grace period of RCU, some 7 ms, and every pod's `ADD` would wait for it.
#[derive(Clone, Debug, Default)]
pub struct Netfilter(Arc<Mutex<Option<OwnedFd>>>);

impl Netfilter {
    /// Makes these chains of a table of the family netdev, whatever has their names now. Blocks for as long as the kernel takes.
    pub(super) fn close(&self, table: &str, closed: &[Closed]) -> io::Result<()> {
        let mut batch = Batch::default();
        batch.message(NFT_MSG_NEWTABLE, NLM_F_CREATE, |body| body.text(NFTA_TABLE_NAME, table));
        for Closed { chain, device } in closed {
            batch.without_chain(table, chain);
            batch.message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, |body| {
                body.chain(table, chain);
                body.nested(NFTA_CHAIN_HOOK, |hook| {
                    hook.number(NFTA_HOOK_HOOKNUM, NF_NETDEV_INGRESS);
                    hook.number(NFTA_HOOK_PRIORITY, 0);
                    hook.text(NFTA_HOOK_DEV, device);
                });
                body.number(NFTA_CHAIN_POLICY, NF_DROP);
                body.text(NFTA_CHAIN_TYPE, "filter");
            });
        }
        self.commit(batch)
    }

    /// Takes a chain away, whatever is in it; none there is success.
    pub(super) fn open(&self, table: &str, chain: &str) -> io::Result<()> {
        let mut batch = Batch::default();
        batch.message(NFT_MSG_NEWTABLE, NLM_F_CREATE, |body| body.text(NFTA_TABLE_NAME, table));
        batch.without_chain(table, chain);
        self.commit(batch)
    }

    /// After a failure the socket may still get answers that belong to it: the next transaction has another one.
    fn commit(&self, batch: Batch) -> io::Result<()> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = kept.take().map_or_else(connect, Ok)?;
        batch.commit(&socket)?;
        *kept = Some(socket);
        Ok(())
    }
}

/// The messages of one transaction.
#[derive(Default)]
struct Batch {
    messages: Vec<u8>,
    count: u32,
}

impl Batch {
    fn message(&mut self, kind: u16, flags: u16, write: impl FnOnce(&mut Body)) {
        self.count += 1;
        let kind = NFNL_SUBSYS_NFTABLES << 8 | kind;
        framed(&mut self.messages, kind, NLM_F_REQUEST | NLM_F_ACK | flags, self.count, (NFPROTO_NETDEV, 0), write);
    }

    /// The chain is not there afterwards, with whatever was in it. Only what is there can be taken away, so it is made first.
    fn without_chain(&mut self, table: &str, chain: &str) {
        self.message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, |body| body.chain(table, chain));
        self.message(NFT_MSG_DELRULE, 0, |body| {
            body.text(NFTA_RULE_TABLE, table);
            body.text(NFTA_RULE_CHAIN, chain);
        });
        self.message(NFT_MSG_DELCHAIN, 0, |body| body.chain(table, chain));
    }

    /// Sends all of it; every message is acknowledged, or the first that is refused is the error.
    fn commit(self, socket: &OwnedFd) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.messages.len() + 2 * HEADER);
        let subsystem = (0, NFNL_SUBSYS_NFTABLES);
        framed(&mut bytes, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, 0, subsystem, |_| {});
        bytes.extend(&self.messages);
        framed(&mut bytes, NFNL_MSG_BATCH_END, NLM_F_REQUEST, self.count + 1, subsystem, |_| {});
        send(socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        let mut buffer = vec![0; 64 * 1024];
        let mut acknowledged = 0;
        while acknowledged < self.count {
            let size = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            acknowledged += answers(&buffer[..size])?;
        }
        Ok(())
    }
}

/// How many acknowledgements a datagram holds; the error when one is none.
fn answers(mut datagram: &[u8]) -> io::Result<u32> {
    let mut count = 0;
    while let Some((header, rest)) = datagram.split_at_checked(16) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if u16::from_ne_bytes([header[4], header[5]]) == NLMSG_ERROR {
            let code = rest.first_chunk::<4>().map_or(0, |code| i32::from_ne_bytes(*code));
            if code != 0 {
                return Err(io::Error::from_raw_os_error(-code));
            }
            count += 1;
        }
        datagram = datagram.get(length.max(16).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(count)
}

fn connect() -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_SECONDS))?;
    // An acknowledgement repeats its message; all of a large transaction have to fit.
    setsockopt(&socket, sockopt::RcvBuf, &(8 << 20))?;
    setsockopt(&socket, sockopt::SndBuf, &(8 << 20))?;
    Ok(socket)
}

/// Appends one message: `struct nlmsghdr`, `struct nfgenmsg` (family, and a number in network order), attributes.
fn framed(
    out: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    (family, resource): (u8, u16),
    write: impl FnOnce(&mut Body),
) {
    let start = out.len();
    out.extend([0; 4]);
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]);
    out.extend([family, 0]);
    out.extend(resource.to_be_bytes());
    let mut body = Body(Vec::new());
    write(&mut body);
    out.extend(body.0);
    let length = u32::try_from(out.len() - start).expect("a message of ours has some hundred bytes");
    out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// Attributes, each a multiple of four bytes.
struct Body(Vec<u8>);

impl Body {
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).expect("an attribute of ours has some hundred bytes");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn text(&mut self, kind: u16, text: &str) {
        self.attribute(kind, &[text.as_bytes(), &[0]].concat());
    }

    /// Which chain a message is about.
    fn chain(&mut self, table: &str, chain: &str) {
        self.text(NFTA_CHAIN_TABLE, table);
        self.text(NFTA_CHAIN_NAME, chain);
    }

    /// nf_tables has numbers in network order.
    fn number(&mut self, kind: u16, number: u32) {
        self.attribute(kind, &number.to_be_bytes());
    }

    fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Body)) {
        let mut inner = Body(Vec::new());
        write(&mut inner);
        self.attribute(kind | NLA_F_NESTED, &inner.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, Netfilter, answers};

    #[test]
    fn a_socket_with_answers_to_a_refused_transaction_is_not_used_again() {
        let netfilter = Netfilter::default();
        // No table has so long a name, so nothing is changed.
        netfilter.open(&"t".repeat(1000), "chain").expect_err("it is refused");
        assert!(netfilter.0.lock().expect("nobody panicked").is_none());
    }

    #[test]
    fn attributes_are_padded_and_their_lengths_are_not() {
        let mut body = Body(Vec::new());
        body.nested(4, |hook| hook.text(3, "ab"));
        assert_eq!(body.0[..2], 12u16.to_ne_bytes());
        assert_eq!(body.0[4..6], 7u16.to_ne_bytes());
        assert_eq!((&body.0[8..], body.0.len()), (&b"ab\0\0"[..], 12));
    }

    #[test]
    fn the_first_refusal_is_the_error() {
        let answer = |code: i32| {
            let mut bytes = vec![0; 20];
            bytes[..4].copy_from_slice(&20u32.to_ne_bytes());
            bytes[4..6].copy_from_slice(&2u16.to_ne_bytes());
            bytes[16..].copy_from_slice(&code.to_ne_bytes());
            bytes
        };
        assert_eq!(answers(&[answer(0), answer(0)].concat()).expect("both are acknowledgements"), 2);
        let refused = answers(&[answer(0), answer(-2)].concat()).expect_err("the second is none");
        assert_eq!(refused.raw_os_error(), Some(2));
        assert_eq!(answers(&[1, 2, 3]).expect("nothing is in it"), 0);
    }
}
