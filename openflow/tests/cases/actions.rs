//! Cases for actions: at least one for each kind, with each part that a kind can have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use openflow::action::{
    BundleAlgorithm, HashFields, LearnFlags, MemberBundle, Multipath, MultipathAlgorithm, Sample, SampleDirection,
};
use openflow::{
    Action, Controller, Ct, CtFlags, CtZone, Field, Instructions, Learn, LearnSource, LearnSpec, LearnTarget, Match,
    Nat, NatFlags, NatRange, PacketInReason, PortNumber, Value,
};

use crate::exclusions;
use crate::flows::Case;
use crate::ofctl::Features;
use crate::report::Report;

/// What `dump-table-features` calls our kinds of action, where it names them at all.
const SWITCH_NAMES: &[(&str, &str)] = &[
    ("output", "output"),
    ("group", "group"),
    ("set_field", "set-field"),
    ("strip_vlan", "pop-vlan"),
    ("push_vlan", "push-vlan"),
    ("mod_nw_ttl", "set-ip-ttl"),
    ("dec_ttl", "dec-ttl"),
    ("set_queue", "set-queue"),
];

/// Cases for every kind of action.
pub fn cases(report: &mut Report, features: &Features) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let tcp = || Match::new().with(Field::EthType, 0x0800u16).with(Field::IpProto, 6u8);
    for action in simple().into_iter().chain(conntrack()).chain(learn()).chain(spread()).chain(controllers()) {
        cases.push(Case::doing(format!("action {action}"), suitable(&action), action));
    }
    let ethernet = Match::new().with(Field::PacketType, 0x0001_0800u32);
    cases.push(Case::doing("action encap".to_owned(), ethernet, Action::Encap(0)));
    cases.push(Case::doing("action decap".to_owned(), Match::new(), Action::Decap(None)));
    cases.push(Case::doing("action decap to IPv4".to_owned(), tcp(), Action::Decap(Some(0x0001_0800))));
    cases.extend(instructions(&tcp()));
    for kind in Action::KINDS {
        let has = cases.iter().any(|case| case.instructions.apply.iter().any(|action| contains(action, kind)));
        if has {
            report.actions += 1;
        } else {
            report.without_case(&format!("action {kind}"));
        }
    }
    for name in &features.actions {
        let ours = SWITCH_NAMES.iter().find(|(theirs, _)| theirs == name);
        if ours.is_none_or(|(_, kind)| !Action::KINDS.contains(kind)) && !exclusions::action(name) {
            report.without_case(&format!("action {name}, which the switch names"));
        }
    }
    cases
}

/// A match with which the switch allows the action.
fn suitable(action: &Action) -> Match {
    let ip = |ethertype: u16, protocol: u8| Match::new().with(Field::EthType, ethertype).with(Field::IpProto, protocol);
    match action {
        Action::PopVlan => Match::new().with(Field::VlanVid, openflow::VLAN_PRESENT | 7),
        Action::Resubmit { ct: true, .. } => ip(0x0800, 6).masked(Field::CtState, 0x22u32, 0x22u32),
        Action::Ct(ct) if ct.alg == 69 => ip(0x0800, 17),
        Action::Ct(ct) if matches!(ct.nat, Some(Nat { range: Some(range), .. }) if range.first.is_ipv6()) => {
            ip(0x86dd, 6)
        }
        _ => ip(0x0800, 6),
    }
}

/// Whether an action is of a kind, or holds one that is.
fn contains(action: &Action, kind: &str) -> bool {
    let inner = match action {
        Action::Ct(ct) => ct.nat.is_some() && kind == "nat" || ct.exec.iter().any(|action| contains(action, kind)),
        Action::Clone(actions) => actions.iter().any(|action| contains(action, kind)),
        _ => false,
    };
    inner || action.kind() == kind
}

