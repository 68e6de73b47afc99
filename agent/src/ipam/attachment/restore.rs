//! Which pods are attached, as an agent finds it when it starts: from the database, from the links, from both.

use std::collections::{BTreeMap, BTreeSet};

use super::alias::Label;
use super::record::Attachment;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Attached, with the link there. What the database does not have is among them: its port is to be made again.
    pub attached: Vec<Attachment>,
    /// Written in the database, and the link is gone: the node was started anew, or the pod's namespace ended. No packet can reach
    /// such a pod, and the runtime may never say DEL: it is to be detached.
    pub gone: Vec<Attachment>,
    /// What could not be understood, in words.
    pub problems: Vec<String>,
}

/// Joins what the database says of the bridge's interfaces with what links carry. The database's word counts where both have
/// one; `links` is none when they could not be listed, and then nothing counts as gone.
pub fn found<'a>(
    interfaces: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, String>)>,
    links: Option<&BTreeMap<String, Label>>,
) -> Found {
    let mut found = Found::default();
    let mut known = BTreeSet::new();
    for (interface, ids) in interfaces {
        match Attachment::from_external_ids(interface, ids) {
            Ok(Some(attachment)) => {
                known.insert(interface.to_owned());
                if links.is_none_or(|links| links.contains_key(interface)) {
                    found.attached.push(attachment);
                } else {
                    found.gone.push(attachment);
                }
            }
            Ok(None) => {}
            // The link may know better.
            Err(error) => found.problems.push(error.to_string()),
        }
    }
    for (interface, label) in links.into_iter().flatten().filter(|(interface, _)| !known.contains(*interface)) {
        match Attachment::from_label(interface, label) {
            Ok(Some(attachment)) => found.attached.push(attachment),
            Ok(None) => {}
            Err(error) => found.problems.push(error.to_string()),
        }
    }
    found.attached.sort_by(|one, two| (one.since, &one.container_id).cmp(&(two.since, &two.container_id)));
    found
}

#[cfg(test)]
mod tests {
    use apis::cni::MacAddress;

    use super::*;

    fn attachment(number: u8, since: u64) -> Attachment {
        Attachment {
            namespace: "shop".into(),
            name: "web".into(),
            container_id: format!("c{number}"),
            interface: "eth0".into(),
            network_namespace: "/run/netns/x".into(),
            network: "ferrant".into(),
            host_interface: format!("web-{number}"),
            addresses: vec![format!("10.10.1.{number}").parse().expect("an address")],
            mac: MacAddress([0x0a, 0, 0, 0, 0, number]),
            port: Some(4096 + u32::from(number)),
            since,
        }
    }

    fn containers(attachments: &[Attachment]) -> Vec<&str> {
        attachments.iter().map(|attachment| attachment.container_id.as_str()).collect()
    }

    #[test]
    fn the_database_and_the_links_complete_each_other() {
        let all: Vec<Attachment> =
            [(1, 30), (2, 10), (3, 20), (4, 40)].map(|(number, since)| attachment(number, since)).into();
        let mut database: BTreeMap<String, BTreeMap<String, String>> =
            all.iter().map(|each| (each.host_interface.clone(), each.external_ids())).collect();
        let mut links: BTreeMap<String, Label> =
            all.iter().map(|each| (each.host_interface.clone(), each.label())).collect();
        links.insert("eth0".into(), Label { alias: "uplink".into(), ..Label::default() });
        database.insert("gw0".into(), BTreeMap::new());
        database.remove("web-1"); // lost
        links.remove("web-2"); // its link is gone
        database.get_mut("web-3").expect("it is there").insert("ferrant-mac".into(), "x".into()); // damaged, the link knows
        links.get_mut("web-4").expect("it is there").alias = "ferrant1 damaged".into(); // the database knows
        let ids = || database.iter().map(|(name, ids)| (name.as_str(), ids));

        let joined = found(ids(), Some(&links));
        assert_eq!(containers(&joined.attached), ["c3", "c1", "c4"], "the oldest first");
        assert_eq!(joined.attached[0], all[2], "as it was");
        assert_eq!(containers(&joined.gone), ["c2"]);
        assert_eq!(joined.problems.len(), 1, "{:?}", joined.problems);
        assert!(joined.problems[0].contains("web-3"), "{:?}", joined.problems);

        let blind = found(ids(), None);
        assert_eq!((containers(&blind.attached), blind.gone.len()), (vec!["c2", "c4"], 0));
        let wiped = found([], Some(&links));
        assert_eq!(containers(&wiped.attached), ["c3", "c1"]);
        assert!(wiped.problems[0].contains("web-4"), "{:?}", wiped.problems);
    }
}
