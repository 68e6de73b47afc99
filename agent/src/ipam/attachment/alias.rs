//! The copy of an attachment that the host end of the pod's veth carries: in its alias, and in alternative names where the alias
//! is too short. From it a node whose database was lost knows its pods again; a runtime never repeats an ADD.
//!
//! ```text
//!  ferrant1 shop/web 3f9c… eth0 /var/run/netns/cni-… k8s-pod-network 10.10.1.2,fd00::2 0a:… 4098 1763845200123 5ac0be1f
//!           pod      container interface netns        network         addresses         MAC  port since         digest
//! ```
//!
//! Fields have a space between them, `-` stands for an empty one, and what is not printable ASCII is written as `%` and two
//! hexadecimal digits. A kernel's alias has at most 255 bytes (`IFALIASZ`) and a pod's name alone may have 253, so what is longer
//! begins `ferrant1+N ` and goes on in N alternative names, `<interface>.<i>:` and up to 100 bytes each (`ALTIFNAMSIZ` is 128; an
//! alternative name is unique in its network namespace as the interface's own is). The digest tells a copy that was cut or edited.

use std::net::IpAddr;
use std::path::PathBuf;

use super::record::{Attachment, listed, read_list};

/// Begins every alias of ours; another layout gets another number.
const MARK: &str = "ferrant1";
/// What every layout begins with.
const ANY_MARK: &str = "ferrant";
/// Longest alias that is written, in bytes; the kernel takes 255, and netlink's final zero counts for some of its readers.
const ALIAS_LIMIT: usize = 250;
/// Bytes of the text in one alternative name; with an interface's name and three digits it stays below `ALTIFNAMSIZ`.
const CHUNK: usize = 100;
/// Alternative names that are read; a text needs more only when its path is longer than a path can be (`PATH_MAX`).
const CHUNKS: usize = 200;

/// What a link carries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Label {
    /// Its alias.
    pub alias: String,
    /// Its alternative names.
    pub alternative_names: Vec<String>,
}

/// A link that says it is a pod's and cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("interface {interface}: its alias {alias:?} {problem}; remove the pod so that it is attached again")]
pub struct InvalidAlias {
    interface: String,
    alias: String,
    problem: &'static str,
}

impl Attachment {
    /// What the host end of its veth is to carry.
    pub fn label(&self) -> Label {
        let fields = [
            format!("{}/{}", self.namespace, self.name),
            self.container_id.clone(),
            self.interface.clone(),
            self.network_namespace.to_string_lossy().into_owned(),
            self.network.clone(),
            listed(&self.addresses),
            self.mac.to_string(),
            self.port.map(|port| port.to_string()).unwrap_or_default(),
            self.since.to_string(),
        ];
        let mut text = fields.iter().map(|field| escaped(field)).collect::<Vec<_>>().join(" ");
        text.push_str(&format!(" {:08x}", digest(&text)));
        let whole = format!("{MARK} {text}");
        if whole.len() <= ALIAS_LIMIT {
            return Label { alias: whole, alternative_names: Vec::new() };
        }
        // The text is ASCII: it may be cut anywhere. Three digits are enough for all names of a path that exists.
        let (first, rest) = text.split_at(ALIAS_LIMIT - MARK.len() - 5);
        let chunks: Vec<&[u8]> = rest.as_bytes().chunks(CHUNK).collect();
        let name = |(index, chunk): (usize, &&[u8])| {
            format!("{}.{index}:{}", self.host_interface, String::from_utf8_lossy(chunk))
        };
        let alternative_names: Vec<String> = chunks.iter().enumerate().map(name).collect();
        Label { alias: format!("{MARK}+{} {first}", alternative_names.len()), alternative_names }
    }

    /// Reads it back; none when the link is not a pod's.
    ///
    /// # Errors
    /// When it says it is and is not whole.
    pub fn from_label(host_interface: &str, label: &Label) -> Result<Option<Attachment>, InvalidAlias> {
        if !label.alias.starts_with(ANY_MARK) {
            return Ok(None);
        }
        let invalid =
            |problem| InvalidAlias { interface: host_interface.to_owned(), alias: label.alias.clone(), problem };
        let (mark, first) = label.alias.split_once(' ').ok_or_else(|| invalid("ends after its mark"))?;
        let count = match mark.strip_prefix(MARK).ok_or_else(|| invalid("is of another version"))? {
            "" => 0,
            more => more
                .strip_prefix('+')
                .and_then(|count| count.parse().ok())
                .filter(|count| *count <= CHUNKS)
                .ok_or_else(|| invalid("does not say in how many alternative names it goes on"))?,
        };
        let mut text = first.to_owned();
        for index in 0..count {
            let start = format!("{host_interface}.{index}:");
            let found = label.alternative_names.iter().find_map(|name| name.strip_prefix(&start));
            text.push_str(found.ok_or_else(|| invalid("goes on in an alternative name that is gone"))?);
        }
        let (fields, sum) = text.rsplit_once(' ').ok_or_else(|| invalid("has no digest"))?;
        if u32::from_str_radix(sum, 16) != Ok(digest(fields)) {
            return Err(invalid("was changed or cut: its digest does not fit"));
        }
        read(host_interface, fields).map(Some).ok_or_else(|| invalid("holds a field that cannot be read"))
    }
}

