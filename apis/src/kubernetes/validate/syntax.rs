//! The syntax of names, labels, ports and addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Complaint;

/// RFC 1123 label: at most 63 of `a-z`, `0-9`, `-`; a letter or digit at both ends.
pub(super) fn dns_label(name: &str) -> Result<(), Complaint> {
    let advice = "use at most 63 of a-z, 0-9 and -, with a letter or digit first and last (RFC 1123 label)";
    if is_dns_label(name) { Ok(()) } else { Err((refused("name", name), advice)) }
}

/// RFC 1123 subdomain: labels joined by dots, at most 253 characters.
pub(super) fn dns_subdomain(name: &str) -> Result<(), Complaint> {
    let advice = "use at most 253 of a-z, 0-9, - and ., with a letter or digit at both ends of each part (RFC 1123)";
    if is_dns_subdomain(name) { Ok(()) } else { Err((refused("name", name), advice)) }
}

fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_framed(name, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), b"-")
}

fn is_dns_subdomain(name: &str) -> bool {
    // The API server bounds the whole, not each part.
    let part = |part: &str| is_framed(part, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), b"-");
    name.len() <= 253 && name.split('.').all(part)
}

/// Not empty, `solid` at both ends, `solid` or one of `joint` between.
fn is_framed(text: &str, solid: fn(&u8) -> bool, joint: &[u8]) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(solid)
        && bytes.last().is_some_and(solid)
        && bytes.iter().all(|byte| solid(byte) || joint.contains(byte))
}

/// `name` or `prefix/name`: an optional DNS subdomain, and at most 63 of letters, digits, `-`, `_`, `.`.
pub(super) fn label_key(key: &str) -> Result<(), Complaint> {
    let advice =
        "write name or example.com/name: the name at most 63 of letters, digits, -, _ and ., the prefix a DNS name";
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let valid =
        prefix.is_none_or(is_dns_subdomain) && name.len() <= 63 && is_framed(name, u8::is_ascii_alphanumeric, b"-_.");
    if valid { Ok(()) } else { Err((refused("label key", key), advice)) }
}

/// Empty, or at most 63 of letters, digits, `-`, `_`, `.`, with a letter or digit at both ends.
pub(super) fn label_value(value: &str) -> Result<(), Complaint> {
    let advice = "use at most 63 of letters, digits, -, _ and ., with a letter or digit first and last";
    let valid = value.is_empty() || value.len() <= 63 && is_framed(value, u8::is_ascii_alphanumeric, b"-_.");
    if valid { Ok(()) } else { Err((refused("label value", value), advice)) }
}

/// 1–65535.
pub(super) fn port_number(number: i32) -> Result<u16, Complaint> {
    let valid = u16::try_from(number).ok().filter(|number| *number != 0);
    valid.ok_or_else(|| (format!("is not a port: {number}"), "write a number from 1 to 65535"))
}

/// IANA_SVC_NAME (RFC 6335 section 5.1, lower case): at most 15, a letter among them, no `-` at an end or doubled.
pub(super) fn port_name(name: &str) -> Result<(), Complaint> {
    let advice =
        "use at most 15 of a-z, 0-9 and single -, with at least one letter; a number is written without quotes";
    let valid = name.len() <= 15
        && is_framed(name, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), b"-")
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.contains("--");
    if valid { Ok(()) } else { Err((refused("port name", name), advice)) }
}

/// `TCP`, `UDP`, `SCTP`.
pub(super) fn protocol(protocol: &str) -> Result<(), Complaint> {
    match protocol {
        "TCP" | "UDP" | "SCTP" => Ok(()),
        _ => Err((refused("protocol", protocol), "write TCP, UDP or SCTP, in capitals")),
    }
}

/// An IPv4 or IPv6 address; not an IPv4 address in IPv6 dress, which tools read in two ways.
pub fn parse_address(text: &str) -> Result<IpAddr, (String, &'static str)> {
    let advice = "write an address such as 192.0.2.1 or 2001:db8::1, without leading zeros";
    text.parse::<IpAddr>()
        .ok()
        .filter(|address| !is_mapped(*address))
        .ok_or_else(|| (refused("IP address", text), advice))
}

/// An IPv4 or IPv6 range; bits beyond the prefix may be set, as the API server allows, and are cleared.
pub fn parse_cidr(text: &str) -> Result<IpNet, (String, &'static str)> {
    let advice = "write a range such as 192.0.2.0/24 or 2001:db8::/64, without leading zeros";
    let parse = || {
        let (address, length) = text.split_once('/')?;
        let plain = length.bytes().all(|byte| byte.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
        let address = address.parse::<IpAddr>().ok().filter(|address| !is_mapped(*address))?;
        let network = IpNet::new(address, length.parse().ok().filter(|_| plain)?).ok()?;
        Some(network.trunc())
    };
    parse().ok_or_else(|| (refused("range of addresses", text), advice))
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// At most 80 characters of a text, so that a message stays one.
pub(super) fn shown(text: &str) -> &str {
    text.char_indices().nth(80).map_or(text, |(at, _)| &text[..at])
}

fn refused(what: &str, text: &str) -> String {
    match shown(text) {
        "" => "is empty or missing".to_owned(),
        all if all.len() == text.len() => format!("is not a valid {what}: {text:?}"),
        part => format!("is not a valid {what}: {part:?}…"),
    }
}