fn simple() -> Vec<Action> {
    let register = Field::Reg(3);
    let mut actions = vec![
        Action::output(1),
        Action::output(PortNumber::IN_PORT),
        Action::output(PortNumber::NORMAL),
        Action::output(PortNumber::FLOOD),
        Action::output(PortNumber::ALL),
        Action::output(PortNumber::LOCAL),
        Action::to_controller(),
        Action::Output { port: PortNumber::CONTROLLER, max_len: 128 },
        Action::OutputTruncated { port: 2.into(), max_len: 100 },
        Action::OutputReg { source: register.slice(0, 16), max_len: 0xffff },
        Action::OutputReg { source: Field::Xreg(1).slice(8, 32), max_len: 0xffff },
        Action::Group(1),
        Action::Meter(1),
        Action::SetQueue(7),
        Action::PopQueue,
        Action::load(register.slice(4, 8), 0x5au8),
        Action::load(Field::Xxreg(1).slice(60, 10), 0x2aau16),
        Action::load(register, 7u8),
        Action::copy(Field::Ipv4Src, register),
        Action::copy(register.slice(3, 5), Field::Metadata.slice(40, 5)),
        Action::copy(Field::EthSrc, Field::EthDst),
        Action::copy(Field::TcpDst, Field::Xxreg(2).slice(100, 16)),
        Action::StackPush(Field::Ipv4Dst.whole()),
        Action::StackPush(register.slice(1, 9)),
        Action::StackPop(Field::Reg(4).slice(2, 9)),
        Action::DeleteField(Field::TunMetadata(5)),
        Action::PushVlan(0x8100),
        Action::PushVlan(0x88a8),
        Action::PopVlan,
        Action::SetIpTtl(64),
        Action::DecTtl,
        Action::DecTtlControllers(vec![1, 2, 3]),
        Action::DecTtlControllers(vec![9]),
        Action::CtClear,
        Action::Conjunction { id: 0xffff_0001, clause: 2, clauses: 3 },
        Action::Conjunction { id: 5, clause: 64, clauses: 64 },
        Action::Note(vec![1, 2, 3, 4, 5, 6]),
        Action::Note((0..14).collect()),
        Action::CheckPktLarger { length: 1500, destination: register.slice(31, 1) },
        Action::CheckPktLarger { length: 9000, destination: Field::Xreg(0).slice(33, 1) },
        Action::FinTimeout { idle: 10, hard: 0 },
        Action::FinTimeout { idle: 10, hard: 20 },
        Action::Exit,
        Action::Clone(vec![Action::set_field(Field::EthDst, [2, 0, 0, 0, 0, 9]), Action::output(1)]),
        Action::Clone(vec![Action::Clone(vec![Action::output(2)]), Action::DecTtl]),
    ];
    actions.extend([
        Action::resubmit(8),
        Action::Resubmit { port: Some(3.into()), table: None, ct: false },
        Action::Resubmit { port: Some(PortNumber::LOCAL), table: Some(9), ct: false },
        Action::Resubmit { port: None, table: Some(9), ct: true },
        Action::Resubmit { port: Some(3.into()), table: Some(9), ct: true },
    ]);
    let sample = Sample {
        probability: 0xffff,
        collector_set_id: 1,
        observation_domain: 2,
        observation_point: 3,
        port: None,
        direction: SampleDirection::Default,
    };
    actions.extend([
        Action::Sample(sample),
        Action::Sample(Sample { port: Some(1.into()), ..sample }),
        Action::Sample(Sample { port: Some(1.into()), direction: SampleDirection::Egress, ..sample }),
        Action::Sample(Sample { direction: SampleDirection::Ingress, ..sample }),
    ]);
    actions
}

fn conntrack() -> Vec<Action> {
    let v4 = |last: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let v6 = |last: u16| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last));
    let range = |first, last, ports| Some(NatRange { first, last, ports });
    let nats = [
        Nat::default(),
        Nat { flags: NatFlags::SRC, range: None },
        Nat { flags: NatFlags::DST, range: None },
        Nat::to(NatFlags::SRC, v4(1), None),
        Nat {
            flags: NatFlags::SRC | NatFlags::HASH | NatFlags::PERSISTENT,
            range: range(v4(1), Some(v4(9)), Some((1024, 2048))),
        },
        Nat::to(NatFlags::DST, v4(1), Some((80, 80))),
        Nat { flags: NatFlags::DST | NatFlags::RANDOM, range: range(v4(1), None, Some((80, 90))) },
    ];
    let nats6 = [
        Nat { flags: NatFlags::DST, range: range(v6(1), Some(v6(9)), Some((80, 81))) },
        Nat::to(NatFlags::SRC, v6(1), None),
    ];
    let mut actions: Vec<_> = nats
        .into_iter()
        .chain(nats6)
        .map(|nat| Action::Ct(Box::new(Ct { nat: Some(nat), table: Some(4), ..Ct::commit(17) })))
        .collect();
    let exec = vec![
        Action::set_field(Field::CtMark, 5u32),
        Action::load(Field::CtMark.slice(3, 1), true),
        Action::load(Field::CtLabel.slice(64, 32), 0xdead_beefu32),
        Action::copy(Field::Reg(1), Field::CtMark),
        Action::copy(Field::Xreg(1), Field::CtLabel.slice(32, 64)),
    ];
    actions.extend(
        [
            Ct::default(),
            Ct::track(65520, 30),
            Ct::commit(65520),
            Ct { flags: CtFlags::COMMIT | CtFlags::FORCE, exec: exec.clone(), ..Ct::default() },
            Ct { zone: CtZone::Field(Field::Reg(8).slice(0, 16)), table: Some(5), ..Ct::default() },
            Ct { zone: CtZone::Field(Field::Xreg(2).slice(16, 16)), nat: Some(Nat::default()), exec, ..Ct::commit(0) },
            Ct { alg: 21, ..Ct::commit(1) },
            Ct { alg: 69, ..Ct::commit(1) },
        ]
        .map(|ct| Action::Ct(Box::new(ct))),
    );
    actions
}

