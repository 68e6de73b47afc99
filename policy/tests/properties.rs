//! What holds of every cluster, set of policies and packet.

use std::collections::BTreeMap;
use std::net::IpAddr;

use apis::kubernetes::{
    Container, ContainerPort, IntOrString, IpBlock, LabelSelector, LabelSelectorRequirement, Namespace, NetworkPolicy,
    NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, Node, NodeAddress, Pod,
    PodIp, PodPhase,
};
use policy::{Class, Cluster, Construct, Decision, Endpoint, Family, Outcome, Packet, Protocol, decisive, evaluate};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

fn word() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "c"]).prop_map(str::to_owned)
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(word(), word(), 0..3)
}

fn selector() -> impl Strategy<Value = LabelSelector> {
    let operator = select(vec!["In", "NotIn", "Exists", "DoesNotExist", "Sometimes"]).prop_map(str::to_owned);
    let requirement = (word(), operator, vec(word(), 0..3))
        .prop_map(|(key, operator, values)| LabelSelectorRequirement { key, operator, values });
    (btree_map(word(), word(), 0..2), vec(requirement, 0..2))
        .prop_map(|(match_labels, match_expressions)| LabelSelector { match_labels, match_expressions })
}

fn range() -> impl Strategy<Value = String> {
    let known =
        ["0.0.0.0/0", "10.0.0.0/30", "10.0.0.4/30", "10.0.0.2/32", "::/0", "fd00::/126", "no range", "10.0.0.0/99"];
    select(known.to_vec()).prop_map(str::to_owned)
}

fn peer() -> impl Strategy<Value = NetworkPolicyPeer> {
    let block = (range(), vec(range(), 0..2)).prop_map(|(cidr, except)| IpBlock { cidr, except });
    (of(selector()), of(selector()), of(block)).prop_map(|(pod_selector, namespace_selector, ip_block)| {
        NetworkPolicyPeer { pod_selector, namespace_selector, ip_block }
    })
}

fn protocol_name() -> impl Strategy<Value = Option<String>> {
    of(select(vec!["TCP", "UDP", "SCTP", "ICMP"]).prop_map(str::to_owned))
}

fn port() -> impl Strategy<Value = NetworkPolicyPort> {
    let number_or_name = prop_oneof![(-1..6i32).prop_map(IntOrString::Int), word().prop_map(IntOrString::String)];
    (protocol_name(), of(number_or_name), of(0..9i32)).prop_map(|(protocol, port, end_port)| NetworkPolicyPort {
        protocol,
        port,
        end_port,
    })
}

fn network_policy() -> impl Strategy<Value = NetworkPolicy> {
    let rule = || (vec(port(), 0..3), vec(peer(), 0..3));
    let types = vec(select(vec!["Ingress", "Egress", "Neither"]).prop_map(str::to_owned), 0..3);
    (word(), word(), of(selector()), vec(rule(), 0..3), vec(rule(), 0..3), types).prop_map(
        |(namespace, name, pod_selector, ingress, egress, policy_types)| {
            let mut policy = NetworkPolicy::default();
            policy.metadata.namespace = Some(namespace);
            policy.metadata.name = name;
            policy.spec.pod_selector = pod_selector;
            policy.spec.policy_types = policy_types;
            policy.spec.ingress =
                ingress.into_iter().map(|(ports, from)| NetworkPolicyIngressRule { ports, from }).collect();
            policy.spec.egress = egress.into_iter().map(|(ports, to)| NetworkPolicyEgressRule { ports, to }).collect();
            policy
        },
    )
}

fn pod() -> impl Strategy<Value = Pod> {
    let port = (of(word()), 0..6i32, protocol_name()).prop_map(|(name, container_port, protocol)| ContainerPort {
        name,
        container_port,
        protocol,
        ..ContainerPort::default()
    });
    let ended = select(vec![PodPhase::Succeeded, PodPhase::Failed]);
    let phase = of(prop_oneof![9 => Just(PodPhase::Running), 1 => ended]);
    let addresses = (0..8u8, 0..8u8, 0..5u8).prop_map(|(four, six, which)| {
        let both = [format!("10.0.0.{four}"), format!("fd00::{six}")];
        both[usize::from(which == 1)..2 - usize::from(which == 2)].to_vec()
    });
    (labels(), of(word()), prop::bool::weighted(0.1), vec(port, 0..3), phase, addresses).prop_map(
        |(labels, node_name, host_network, ports, phase, addresses)| {
            let mut pod = Pod::default();
            pod.metadata.labels = labels;
            pod.spec.node_name = node_name;
            pod.spec.host_network = host_network;
            pod.spec.containers = vec![Container { ports, ..Container::default() }];
            pod.status.phase = phase;
            pod.status.pod_ips = addresses.into_iter().map(|ip| PodIp { ip }).collect();
            pod
        },
    )
}

