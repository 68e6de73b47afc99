//! A line of `dpctl/dump-conntrack`, as ovs-dpctl(8) and `ct_dpif_format_entry` print it:
//! `tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=80),reply=(…),zone=65520,mark=1,labels=0x10,protoinfo=(state=ESTABLISHED)`.

use std::net::IpAddr;

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
    /// The number of the last look at it that policy allowed; 0: there was none.
    pub look: u8,
}

impl Tracked {
    /// The number that the next look leaves on it.
    pub fn next_look(&self) -> u8 {
        let last = register::CT_LOOK.mask() >> register::CT_LOOK.low;
        if u128::from(self.look) < last { self.look + 1 } else { 1 }
    }

    /// Its original tuple, as `dpctl/flush-conntrack` takes it (ovs-dpctl(8)).
    pub fn tuple(&self) -> String {
        let (family, is_ipv4) = if self.source.is_ipv4() { ("nw", true) } else { ("ipv6", false) };
        let addresses = format!("ct_{family}_src={},ct_{family}_dst={}", self.source, self.destination);
        match self.protocol {
            Protocol::Tcp { source, destination, .. } => {
                format!("{addresses},ct_nw_proto=6,ct_tp_src={source},ct_tp_dst={destination}")
            }
            Protocol::Udp(source, destination) => {
                format!("{addresses},ct_nw_proto=17,ct_tp_src={source},ct_tp_dst={destination}")
            }
            Protocol::Icmp(identifier, kind, code) => {
                let number = if is_ipv4 { 1 } else { 58 };
                format!("{addresses},ct_nw_proto={number},icmp_type={kind},icmp_code={code},icmp_id={identifier}")
            }
        }
    }
}

/// What is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Ports.
    Tcp {
        source: u16,
        destination: u16,
        /// Opened, and not being closed: only then a SYN changes nothing of what conntrack knows.
        is_established: bool,
    },
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
        "tcp" => {
            let is_established = after.contains("state=ESTABLISHED)");
            Protocol::Tcp { source: number("sport")?, destination: number("dport")?, is_established }
        }
        "udp" => Protocol::Udp(number("sport")?, number("dport")?),
        "icmp" | "icmpv6" => {
            Protocol::Icmp(number("id")?, u8::try_from(number("type")?).ok()?, u8::try_from(number("code")?).ok()?)
        }
        _ => return None,
    };
    let mark = after.split(',').find_map(|word| word.strip_prefix("mark=")).map_or(Some(0), number_of)?;
    let has = |bit: &register::Register| u128::from(mark) & bit.mask() != 0;
    Some(Tracked {
        protocol,
        source: field("src")?.parse().ok()?,
        destination: field("dst")?.parse().ok()?,
        admitted: has(&register::CT_ADMITTED),
        blocked: has(&register::CT_BLOCKED),
        look: u8::try_from((u128::from(mark) & register::CT_LOOK.mask()) >> register::CT_LOOK.low).ok()?,
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
        assert_eq!(found.protocol, Protocol::Tcp { source: 40000, destination: 80, is_established: true });
        assert_eq!(found.tuple(), "ct_nw_src=10.10.1.2,ct_nw_dst=10.10.2.3,ct_nw_proto=6,ct_tp_src=40000,ct_tp_dst=80");
        assert_eq!((found.look, found.next_look()), (0, 1));
        assert_eq!((found.source, found.admitted, found.blocked), ("10.10.1.2".parse().unwrap(), true, false));
        let icmp = "icmpv6,orig=(src=fd00::1,dst=fd00::2,id=7,type=128,code=0),reply=(src=fd00::2,dst=fd00::1,id=7,type=129,code=0),zone=65520,mark=0xf000003";
        let found = parse(icmp).unwrap();
        assert_eq!((found.protocol, found.blocked), (Protocol::Icmp(7, 128, 0), true));
        assert_eq!((found.look, found.next_look()), (15, 1));
        let tuple = "ct_ipv6_src=fd00::1,ct_ipv6_dst=fd00::2,ct_nw_proto=58,icmp_type=128,icmp_code=0,icmp_id=7";
        assert_eq!(found.tuple(), tuple);
        assert_eq!(parse("sctp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=2),reply=()"), None);
        assert_eq!(parse("nonsense"), None);
        let unmarked =
            "udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=2),reply=(src=10.0.0.2,dst=10.0.0.1,sport=2,dport=1)";
        assert!(!parse(unmarked).unwrap().admitted);
    }
}
