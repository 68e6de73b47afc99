//! Looking at connections until each has met policy.
//!
//! A packet-out is no promise: on the kernel datapath it goes back to vswitchd after conntrack (recirculation), and is lost when
//! vswitchd is slow to take it or has too much to take. So what became of each is read: policy has marked the connection blocked, or
//! left the look's number on it, or it has ended. The rest is sent again. A connection whose packets are lost every time is ended:
//! nothing shows that it is allowed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use ovs_pipeline::register;
use tokio::sync::mpsc;

use super::connection::{self, Tracked};
use super::{Request, Touched};
use crate::ovs::openflow::{Batch, Connection};
use crate::ovs::unixctl;

/// Packets sent in one go.
const BURST: usize = 512;
/// After the first time, when something failed or may have been lost; doubled up to [`RARELY`].
const AGAIN: Duration = Duration::from_millis(20);
const RARELY: Duration = Duration::from_secs(1);
/// So many packets of a connection may be lost. With the pauses between: five seconds.
const LOST: u32 = 10;

/// Looks at connections for as long as somebody asks. A look that failed is made again, on a newer connection to the switch where
/// there is one: a connection of which only replies flow shows no other packet to policy.
pub async fn follow(control: PathBuf, mut inbox: mpsc::UnboundedReceiver<Request>) {
    let mut looker = Looker { control, sent: HashMap::new() };
    let mut unfinished: Option<(Request, Duration)> = None;
    loop {
        let newer = match &unfinished {
            None => inbox.recv().await,
            Some((_, wait)) => match tokio::time::timeout(*wait, inbox.recv()).await {
                Ok(None) => return,
                Ok(newer) => newer,
                Err(_) => None,
            },
        };
        let (mut request, wait) = match (newer, unfinished.take()) {
            (None, None) => return,
            (Some(newer), None) => (newer, AGAIN),
            (None, Some((earlier, wait))) => (earlier, (wait * 2).min(RARELY)),
            (Some(newer), Some((earlier, _))) => (newer.after(earlier), AGAIN),
        };
        // What was asked meanwhile is one look.
        while let Ok(newer) = inbox.try_recv() {
            request = newer.after(request);
        }
        if request.touched.is_empty() && looker.sent.is_empty() {
            continue;
        }
        match looker.look(&request).await {
            Ok(()) => request.touched = Touched::Some(hashbrown::HashSet::new()),
            Err(error) if wait == AGAIN => {
                tracing::warn!(%error, "connections could not be looked at again, trying until they are");
            }
            Err(error) => tracing::debug!(%error, "connections could not be looked at again"),
        }
        if !(request.touched.is_empty() && looker.sent.is_empty()) {
            unfinished = Some((request, wait));
        }
    }
}

struct Looker {
    /// vswitchd's unixctl socket.
    control: PathBuf,
    /// Connections by their original tuple whose packet was sent, and of which it is not known yet what became of it.
    sent: HashMap<String, Sent>,
}

/// A connection's packets.
#[derive(Clone, Copy)]
struct Sent {
    /// The number that they leave.
    look: u8,
    /// How many there were.
    packets: u32,
}

impl Looker {
    /// Sends a packet for each connection that is touched, and again for those whose packet seems to be lost.
    async fn look(&mut self, request: &Request) -> anyhow::Result<()> {
        let zone = format!("zone={}", register::CT_ZONE);
        let text = unixctl::call(&self.control, "dpctl/dump-conntrack", &[&zone]).await?;
        let open = text.lines().filter_map(connection::parse).filter(|found| found.admitted && !found.blocked);
        let (mut sent, mut batch, mut given_up) = (HashMap::new(), Batch::new(), Vec::new());
        for found in open {
            let tuple = found.tuple();
            let earlier = self.sent.get(&tuple).filter(|sent| sent.look != found.look);
            let touched = request.touched.contains(found.source) || request.touched.contains(found.destination);
            if !touched && earlier.is_none() {
                continue;
            }
            let Some(bytes) = request.ways.packet_out(&found) else { continue };
            let packets = earlier.map_or(0, |sent| sent.packets);
            if packets >= LOST {
                given_up.push(found);
                continue;
            }
            batch.push(&bytes)?;
            // Before it is sent: what is sent in part is known to be.
            sent.insert(tuple, Sent { look: found.next_look(), packets: packets + 1 });
            if batch.len() >= BURST {
                send(&request.connection, &std::mem::take(&mut batch)).await?;
            }
        }
        send(&request.connection, &batch).await?;
        self.end(&given_up, &zone).await?;
        if !sent.is_empty() {
            let again = sent.values().filter(|sent| sent.packets > 1).count();
            tracing::debug!(connections = sent.len(), again, "looked at connections again");
        }
        self.sent = sent;
        Ok(())
    }

    /// Ends connections: what is sent in them is no longer of an admitted one.
    async fn end(&self, connections: &[Tracked], zone: &str) -> anyhow::Result<()> {
        if let Some(first) = connections.first() {
            let (connections, first) = (connections.len(), first.tuple());
            tracing::warn!(
                connections,
                first,
                "ended: all packets that were to show whether policy allows them are lost"
            );
        }
        for found in connections {
            unixctl::call(&self.control, "dpctl/flush-conntrack", &[zone, &found.tuple()]).await?;
        }
        Ok(())
    }
}

/// A packet that the switch rejects has no way into it any more, and its connection none out.
async fn send(connection: &Connection, batch: &Batch) -> anyhow::Result<()> {
    if !batch.is_empty()
        && let Some(rejected) = connection.send(batch).await?.first()
    {
        tracing::warn!(error = %rejected.error, "the switch rejects a packet that is to be looked at");
    }
    Ok(())
}