/// Nine pods at most, with keys of their own; two nodes; namespaces some of which have an object.
fn cluster() -> impl Strategy<Value = Cluster> {
    (btree_map((word(), word()), pod(), 3..9), btree_map(word(), labels(), 0..3), vec(network_policy(), 0..8)).prop_map(
        |(pods, namespaces, network_policies)| {
            let mut cluster = Cluster { network_policies, ..Cluster::default() };
            for ((namespace, name), mut pod) in pods {
                pod.metadata.namespace = Some(namespace);
                pod.metadata.name = name;
                cluster.pods.push(pod);
            }
            for (name, labels) in namespaces {
                let mut namespace = Namespace::default();
                (namespace.metadata.name, namespace.metadata.labels) = (name, labels);
                cluster.namespaces.push(namespace);
            }
            for (index, name) in ["a", "b"].into_iter().enumerate() {
                let mut node = Node::default();
                node.metadata.name = name.to_owned();
                let address = |address: String| NodeAddress { kind: "InternalIP".to_owned(), address };
                node.status.addresses = vec![address(format!("10.0.1.{index}")), address(format!("fd00:1::{index}"))];
                cluster.nodes.push(node);
            }
            cluster
        },
    )
}

/// An end of a packet; a pod is given by a draw among the cluster's.
fn endpoint() -> impl Strategy<Value = Result<prop::sample::Index, Endpoint>> {
    let addresses =
        ["10.0.0.1", "10.9.9.9", "fd00::1", "2001:db8::1", "10.0.1.0"].map(|text| Endpoint::Address(address(text)));
    prop_oneof![
        12 => any::<prop::sample::Index>().prop_map(Ok),
        1 => select(addresses.to_vec()).prop_map(Err),
        1 => select(vec!["a", "b", "c"]).prop_map(|name| Err(Endpoint::Node(name.to_owned()))),
    ]
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A cluster, and a packet most often between two of its pods.
fn asked() -> impl Strategy<Value = (Cluster, Packet)> {
    let protocol = (0..4u8, 0..7u16).prop_map(|(which, destination_port)| match which {
        0 => Protocol::Udp { source_port: 9, destination_port },
        1 => Protocol::Sctp { source_port: 9, destination_port },
        2 => Protocol::Icmp { kind: 8, code: 0 },
        _ => Protocol::Tcp { source_port: 9, destination_port },
    });
    let family = select(vec![Family::Ipv4, Family::Ipv6]);
    let forged = of(select(vec![address("10.0.0.1"), address("fd00::1")]));
    let forged = prop_oneof![9 => Just(None), 1 => forged];
    (cluster(), endpoint(), endpoint(), family, protocol, forged).prop_map(
        |(cluster, source, destination, family, protocol, source_address)| {
            let party = |end: Result<prop::sample::Index, Endpoint>| match end {
                Ok(index) => Endpoint::Pod(Cluster::key(index.get(&cluster.pods))),
                Err(endpoint) => endpoint,
            };
            let (source, destination) = (party(source), party(destination));
            (cluster, Packet { source, destination, family, protocol, source_address })
        },
    )
}

/// The cluster with one policy's rules cut down to the rule of this name (`NetworkPolicy/ns/name ingress[0]`), and no other.
fn only_rule(cluster: &Cluster, rule: &str) -> Cluster {
    let mut cut = cluster.clone();
    for policy in &mut cut.network_policies {
        let namespace = policy.metadata.namespace.clone().unwrap_or_default();
        let name = |direction: &str, index: usize| {
            format!("NetworkPolicy/{namespace}/{} {direction}[{index}]", policy.metadata.name)
        };
        let nobody = vec![NetworkPolicyPeer::default()];
        for (index, candidate) in policy.spec.ingress.iter_mut().enumerate() {
            if name("ingress", index) != rule && rule.contains(" ingress[") {
                candidate.from = nobody.clone();
            }
        }
        for (index, candidate) in policy.spec.egress.iter_mut().enumerate() {
            if name("egress", index) != rule && rule.contains(" egress[") {
                candidate.to = nobody.clone();
            }
        }
    }
    cut
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Unchecked objects included: nothing panics, and a verdict agrees with its own parts.
    #[test]
    fn a_verdict_agrees_with_itself((cluster, packet) in asked()) {
        let Ok(verdict) = evaluate(&cluster, &packet) else { return Ok(()) };
        let denied = verdict.egress.denies() || verdict.ingress.denies();
        prop_assert_eq!(verdict.outcome == Outcome::Denied, denied);
        for decision in [&verdict.egress, &verdict.ingress] {
            if let Decision::AllowedByRules(names) | Decision::DeniedByIsolation(names) = decision {
                prop_assert!(!names.is_empty());
            }
        }
        prop_assert!(!denied || verdict.egress == Decision::DeniedSpoof || !verdict.by().is_empty());
    }

    /// Every rule that is said to allow does so alone.
    #[test]
    fn each_named_rule_suffices((cluster, packet) in asked()) {
        let Ok(verdict) = evaluate(&cluster, &packet) else { return Ok(()) };
        for (decision, ingress) in [(&verdict.egress, false), (&verdict.ingress, true)] {
            let Decision::AllowedByRules(names) = decision else { continue };
            for name in names {
                let alone = evaluate(&only_rule(&cluster, name), &packet).unwrap();
                let alone = if ingress { alone.ingress } else { alone.egress };
                prop_assert_eq!(alone, Decision::AllowedByRules([name.clone()].into()));
            }
        }
    }

    /// Rules only ever allow more.
    #[test]
    fn one_more_rule_closes_nothing((cluster, packet) in asked(), ports in vec(port(), 0..3), peers in vec(peer(), 0..3)) {
        let Ok(before) = evaluate(&cluster, &packet) else { return Ok(()) };
        let mut more = cluster.clone();
        for policy in &mut more.network_policies {
            policy.spec.ingress.push(NetworkPolicyIngressRule { ports: ports.clone(), from: peers.clone() });
            // One more egress rule where there was none may isolate, by default: not what is asked here.
            if !policy.spec.egress.is_empty() {
                policy.spec.egress.push(NetworkPolicyEgressRule { ports: ports.clone(), to: peers.clone() });
            }
        }
        let after = evaluate(&more, &packet).unwrap();
        prop_assert!(before.outcome == Outcome::Denied || after.outcome == Outcome::Allowed, "{before} {after}");
    }

    /// Policies only ever isolate more: without any, only a forged source is stopped.
    #[test]
    fn without_policies_all_passes((cluster, packet) in asked()) {
        let open = Cluster { network_policies: Vec::new(), ..cluster };
        let Ok(verdict) = evaluate(&open, &packet) else { return Ok(()) };
        prop_assert_eq!(verdict.outcome == Outcome::Denied, verdict.egress == Decision::DeniedSpoof);
    }

    /// What decides is among what the packet could meet: a packet without ports is not decided by ports.
    #[test]
    fn constructs_decide_only_where_they_are_met((cluster, packet) in asked()) {
        let Ok(decisive) = decisive(&cluster, &packet) else { return Ok(()) };
        if matches!(packet.protocol, Protocol::Icmp { .. }) {
            let of_ports = [Construct::EndPort, Construct::NamedPort, Construct::ProtocolUdp, Construct::ProtocolSctp];
            prop_assert!(!of_ports.iter().any(|construct| decisive.contains(construct)), "{decisive:?}");
        }
        if cluster.network_policies.is_empty() && packet.source_address.is_none() {
            prop_assert!(decisive.is_empty(), "{decisive:?}");
        }
    }
}

/// The draws above meet every class of verdict often enough to mean something.
#[test]
fn the_draws_meet_every_class() {
    let mut runner = TestRunner::deterministic();
    let mut classes: BTreeMap<Option<Class>, usize> = BTreeMap::new();
    for _ in 0..3000 {
        let (cluster, packet) = asked().new_tree(&mut runner).expect("a draw").current();
        *classes.entry(evaluate(&cluster, &packet).ok().map(|verdict| verdict.class())).or_default() += 1;
    }
    let often = |class: Class| classes.get(&Some(class)).copied().unwrap_or_default();
    let all = [Class::AllowedByRule, Class::AllowedByNoIsolation, Class::AllowedUnasked, Class::DeniedByIsolation];
    assert!(all.into_iter().all(|class| often(class) >= 100), "{classes:?}");
    assert!(often(Class::AllowedByHostOrigin) >= 10 && often(Class::DeniedBySpoofGuard) >= 30, "{classes:?}");
}