fn learn() -> Vec<Action> {
    let immediate = |value: Value| LearnSource::Immediate(value);
    let spec = |source, target| LearnSpec { source, target };
    let specs = vec![
        spec(immediate(Value::from(0x0800u16)), LearnTarget::Match(Field::EthType.whole())),
        spec(immediate(Value::from(6u8)), LearnTarget::Match(Field::IpProto.whole())),
        spec(LearnSource::Field(Field::Ipv4Src.whole()), LearnTarget::Match(Field::Ipv4Dst.whole())),
        LearnSpec::same(Field::TcpDst),
        LearnSpec::same(Field::Reg(3).slice(4, 12)),
        spec(LearnSource::Field(Field::Reg(3).slice(0, 5)), LearnTarget::Match(Field::Reg(4).slice(8, 5))),
        spec(immediate(Value::new(0x155, 2)), LearnTarget::Match(Field::Reg(5).slice(8, 9))),
        spec(immediate(Value::new(0x2a, 1)), LearnTarget::Load(Field::Reg(0).slice(8, 6))),
        spec(immediate(Value::from(0x1234_5678u32)), LearnTarget::Load(Field::Reg(1).whole())),
        spec(LearnSource::Field(Field::EthSrc.whole()), LearnTarget::Load(Field::Xxreg(1).slice(0, 48))),
        spec(LearnSource::Field(Field::InPort16.whole()), LearnTarget::Output),
    ];
    [
        Learn { table: 3, priority: 0x8000, ..Learn::default() },
        Learn {
            table: 3,
            priority: 200,
            specs: specs.clone(),
            cookie: 0x1234,
            idle_timeout: 10,
            hard_timeout: 20,
            ..Learn::default()
        },
        Learn {
            table: 4,
            priority: 100,
            fin_idle_timeout: 3,
            fin_hard_timeout: 4,
            flags: LearnFlags::SEND_FLOW_REMOVED | LearnFlags::DELETE_LEARNED,
            limit: 1000,
            result: Some(Field::Reg(7).slice(5, 1)),
            specs,
            ..Learn::default()
        },
    ]
    .map(|learn| Action::Learn(Box::new(learn)))
    .into()
}

fn spread() -> Vec<Action> {
    let destination = Field::Reg(2).slice(0, 16);
    let mut actions = Vec::new();
    for algorithm in [
        MultipathAlgorithm::ModuloN,
        MultipathAlgorithm::HashThreshold,
        MultipathAlgorithm::Hrw,
        MultipathAlgorithm::IterHash,
    ] {
        let fields = HashFields::SymmetricL3L4Udp;
        actions.push(Action::Multipath(Box::new(Multipath {
            fields,
            basis: 50,
            algorithm,
            links: 12,
            argument: 3,
            destination,
        })));
    }
    for fields in [
        HashFields::EthSrc,
        HashFields::SymmetricL4,
        HashFields::SymmetricL3L4,
        HashFields::NwSrc,
        HashFields::NwDst,
        HashFields::SymmetricL3,
    ] {
        let bundle =
            |algorithm, members, destination| MemberBundle { fields, basis: 7, algorithm, members, destination };
        let ports = vec![1.into(), 2.into(), PortNumber::LOCAL, 4.into(), 5.into()];
        actions.push(Action::Bundle(Box::new(bundle(BundleAlgorithm::Hrw, ports.clone(), None))));
        actions.push(Action::Bundle(Box::new(bundle(BundleAlgorithm::ActiveBackup, ports, Some(destination)))));
    }
    actions
}

fn controllers() -> Vec<Action> {
    [
        Controller { id: 123, ..Controller::default() },
        Controller { max_len: 100, reason: PacketInReason::NoMatch, ..Controller::default() },
        Controller { userdata: vec![1, 2, 3, 4, 5], ..Controller::default() },
        Controller { pause: true, ..Controller::default() },
        Controller { meter: Some(1), ..Controller::default() },
        Controller {
            max_len: 64,
            id: 5,
            reason: PacketInReason::InvalidTtl,
            userdata: (0..200).collect(),
            pause: true,
            meter: Some(1),
        },
    ]
    .map(|controller| Action::Controller(Box::new(controller)))
    .into()
}

/// Cases for instructions: each kind, and all together.
fn instructions(matches: &Match) -> Vec<Case> {
    let all = Instructions {
        apply: vec![Action::output(1), Action::output(2)],
        clear: true,
        write: vec![Action::DecTtl, Action::set_field(Field::Ipv4Src, Ipv4Addr::new(10, 0, 0, 1)), Action::output(1)],
        metadata: Some((0x1234, 0xffff)),
        goto: Some(30),
        raw: Vec::new(),
    };
    let part = |name: &str, instructions| Case {
        instructions,
        ..Case::matching(format!("instruction {name}"), matches.clone())
    };
    vec![
        part("goto_table", Instructions { goto: Some(30), ..Instructions::default() }),
        part("write_metadata", Instructions { metadata: Some((5, u64::MAX)), ..Instructions::default() }),
        part("masked write_metadata", Instructions { metadata: Some((0, 0xff)), ..Instructions::default() }),
        part("clear_actions", Instructions { clear: true, ..Instructions::default() }),
        part("write_actions", Instructions { write: all.write.clone(), ..Instructions::default() }),
        Case { attributes: true, ..part("with timeouts and flags", all.clone()) },
        part("all together", all),
    ]
}
