//! The printer: equal flows give equal text, whatever numbers a ledger handed out; what has no name of ours is still shown.

use openflow::{Action, Field, Match, PortNumber};
use ovs_pipeline::show::{Names, NoNames, Printer, Shown, lines};
use ovs_pipeline::{
    Action as Says, ConjunctionNumber, Datapath, Direction, Effect, IdentityNumber, Intent, IpBlock, Node, Part, Peers,
    Protocol, Rule, RuleNumber, Service, Table, flows,
};

fn rule(base: u32, conjunction: u32) -> Vec<Part> {
    let node = Node {
        datapath: Datapath::System,
        tunnel_port: 1,
        gateway_port: 2,
        gateway_mac: [0; 6],
        gateways: Vec::new(),
        addresses: Vec::new(),
        pod_cidrs: Vec::new(),
        cluster_pod_cidrs: Vec::new(),
    };
    let block = IpBlock { cidr: "192.0.2.0/24".parse().expect("a range"), except: Vec::new() };
    let rule = Rule {
        rule: RuleNumber(base + 2),
        conjunction: ConjunctionNumber(conjunction),
        direction: Direction::Ingress,
        applied_to: vec![IdentityNumber(base)],
        peers: Some(Peers { identities: vec![IdentityNumber(base + 1)], blocks: vec![block] }),
        destinations: None,
        services: Some(vec![Service::Ports { protocol: Protocol::Udp, first: 8000, last: 8003 }]),
        action: Says::Allow,
    };
    let mut parts = Vec::new();
    flows(&Intent::Rule(rule), &node, &mut |part| parts.push(part)).expect("the flows are declared");
    parts
}

/// The parts as a switch's dump would have them, in some order.
fn printed(parts: &[Part], names: &dyn Names) -> Vec<String> {
    let actions: Vec<Vec<Action>> = parts
        .iter()
        .map(|part| match &part.effect {
            Effect::Apply { actions, .. } => actions.clone(),
            Effect::Clause { conjunction, clause, of } => {
                vec![Action::Conjunction { id: conjunction.0, clause: *clause, clauses: *of }]
            }
        })
        .collect();
    let shown = parts.iter().zip(&actions).map(|(part, actions)| {
        let next = if let Effect::Apply { next, .. } = &part.effect { *next } else { None };
        Shown { table: part.table, priority: part.priority, matches: &part.matches, actions, next }
    });
    lines(shown, names).into_iter().map(|(_, line)| line).collect()
}

#[test]
fn nameless_numbers_go_by_first_appearance() {
    let mut other = rule(900, 77);
    other.reverse();
    let text = printed(&rule(16, 1), &NoNames);
    assert_eq!(text, printed(&other, &NoNames));
    let wanted = [
        "100  conj_id=#1 -> ingress_verdict=allow, ingress_rule=#1, goto IngressVerdict",
        "100  destination_identity=#1 -> clause 1/3 of #1",
        "100  ip, ip_src=192.0.2.0/24 -> clause 2/3 of #1",
        "100  source_identity=#2 -> clause 2/3 of #1",
        "100  udp, udp_dst=8000-8003, ingress_port_rules=1 -> clause 3/3 of #1",
        "100  udp6, udp_dst=8000-8003, ingress_port_rules=1 -> clause 3/3 of #1",
    ];
    assert_eq!(text, wanted);
}

struct Some3;

impl Names for Some3 {
    fn identity(&self, identity: IdentityNumber) -> Option<String> {
        (identity.0 == 16).then(|| "web".to_string())
    }

    fn rule(&self, rule: RuleNumber) -> Option<String> {
        (rule.0 == 18).then(|| "NetworkPolicy/shop/web ingress[0]".to_string())
    }

    fn conjunction(&self, conjunction: ConjunctionNumber) -> Option<String> {
        (conjunction.0 == 1).then(|| "web ingress[0]".to_string())
    }

    fn port(&self, port: u32) -> Option<String> {
        (port == 3).then(|| "shop/web-0".to_string())
    }
}

#[test]
fn what_has_a_name_goes_by_it() {
    let text = printed(&rule(16, 1), &Some3);
    let said = "100  conj_id=web ingress[0] -> ingress_verdict=allow, ingress_rule=NetworkPolicy/shop/web ingress[0], goto IngressVerdict";
    assert_eq!(text[0], said);
    assert_eq!(text[1], "100  destination_identity=web -> clause 1/3 of web ingress[0]");
    assert_eq!(text[3], "100  source_identity=#1 -> clause 2/3 of web ingress[0]");
    let mut printer = Printer::new(&Some3);
    let matches = Match::new().with(Field::InPort, 3u32);
    assert_eq!(printer.matches(&matches), "in_port=shop/web-0");
    assert_eq!(
        printer.actions(&[Action::output(PortNumber(3)), Action::output(PortNumber(4))], None),
        "output to shop/web-0, output to 4"
    );
    // The number of a rule's mirrored conjunction: bit 27.
    assert_eq!(printer.matches(&Match::new().with(Field::ConjId, 1 | 1u32 << 27)), "conj_id=web ingress[0] replies");
}

#[test]
fn what_no_register_names_is_shown_all_the_same() {
    let mut printer = Printer::new(&NoNames);
    // Bits 14 to 17 of reg0: a reserved one, a nameless part of the verdict's place, and half of the verdict.
    let matches = Match::new()
        .masked(Field::Reg(0), 0x1_4000u32, 0x1_4000u32)
        .with(Field::Reg(6), 5u32)
        .with(Field::PktMark, 7u32);
    assert_eq!(printer.matches(&matches), "multicast=1, reg0=0x10000/0x10000, trace_tag=0x5, pkt_mark=0x7");
    assert_eq!(printer.matches(&Match::new()), "any");
    assert_eq!(printer.actions(&[], None), "drop");
    assert_eq!(
        printer.actions(&[Action::Group(7), Action::CtClear], Some(Table::Output)),
        "group:7, ct_clear, goto Output"
    );
    let eth = Match::new().with(Field::EthType, 0x88ccu16);
    assert_eq!(printer.matches(&eth), "eth_type=0x88cc");
}
