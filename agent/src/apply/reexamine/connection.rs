//! A line of `dpctl/dump-conntrack`, as ovs-dpctl(8) and `ct_dpif_format_entry` print it:
//! `tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=80),reply=(…),zone=65520,mark=1,labels=0x10,protoinfo=(state=ESTABLISHED)`.

use std::net::{IpAddr, SocketAddr};

use ovs_pipeline::register;

/// A tracked connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// Its protocol.
    pub protocol: Protocol,
    /// Who began it.
    pub source: IpAddr,
    /// With whom.
    pub destination: IpAddr,
    /// Every policy allowed it once.
    pub admitted: bool,
    /// Policy denies it since.
    pub blocked: bool,
    /// Of TCP: it was opened, and is not being closed.
    pub is_established: bool,
    /// The number of the last look at it that policy allowed; 0: there was none.
    pub look: u8,
}

impl Tracked {
    /// The number that the next look leaves on it.
    pub fn next_look(&self) -> u8 {
        let last = register::CT_LOOK.read(u128::MAX);
        if u128::from(self.look) < last { self.look + 1 } else { 1 }
    }

    /// What it is told apart by: its original tuple.
    pub fn tuple(&self) -> Tuple {
        Tuple { protocol: self.protocol, source: self.source, destination: self.destination }
    }
}

/// A connection's original tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    protocol: Protocol,
    source: IpAddr,
    destination: IpAddr,
}

impl std::fmt::Display for Tuple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { protocol, source, destination } = self;
        match protocol {
            Protocol::Tcp(from, to) => {
                write!(f, "TCP {} to {}", SocketAddr::new(*source, *from), SocketAddr::new(*destination, *to))
            }
            Protocol::Udp(from, to) => {
                write!(f, "UDP {} to {}", SocketAddr::new(*source, *from), SocketAddr::new(*destination, *to))
            }
            Protocol::Icmp(..) => write!(f, "ICMP {source} to {destination}"),
        }
    }
}

/// What is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Ports.
    Tcp(u16, u16),
    /// Ports.
    Udp(u16, u16),
    /// Identifier, type and code.
    Icmp(u16, u8, u8),
}

/// The connection of a line; `None` for what is not looked at again.
pub fn parse(line: &str) -> Option<Tracked> {
    let (name, rest) = line.trim().split_once(",orig=(")?;
    let (original, after) = rest.split_once(')')?;
    let field = |name: &str| {
        original
            .split(',')
            .filter_map(|word| word.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    let number = |name: &str| field(name)?.parse::<u16>().ok();
    let protocol = match name {
        "tcp" => Protocol::Tcp(number("sport")?, number("dport")?),
        "udp" => Protocol::Udp(number("sport")?, number("dport")?),
        "icmp" | "icmpv6" => {
            Protocol::Icmp(number("id")?, u8::try_from(number("type")?).ok()?, u8::try_from(number("code")?).ok()?)
        }
        _ => return None,
    };
    let mark = after.split(',').find_map(|word| word.strip_prefix("mark=")).map_or(Some(0), number_of)?;
    let has = |bit: &register::Register| bit.read(mark.into()) != 0;
    Some(Tracked {
        protocol,
        source: field("src")?.parse().ok()?,
        destination: field("dst")?.parse().ok()?,
        admitted: has(&register::CT_ADMITTED),
        blocked: has(&register::CT_BLOCKED),
        is_established: after.contains("state=ESTABLISHED)"),
        look: u8::try_from(register::CT_LOOK.read(mark.into())).ok()?,
    })
}

/// Decimal or, with `0x`, hexadecimal.
fn number_of(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_ovs_prints_them() {
        let tcp = "tcp,orig=(src=10.10.1.2,dst=10.10.2.3,sport=40000,dport=80),reply=(src=10.10.2.3,dst=10.10.1.2,sport=80,dport=40000),zone=65520,mark=1,labels=0x1000000010,protoinfo=(state=ESTABLISHED)";
        let found = parse(tcp).unwrap();
        assert_eq!(found.protocol, Protocol::Tcp(40000, 80));
        assert!(found.is_established);
        assert_eq!(found.tuple().to_string(), "TCP 10.10.1.2:40000 to 10.10.2.3:80");
        assert_eq!((found.look, found.next_look()), (0, 1));
        assert_eq!((found.source, found.admitted, found.blocked), ("10.10.1.2".parse().unwrap(), true, false));
        let icmp = "icmpv6,orig=(src=fd00::1,dst=fd00::2,id=7,type=128,code=0),reply=(src=fd00::2,dst=fd00::1,id=7,type=129,code=0),zone=65520,mark=0xf000003";
        let found = parse(icmp).unwrap();
        assert_eq!((found.protocol, found.blocked), (Protocol::Icmp(7, 128, 0), true));
        assert_eq!((found.look, found.next_look()), (15, 1));
        assert_eq!(found.tuple().to_string(), "ICMP fd00::1 to fd00::2");
        assert_eq!(parse("sctp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=2),reply=()"), None);
        assert_eq!(parse("nonsense"), None);
        let unmarked =
            "udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=2),reply=(src=10.0.0.2,dst=10.0.0.1,sport=2,dport=1)";
        assert!(!parse(unmarked).unwrap().admitted);
    }
}
