//! The cases of `tests/cases/*.yaml`: policies as people write them, and questions with their answers, one a line.
//!
//! A question is `SOURCE -> DESTINATION PROTOCOL [PORT] [v6] [from ADDRESS]: ANSWER`. A party is a pod (`web`, or
//! `namespace/web`), `node NAME`, or an address; the answer is what [`policy::Verdict`] prints, or why there is none. The
//! cluster is `tests/cluster.yaml`. A policy is `namespace/name: spec`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use apis::kubernetes::Object;
use policy::{Cluster, Construct, Endpoint, Family, Packet, PodKey, Protocol, decisive, evaluate};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    #[serde(default)]
    policies: BTreeMap<String, serde_json::Value>,
    asks: String,
}

const FILES: &[(&str, &str)] = &[
    ("documentation", include_str!("cases/documentation.yaml")),
    ("recipes", include_str!("cases/recipes.yaml")),
    ("isolation", include_str!("cases/isolation.yaml")),
    ("selectors", include_str!("cases/selectors.yaml")),
    ("addresses", include_str!("cases/addresses.yaml")),
    ("ports", include_str!("cases/ports.yaml")),
    ("parties", include_str!("cases/parties.yaml")),
];

fn objects(text: &str) -> Vec<Object> {
    let read = |document: Result<apis::yaml::Document, apis::yaml::YamlError>| {
        let document = document.unwrap_or_else(|error| panic!("{error}\n{text}"));
        document.validate().unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
        assert_eq!(document.unknown_fields, [], "{text}");
        document.object
    };
    apis::yaml::documents(text).into_iter().map(read).collect()
}

fn cases() -> Vec<(&'static str, Case)> {
    let read = |(file, text): &(&'static str, &str)| -> Vec<(&'static str, Case)> {
        let cases: Vec<Case> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        cases.into_iter().map(|case| (*file, case)).collect()
    };
    FILES.iter().flat_map(read).collect()
}

fn cluster(case: &Case) -> Cluster {
    let policies = case.policies.iter().flat_map(|(key, spec)| {
        let (namespace, name) = key.split_once('/').expect("a policy's key is namespace/name");
        let manifest = serde_json::json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"namespace": namespace, "name": name},
            "spec": spec,
        });
        objects(&manifest.to_string())
    });
    objects(include_str!("cluster.yaml")).into_iter().chain(policies).collect()
}

fn party(text: &str) -> Endpoint {
    if let Some(node) = text.strip_prefix("node ") {
        return Endpoint::Node(node.to_owned());
    }
    match (text.parse(), text.split_once('/')) {
        (Ok(address), _) => Endpoint::Address(address),
        (_, Some((namespace, name))) => Endpoint::Pod(PodKey::new(namespace, name)),
        _ => Endpoint::Pod(PodKey::new("default", text)),
    }
}

/// A line's packet and the answer it expects.
fn question(line: &str) -> (Packet, String) {
    let (question, answer) = line.split_once(": ").unwrap_or_else(|| panic!("no answer: {line}"));
    let (source, rest) = question.split_once(" -> ").unwrap_or_else(|| panic!("no arrow: {line}"));
    let protocols = [" tcp ", " udp ", " sctp ", " icmp"];
    let at = protocols.iter().find_map(|protocol| rest.find(protocol)).unwrap_or_else(|| panic!("no protocol: {line}"));
    let (destination, words) = (party(&rest[..at]), rest[at..].split_whitespace().collect::<Vec<_>>());
    let port = || (40_000, words[1].parse::<u16>().unwrap_or_else(|_| panic!("no port: {line}")));
    let protocol = match (words[0], words[0] == "icmp") {
        (_, true) => Protocol::Icmp { kind: 8, code: 0 },
        ("tcp", _) => Protocol::Tcp { source_port: port().0, destination_port: port().1 },
        ("udp", _) => Protocol::Udp { source_port: port().0, destination_port: port().1 },
        _ => Protocol::Sctp { source_port: port().0, destination_port: port().1 },
    };
    let source = party(source.trim());
    let address_of = |endpoint: &Endpoint| match endpoint {
        Endpoint::Address(address) => Some(*address),
        _ => None,
    };
    let outside = address_of(&source).or(address_of(&destination));
    let family = match words.contains(&"v6") {
        true => Family::Ipv6,
        false => outside.map_or(Family::Ipv4, Family::of),
    };
    let from = words
        .iter()
        .position(|word| *word == "from")
        .map(|at| words[at + 1].parse::<IpAddr>().expect("an address after from"));
    (Packet { source, destination, family, protocol, source_address: from }, answer.trim().to_owned())
}

fn questions(case: &Case) -> impl Iterator<Item = (Packet, String)> {
    case.asks.lines().map(str::trim).filter(|line| !line.is_empty()).map(question)
}

#[test]
fn every_case_is_answered_as_written() {
    let (mut wrong, mut names, mut asked) = (Vec::new(), BTreeSet::new(), 0);
    for (file, case) in cases() {
        assert!(names.insert(case.case.clone()), "{file}: two cases are called {:?}", case.case);
        let cluster = cluster(&case);
        for (packet, expected) in questions(&case) {
            asked += 1;
            let answer = match evaluate(&cluster, &packet) {
                Ok(verdict) => verdict.to_string(),
                Err(unanswerable) => unanswerable.to_string(),
            };
            if answer != expected {
                wrong
                    .push(format!("{file}: {}\n  {packet}\n    expected {expected}\n    answered {answer}", case.case));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(names.len() >= 80, "{} cases", names.len());
}

/// A construct that no case needs is a construct that no case holds.
#[test]
fn every_construct_decides_some_case() {
    let mut decided: BTreeMap<Construct, usize> = Construct::ALL.into_iter().map(|construct| (construct, 0)).collect();
    for (_, case) in cases() {
        let cluster = cluster(&case);
        for (packet, _) in questions(&case) {
            for construct in decisive(&cluster, &packet).unwrap_or_default() {
                *decided.get_mut(&construct).unwrap() += 1;
            }
        }
    }
    let never: Vec<_> =
        decided.iter().filter(|(_, count)| **count == 0).map(|(construct, _)| construct.name()).collect();
    assert!(never.is_empty(), "decide nothing: {never:?}");
}

/// Policies are a union: their order changes nothing, and neither does that of the other objects.
#[test]
fn order_means_nothing() {
    for (file, case) in cases() {
        let forward = cluster(&case);
        let mut backward = forward.clone();
        backward.pods.reverse();
        backward.namespaces.reverse();
        backward.nodes.reverse();
        backward.network_policies.reverse();
        for (packet, _) in questions(&case) {
            assert_eq!(evaluate(&forward, &packet), evaluate(&backward, &packet), "{file}: {}: {packet}", case.case);
        }
    }
}
