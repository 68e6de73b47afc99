//! Tells when somebody changes links, addresses, neighbours, routes, rules or nft of the host: that something changed, not what.
//! The worker then compares all of it, which is cheaper than understanding every message, and misses nothing.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rtnetlink::sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use rtnetlink::sys::{AsyncSocket, SocketAddr, TokioSocket};
use tokio::sync::mpsc;

use crate::event::Event;

/// Groups of rtnetlink(7), as bits: link, neighbour, IPv4 address, route and rule, IPv6 address, route and rule.
const ROUTE_GROUPS: u32 = 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 18;
/// NFNLGRP_NFTABLES of linux/netfilter/nfnetlink.h, as a bit.
const NFTABLES: u32 = 1 << 6;

/// Tells of every change for as long as somebody takes the events. Must begin on a thread in the host's network namespace.
///
/// # Errors
/// When the kernel gives no socket.
pub fn follow(events: &mpsc::Sender<Event>) -> io::Result<()> {
    for (protocol, groups) in [(NETLINK_ROUTE, ROUTE_GROUPS), (NETLINK_NETFILTER, NFTABLES)] {
        let mut socket = TokioSocket::new(protocol)?;
        socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
        tokio::spawn(tell(socket, events.clone()));
    }
    Ok(())
}

async fn tell(mut socket: TokioSocket, events: mpsc::Sender<Event>) {
    let mut buffer = Vec::with_capacity(1 << 16);
    loop {
        heard(&mut socket, &mut buffer).await;
        // While the inbox is full nothing is forgotten: what comes meanwhile stays in the socket, or overruns it.
        if events.send(Event::HostTouched).await.is_err() {
            return;
        }
        // What comes in a burst is one change.
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits for a message, and reads those that came with it.
async fn heard(socket: &mut TokioSocket, buffer: &mut Vec<u8>) {
    let mut read = 0;
    poll_fn(|context| {
        while read < BURST {
            buffer.clear();
            match socket.poll_recv(context, buffer) {
                Poll::Pending if read == 0 => return Poll::Pending,
                Poll::Pending => break,
                // More than fits was lost (ENOBUFS), which is a change as well.
                Poll::Ready(_) => read += 1,
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// Between two changes that are told.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
/// Messages that are read as one change at most: more than a socket holds.
const BURST: usize = 10_000;
