//! Which MAC addresses vswitchd had learned of those to whom tunnel packets go: given back to a vswitchd that starts again, which
//! else would have to ask each of them anew while pods wait for it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use apis::cni::MacAddress;
use tokio::time::Instant;

use super::difference::Way;

/// What was learned longer ago may not be so any more. vswitchd itself keeps it for fifteen minutes after the last packet.
const KEPT: Duration = Duration::from_secs(60);

/// Who has which address, as seen at some time.
#[derive(Debug)]
pub(super) struct Neighbours {
    seen: Instant,
    learned: Vec<Neighbour>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Neighbour {
    bridge: String,
    address: IpAddr,
    mac: MacAddress,
}

impl Neighbours {
    /// From what `tnl/neigh/show` says: those to whom these ways lead. Somebody else's are not ours to give back.
    pub(super) fn of<'a>(shown: &str, ways: impl Iterator<Item = (&'a IpAddr, &'a Way)>) -> Self {
        let next: BTreeSet<(&str, IpAddr)> =
            ways.map(|(peer, way)| (way.device.as_str(), way.gateway.unwrap_or(*peer))).collect();
        let ours = |neighbour: &Neighbour| next.contains(&(neighbour.bridge.as_str(), neighbour.address));
        Self { seen: Instant::now(), learned: shown.lines().filter_map(parse).filter(ours).collect() }
    }

    /// What gives them back at this time.
    pub(super) fn commands(&self, now: Instant) -> Vec<(&'static str, Vec<String>)> {
        if now.duration_since(self.seen) > KEPT {
            return Vec::new();
        }
        let command = |neighbour: &Neighbour| {
            let Neighbour { bridge, address, mac } = neighbour;
            ("tnl/neigh/set", vec![bridge.clone(), address.to_string(), mac.to_string()])
        };
        self.learned.iter().map(command).collect()
    }
}

/// A line; none of those that head the table.
fn parse(line: &str) -> Option<Neighbour> {
    let mut words = line.split_whitespace();
    let (address, mac, bridge) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
    Some(Neighbour { bridge: bridge.to_owned(), address, mac })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SHOWN: &str = "\
IP                                            MAC                 Bridge
==========================================================================
172.18.0.100                                  02:00:00:00:00:64   br-phy
172.18.0.12                                   02:00:00:00:00:0c   br-phy
172.18.0.12                                   02:00:00:00:00:0d   br-other
fd00::12                                      02:00:00:00:00:0e   br-phy
172.18.0.13                                   unknown             br-phy
";

    fn commands(ways: &[(&str, Option<&str>)]) -> Vec<String> {
        let ways: Vec<(IpAddr, Way)> = ways
            .iter()
            .map(|(peer, gateway)| {
                let gateway = gateway.map(|gateway| gateway.parse().unwrap());
                (peer.parse().unwrap(), Way { device: "br-phy".into(), gateway })
            })
            .collect();
        let neighbours = Neighbours::of(SHOWN, ways.iter().map(|(peer, way)| (peer, way)));
        neighbours
            .commands(neighbours.seen)
            .into_iter()
            .map(|(command, words)| format!("{command} {}", words.join(" ")))
            .collect()
    }

    #[test]
    fn those_on_our_ways_are_given_back_and_no_other() {
        let direct = "tnl/neigh/set br-phy 172.18.0.12 02:00:00:00:00:0c";
        assert_eq!(commands(&[("172.18.0.12", None), ("172.18.0.13", None)]), [direct]);
        assert_eq!(commands(&[("fd00::12", None)]), ["tnl/neigh/set br-phy fd00::12 02:00:00:00:00:0e"]);
        let gateway = "tnl/neigh/set br-phy 172.18.0.100 02:00:00:00:00:64";
        assert_eq!(commands(&[("10.1.1.1", Some("172.18.0.100"))]), [gateway]);
        assert!(commands(&[]).is_empty());
    }

    #[test]
    fn what_was_learned_long_ago_is_not() {
        let way = (IpAddr::from([172, 18, 0, 12]), Way { device: "br-phy".into(), gateway: None });
        let neighbours = Neighbours::of(SHOWN, std::iter::once((&way.0, &way.1)));
        assert_eq!(neighbours.commands(neighbours.seen + KEPT).len(), 1);
        assert!(neighbours.commands(neighbours.seen + KEPT + Duration::from_millis(1)).is_empty());
    }
}
