//! Protocols and ports that a rule names, sorted and merged.

use std::fmt;

use super::Text;

/// A transport protocol, by its IP protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// 6
    Tcp,
    /// 17
    Udp,
    /// 132
    Sctp,
}

/// One protocol and port, or a range, or a name that each pod resolves for itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The protocol.
    pub protocol: Protocol,
    /// Its ports.
    pub range: PortRange,
}

/// Ports of one protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortRange {
    /// Every port.
    All,
    /// From the first to the last, both included.
    Numbers(u16, u16),
    /// The pod's container port of this name.
    Named(Text),
}

/// What a rule allows to be talked to: none means every protocol and port.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Services(Option<Box<[Port]>>);

impl Services {
    /// Every protocol and port.
    pub const ANY: Self = Self(None);

    /// The canonical form of a list: ranges that overlap or touch are one; whatever a protocol's `All` covers is gone. An
    /// empty list is [`Services::ANY`], as in a NetworkPolicy.
    pub fn new(ports: impl IntoIterator<Item = Port>) -> Self {
        let mut ports: Vec<Port> = ports.into_iter().collect();
        if ports.is_empty() {
            return Self::ANY;
        }
        ports.sort_unstable();
        ports.dedup();
        let all: Vec<Protocol> =
            ports.iter().filter(|port| port.range == PortRange::All).map(|port| port.protocol).collect();
        ports.retain(|port| port.range == PortRange::All || !all.contains(&port.protocol));
        // Sorted: by protocol, then numbers by their first port, then names.
        let mut merged: Vec<Port> = Vec::with_capacity(ports.len());
        for port in ports {
            if let (Some(Port { protocol, range: PortRange::Numbers(_, last) }), PortRange::Numbers(first, end)) =
                (merged.last_mut(), &port.range)
                && *protocol == port.protocol
                && u32::from(*first) <= u32::from(*last) + 1
            {
                *last = (*last).max(*end);
                continue;
            }
            merged.push(port);
        }
        Self(Some(merged.into_boxed_slice()))
    }

    /// The ports; None means every protocol and port.
    pub fn ports(&self) -> Option<&[Port]> {
        self.0.as_deref()
    }

    /// The named ports among them.
    pub fn names(&self) -> impl Iterator<Item = (Protocol, &Text)> {
        self.0.iter().flatten().filter_map(|port| match &port.range {
            PortRange::Named(name) => Some((port.protocol, name)),
            PortRange::All | PortRange::Numbers(..) => None,
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// `TCP/80`, `TCP/8000-8080`, `TCP/http`, `TCP`.
impl fmt::Display for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.protocol;
        match &self.range {
            PortRange::All => write!(formatter, "{protocol}"),
            PortRange::Numbers(first, last) if first == last => write!(formatter, "{protocol}/{first}"),
            PortRange::Numbers(first, last) => write!(formatter, "{protocol}/{first}-{last}"),
            PortRange::Named(name) => write!(formatter, "{protocol}/{name}"),
        }
    }
}

/// The ports with a space between, or `any`.
impl fmt::Display for Services {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(ports) = self.ports() else { return formatter.write_str("any") };
        for (number, port) in ports.iter().enumerate() {
            let space = if number == 0 { "" } else { " " };
            write!(formatter, "{space}{port}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(protocol: Protocol, range: PortRange) -> Port {
        Port { protocol, range }
    }

    fn numbers(first: u16, last: u16) -> Port {
        port(Protocol::Tcp, PortRange::Numbers(first, last))
    }

    #[test]
    fn no_ports_are_all_ports() {
        assert_eq!(Services::new([]), Services::ANY);
    }

    #[test]
    fn ranges_merge_where_they_overlap_or_touch() {
        let services = Services::new([numbers(90, 95), numbers(80, 80), numbers(81, 91), numbers(97, 97)]);
        assert_eq!(services.to_string(), "TCP/80-95 TCP/97");
        assert_eq!(Services::new([numbers(1, 65535), numbers(65535, 65535)]).to_string(), "TCP/1-65535");
    }

    #[test]
    fn a_range_inside_another_does_not_shorten_it() {
        assert_eq!(Services::new([numbers(1, 100), numbers(2, 3), numbers(50, 60)]).to_string(), "TCP/1-100");
    }

    #[test]
    fn a_whole_protocol_covers_its_ports_and_no_other() {
        let services = Services::new([
            numbers(80, 80),
            port(Protocol::Tcp, PortRange::All),
            port(Protocol::Tcp, PortRange::Named(Text::from("http"))),
            port(Protocol::Udp, PortRange::Numbers(53, 53)),
        ]);
        assert_eq!(services.to_string(), "TCP UDP/53");
    }

    #[test]
    fn ports_of_two_protocols_stay_apart() {
        let services = Services::new([numbers(53, 53), port(Protocol::Udp, PortRange::Numbers(54, 54))]);
        assert_eq!(services.to_string(), "TCP/53 UDP/54");
    }
}
