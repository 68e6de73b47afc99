//! Looking at connections until each has met policy.
//!
//! A packet-out is no promise: on the kernel datapath it goes back to vswitchd after conntrack (recirculation), and is lost when
//! vswitchd is slow to take it or has too much to take; and while a pod's port is missing, or its node unknown, it does not get as far
//! as policy. So what became of each is read: policy has marked the connection blocked, or left the look's number on it, or it has
//! ended. The rest is sent again, ever more rarely, for as long as the connection lives.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ovs_pipeline::register;
use tokio::sync::mpsc;

use super::connection::{self, Tuple};
use super::{Request, Touched};
use crate::ovs::openflow::{Batch, Connection};
use crate::ovs::unixctl;

/// Packets sent in one go.
const BURST: usize = 512;
/// After the first time, when something failed or may have been lost; doubled up to [`RARELY`].
const AGAIN: Duration = Duration::from_millis(20);
/// Of failures.
const SOON: Duration = Duration::from_secs(1);
/// Reading all connections of a node that has many is work for vswitchd.
const RARELY: Duration = Duration::from_secs(20);
/// A connection about which nothing is known for so long is told.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);

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
        if !request.touched.is_empty() {
            unfinished = Some((request, wait.min(SOON)));
        } else if !looker.sent.is_empty() {
            unfinished = Some((request, wait));
        }
    }
}

struct Looker {
    /// vswitchd's unixctl socket.
    control: PathBuf,
    /// Connections whose packet was sent, and of which it is not known yet what became of it.
    sent: HashMap<Tuple, Sent>,
}

/// A connection's packets.
#[derive(Clone, Copy)]
struct Sent {
    /// The number that they leave.
    look: u8,
    /// When the first one was sent.
    since: Instant,
    /// That it has been unknown for long was told.
    told: bool,
}

impl Looker {
    /// Sends a packet for each connection that is touched, and again for those whose packet seems to be lost.
    async fn look(&mut self, request: &Request) -> anyhow::Result<()> {
        let zone = format!("zone={}", register::CT_ZONE);
        let text = unixctl::call(&self.control, "dpctl/dump-conntrack", &[&zone]).await?;
        let open = text.lines().filter_map(connection::parse).filter(|found| found.admitted && !found.blocked);
        let (mut sent, mut batch, mut again) = (HashMap::new(), Batch::new(), 0_usize);
        for found in open {
            let tuple = found.tuple();
            let earlier = self.sent.get(&tuple).filter(|sent| sent.look != found.look);
            let touched = request.touched.contains(found.source) || request.touched.contains(found.destination);
            if !touched && earlier.is_none() {
                continue;
            }
            let Some(bytes) = request.ways.packet_out(&found) else { continue };
            batch.push(&bytes)?;
            again += usize::from(earlier.is_some());
            let (since, told) = earlier.map_or((Instant::now(), false), |sent| (sent.since, sent.told));
            sent.insert(tuple, Sent { look: found.next_look(), since, told });
            if batch.len() >= BURST {
                send(&request.connection, &std::mem::take(&mut batch)).await?;
            }
        }
        send(&request.connection, &batch).await?;
        if !sent.is_empty() {
            tracing::debug!(connections = sent.len(), again, "looked at connections again");
        }
        self.sent = sent;
        self.tell();
        Ok(())
    }

    /// Says which connections have not met policy for long, once of each.
    fn tell(&mut self) {
        let unknown = self.sent.iter_mut().filter(|(_, sent)| !sent.told && sent.since.elapsed() > UNKNOWN_FOR);
        let (mut connections, mut first) = (0_usize, None);
        for (tuple, sent) in unknown {
            sent.told = true;
            connections += 1;
            first.get_or_insert(tuple);
        }
        if let Some(first) = first {
            tracing::warn!(connections, %first, "connections have not met policy since it changed: no packet of theirs gets as far; trying again");
        }
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
