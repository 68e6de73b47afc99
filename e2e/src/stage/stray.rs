//! Packets that reach a pod and are for somebody else: a switch that sends by the number of a port which is another's by now would do that.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket};

use crate::lab::Namespace;

/// The kernel's word for a frame to a link address that is not the interface's (`packet(7)`).
const OTHER_HOST: u8 = 3;

/// All frames that come into a network namespace from now on, also by interfaces that are to come.
pub struct Stray(OwnedFd);

impl Stray {
    /// Listens.
    ///
    /// # Errors
    /// When there can be no such socket.
    pub async fn listen(namespace: &Arc<Namespace>) -> Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let open = move || socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll);
        Ok(Self(namespace.ask(open).await?.context("cannot open a packet socket")?))
    }

    /// How many frames for others came; of very many some are not counted.
    ///
    /// # Errors
    /// When the socket cannot be read.
    pub fn count(&self) -> Result<usize> {
        let (mut count, mut frame) = (0, [0; 64]);
        loop {
            match recvfrom::<LinkAddr>(self.0.as_raw_fd(), &mut frame) {
                Ok((_, from)) => count += usize::from(from.is_some_and(|from| from.pkttype() == OTHER_HOST)),
                Err(Errno::EAGAIN) => return Ok(count),
                Err(Errno::EINTR | Errno::ENETDOWN) => {} // an interface went
                Err(error) => bail!("cannot read a packet socket: {error}"),
            }
        }
    }
}