fn read(host_interface: &str, text: &str) -> Option<Attachment> {
    let fields: Vec<String> = text.split(' ').map(plain).collect::<Option<_>>()?;
    let [pod, container_id, interface, network_namespace, network, addresses, mac, port, since] =
        <[String; 9]>::try_from(fields).ok()?;
    let (namespace, name) =
        pod.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())?;
    let addresses: Vec<IpAddr> = read_list(&addresses)?;
    Some(Attachment {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        container_id: Some(container_id).filter(|id| !id.is_empty())?,
        interface,
        network_namespace: PathBuf::from(network_namespace),
        network,
        host_interface: host_interface.to_owned(),
        addresses,
        mac: mac.parse().ok()?,
        port: if port.is_empty() { None } else { Some(port.parse().ok()?) },
        since: since.parse().ok()?,
    })
}

/// A field without spaces, in ASCII.
fn escaped(field: &str) -> String {
    match field {
        "" => "-".to_owned(),
        "-" => "%2d".to_owned(),
        _ => field
            .bytes()
            .map(|byte| match byte {
                b'!'..=b'~' if byte != b'%' => char::from(byte).to_string(),
                _ => format!("%{byte:02x}"),
            })
            .collect(),
    }
}

fn plain(field: &str) -> Option<String> {
    if field == "-" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// FNV-1a of 32 bits: against accidents, not against root, who may write aliases.
fn digest(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use apis::cni::MacAddress;
    use proptest::prelude::*;

    use super::{ALIAS_LIMIT, Attachment, Label};

    fn attachment(name: &str, network_namespace: &str) -> Attachment {
        Attachment {
            namespace: "shop".into(),
            name: name.into(),
            container_id: "3f9c0a".into(),
            interface: "eth0".into(),
            network_namespace: network_namespace.into(),
            network: "ferrant".into(),
            host_interface: "web-6d243518".into(),
            addresses: vec!["10.10.1.2".parse().expect("an address"), "fd00::2".parse().expect("an address")],
            mac: MacAddress([0x0a, 0xab, 0x16, 0x9d, 0x19, 0xb3]),
            port: Some(4098),
            since: 1_763_845_200_123,
        }
    }

    fn back(attachment: &Attachment, label: &Label) -> Result<Option<Attachment>, super::InvalidAlias> {
        Attachment::from_label(&attachment.host_interface, label)
    }

    #[test]
    fn a_person_can_read_it() {
        let label = attachment("web", "/run/netns/a b%").label();
        assert_eq!(
            label.alias,
            "ferrant1 shop/web 3f9c0a eth0 /run/netns/a%20b%25 ferrant 10.10.1.2,fd00::2 0a:ab:16:9d:19:b3 4098 1763845200123 8016b1ac"
        );
        let mut bare = attachment("web", "/n");
        (bare.network, bare.port) = (String::new(), None);
        assert!(bare.label().alias.contains(" /n - 10.10.1.2"), "{:?}", bare.label());
        assert_eq!(back(&bare, &bare.label()), Ok(Some(bare)));
    }

    #[test]
    fn the_longest_names_go_on_in_alternative_names() {
        let mut long = attachment(&"n".repeat(253), &format!("/{}", "p".repeat(4000)));
        (long.namespace, long.container_id) = ("s".repeat(63), "c".repeat(64));
        let label = long.label();
        assert!(label.alias.len() <= ALIAS_LIMIT && label.alternative_names.len() > 40, "{label:?}");
        assert!(label.alternative_names.iter().all(|name| name.len() < 128), "{label:?}");
        let mut shuffled = label.clone();
        shuffled.alternative_names.reverse();
        shuffled.alternative_names.push("somebody-elses".into());
        assert_eq!(back(&long, &shuffled), Ok(Some(long.clone())));
        let mut lost = label;
        lost.alternative_names.remove(3);
        assert!(back(&long, &lost).expect_err("a part is gone").to_string().contains("alternative name that is gone"));
    }

    #[test]
    fn what_is_not_ours_and_what_is_damaged() {
        let web = attachment("web", "/run/netns/x");
        for other in ["", "uplink of rack 4", "Ferrant"] {
            assert_eq!(back(&web, &Label { alias: other.into(), ..Label::default() }), Ok(None));
        }
        let whole = web.label().alias;
        for (damaged, part) in [
            ("ferrant1".to_owned(), "ends after"),
            ("ferrant2 x y".to_owned(), "another version"),
            ("ferrant1+x y".to_owned(), "how many"),
            ("ferrant1+99999999 y".to_owned(), "how many"),
            ("ferrant1 x".to_owned(), "no digest"),
            (whole.replace("10.10.1.2", "10.10.1.3"), "digest"),
            (whole[..whole.len() - 12].to_owned(), "digest"),
            (format!("{whole} "), "digest"),
        ] {
            let error =
                back(&web, &Label { alias: damaged.clone(), ..Label::default() }).expect_err(&damaged).to_string();
            assert!(error.contains(part) && error.contains("web-6d243518"), "{damaged}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_name_comes_back(name in "[a-z0-9.-]{1,253}", path in "/.{0,200}", network in "[a-zA-Z0-9_.-]{0,80}") {
            let mut one = attachment(&name, &path);
            one.network = network;
            prop_assert_eq!(back(&one, &one.label()), Ok(Some(one.clone())));
        }

        #[test]
        fn any_alias_is_read_or_refused(alias in "(ferrant1?(\\+[0-9]{1,3})? )?.{0,80}", names in prop::collection::vec(".{0,40}", 0..3)) {
            let _ = Attachment::from_label("web-1", &Label { alias, alternative_names: names });
        }
    }
}
