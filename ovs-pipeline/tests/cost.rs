//! What changes cost, in flows: the bounds that make policy cheap.

use std::collections::BTreeSet;

use ovs_pipeline::{
    Action, Address, ConjunctionNumber, Datapath, Direction, IdentityNumber, Intent, Isolation, Node, Part, Peers, Pod,
    Posture, Protocol, Rule, RuleNumber, Service, flows,
};

fn node(datapath: Datapath) -> Node {
    Node {
        datapath,
        tunnel_port: 1,
        gateway_port: 2,
        gateway_mac: [0x0a, 0, 0, 0, 1, 1],
        gateways: vec!["10.10.1.1".parse().expect("an address")],
        addresses: vec!["172.18.0.11".parse().expect("an address")],
        pod_cidrs: vec!["10.10.1.0/24".parse().expect("a range")],
        cluster_pod_cidrs: vec!["10.10.0.0/16".parse().expect("a range")],
    }
}

fn parts(intent: &Intent, datapath: Datapath) -> Vec<Part> {
    let mut parts = Vec::new();
    flows(intent, &node(datapath), &mut |part| parts.push(part)).expect("the flows are declared");
    parts
}

/// How many flows the intents make together.
fn count(intents: &[Intent], datapath: Datapath) -> usize {
    let parts = intents.iter().flat_map(|intent| parts(intent, datapath));
    parts.map(|part| (part.table, part.priority, part.matches)).collect::<BTreeSet<_>>().len()
}

fn identities(from: u32, count: u32) -> Vec<IdentityNumber> {
    (from..from + count).map(IdentityNumber).collect()
}

fn rule(number: u32, applied_to: u32, peers: u32, ports: u16) -> Intent {
    let services = (0..ports).map(|port| Service::Ports { protocol: Protocol::Tcp, first: 80 + port, last: 80 + port });
    Intent::Rule(Rule {
        rule: RuleNumber(number),
        conjunction: ConjunctionNumber(number),
        direction: Direction::Ingress,
        applied_to: identities(100, applied_to),
        peers: Some(Peers { identities: identities(1000, peers), blocks: Vec::new() }),
        destinations: None,
        services: Some(services.collect()),
        action: Action::Allow,
    })
}

#[test]
fn an_endpoint_elsewhere_costs_one_flow_for_each_direction_that_needs_it() {
    let address = |source, destination| {
        let address = "10.10.2.9".parse().expect("an address");
        count(
            &[Intent::Address(Address { address, identity: IdentityNumber(16), source, destination })],
            Datapath::Netdev,
        )
    };
    assert_eq!([address(true, false), address(false, true), address(true, true), address(false, false)], [1, 1, 2, 0]);
}

#[test]
fn a_rule_costs_the_sum_of_what_it_names_not_the_product() {
    // One flow an identity, two a port (both families), one for the verdict.
    assert_eq!(count(&[rule(16, 3, 20, 5)], Datapath::System), 3 + 20 + 2 * 5 + 1);
    assert_eq!(count(&[rule(16, 3, 20, 5)], Datapath::Netdev), 3 + 20 + 2 * 5 + 1, "TCP needs no mirror");
}

#[test]
fn rules_that_name_the_same_share_its_flows() {
    let rules: Vec<Intent> = (16..66).map(|number| rule(number, 3, 20, 5)).collect();
    assert_eq!(
        count(&rules, Datapath::System),
        3 + 20 + 2 * 5 + 50,
        "another rule costs the one flow that says its name"
    );
}

#[test]
fn a_rule_costs_the_same_whatever_the_number_of_pods() {
    let addresses = |count: u32| {
        (0..count).map(|index| {
            let address = std::net::IpAddr::from((0x0a0a_0200 + index).to_be_bytes());
            Intent::Address(Address { address, identity: IdentityNumber(1000), source: true, destination: false })
        })
    };
    let few: Vec<Intent> = addresses(10).collect();
    let many: Vec<Intent> = addresses(5000).collect();
    let with = |intents: &[Intent]| count(&[intents, &[rule(16, 3, 20, 5)]].concat(), Datapath::System) - intents.len();
    assert_eq!(with(&few), with(&many));
}

#[test]
fn a_pod_and_an_isolation_cost_the_same_whatever_the_number_of_policies() {
    let pod = Intent::Pod(Pod {
        port: 3,
        mac: [0x0a, 0, 0, 0, 1, 3],
        addresses: vec!["10.10.1.3".parse().expect("an address")],
        identity: Some(IdentityNumber(16)),
        egress: Posture::Policed,
        ingress: Posture::Policed,
        egress_port_rules: true,
        ingress_port_rules: true,
    });
    // Port, two of spoof guard, its identity as source and as destination, two postures, route.
    assert_eq!(count(&[pod], Datapath::Netdev), 8);
    let isolation = Intent::Isolation(Isolation {
        direction: Direction::Ingress,
        identity: IdentityNumber(16),
        rule: RuleNumber(16),
    });
    assert_eq!(count(std::slice::from_ref(&isolation), Datapath::System), 1);
    // On netdev one more, for SCTP replies in the other direction.
    assert_eq!(count(&[isolation], Datapath::Netdev), 2);
}
