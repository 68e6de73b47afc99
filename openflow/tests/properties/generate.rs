//! Values drawn at random: every kind of action, and the messages that carry most.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use openflow::action::{
    BundleAlgorithm, HashFields, LearnFlags, MemberBundle, Multipath, MultipathAlgorithm, Sample, SampleDirection,
};
use openflow::multipart::{FlowUpdate, FlowUpdateEvent};
use openflow::switch::{AsyncConfig, Hello};
use openflow::{
    Action, Bucket, BundleAdd, BundleFlags, Controller, Ct, CtFlags, CtZone, ErrorCode, Field, Flow, FlowCommand,
    FlowEntry, FlowFlags, FlowMod, FlowRemoved, FlowRemovedReason, FlowStats, Group, GroupKind, GroupMod, Instructions,
    Learn, LearnSource, LearnSpec, LearnTarget, Match, Message, Meter, MeterBand, MeterFlags, MeterMod, MultipartReply,
    Nat, NatFlags, NatRange, PacketIn, PacketInReason, PacketOut, PortNumber, Reply, Seconds, SelectionMethod,
    Subfield, SwitchError, Value,
};
use proptest::prelude::*;

/// A message of a kind with a body.
pub fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 8).expect("bodies here are short");
    let mut bytes = vec![6, kind];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0, 0, 1]);
    bytes.extend(body);
    bytes
}

/// How many bytes the field's values have here.
pub fn bytes(field: Field) -> u8 {
    if field.is_variable() { 4 } else { field.bytes() }
}

fn ones(bits: u16) -> u128 {
    Value::ones(bits, 16).number()
}

/// Fields with values and masks that do not contradict each other: each field once, registers only as themselves.
pub fn terms() -> impl Strategy<Value = Vec<(Field, u128, u128)>> {
    let plain = |field: &Field| {
        let alias = matches!(field, Field::Xreg(_) | Field::Xxreg(_) | Field::VlanTci | Field::InPort16 | Field::NwTos);
        !alias
    };
    let fields: Vec<_> = Field::all().filter(plain).collect();
    let count = fields.len();
    prop::sample::subsequence(fields, 0..count).prop_flat_map(|fields| {
        fields
            .into_iter()
            .map(|field| {
                (any::<u128>(), any::<u128>()).prop_map(move |(value, mask)| {
                    let full = ones(if field.is_variable() { 32 } else { field.bits() });
                    let mask = if field.is_maskable() { mask & full } else { full };
                    (field, value & mask, mask)
                })
            })
            .collect::<Vec<_>>()
    })
}

/// A match that a switch would take.
fn matches() -> impl Strategy<Value = Match> {
    let register = (0u8..16, any::<u32>(), any::<u32>())
        .prop_map(|(index, value, mask)| Match::new().masked(Field::Reg(index), value & mask, mask));
    let tcp = (any::<u32>(), 0u8..33, any::<u16>()).prop_map(|(address, length, port)| {
        Match::new()
            .with(Field::EthType, 0x0800u16)
            .with(Field::IpProto, 6u8)
            .prefix(Field::Ipv4Src, Ipv4Addr::from_bits(address).into(), length)
            .with(Field::TcpDst, port)
    });
    let udp6 = (any::<u128>(), 0u8..129, any::<[u8; 6]>()).prop_map(|(address, length, mac)| {
        Match::new()
            .with(Field::EthSrc, mac)
            .with(Field::EthType, 0x86ddu16)
            .prefix(Field::Ipv6Dst, Ipv6Addr::from_bits(address).into(), length)
            .masked(Field::CtState, 0x21u32, 0x37u32)
    });
    prop_oneof![Just(Match::new()), register, tcp, udp6]
}

fn subfield(writable: bool) -> impl Strategy<Value = Subfield> {
    let fits = move |field: &Field| !field.is_variable() && (!writable || field.is_writable());
    let fields: Vec<_> = Field::all().filter(fits).collect();
    (prop::sample::select(fields), any::<u16>(), any::<u16>()).prop_map(|(field, offset, bits)| {
        let offset = offset % field.bits();
        field.slice(offset, 1 + bits % (field.bits() - offset).min(64))
    })
}

/// Some bits of a register: what every action can name.
fn register() -> impl Strategy<Value = Subfield> {
    (0u8..16, 0u16..32, 1u16..33)
        .prop_map(|(index, offset, bits)| Field::Reg(index).slice(offset, bits.min(32 - offset)))
}

fn port() -> impl Strategy<Value = PortNumber> {
    prop_oneof![
        (1u32..0xff00).prop_map(PortNumber),
        prop::sample::select(vec![PortNumber::LOCAL, PortNumber::NORMAL, PortNumber::ALL])
    ]
}

fn address() -> impl Strategy<Value = (IpAddr, Option<IpAddr>)> {
    let v4 = (1u32..0xffff, prop::option::of(1u32..0xffff)).prop_map(|(first, more)| {
        let address = |number| IpAddr::V4(Ipv4Addr::from_bits(number));
        (address(first), more.map(|more| address(first + more)))
    });
    let v6 = (1u128.., prop::option::of(1u128..0xffff)).prop_map(|(first, more)| {
        let first = first >> 1 | 1;
        let address = |number| IpAddr::V6(Ipv6Addr::from_bits(number));
        (address(first), more.map(|more| address(first + more)))
    });
    prop_oneof![v4, v6]
}

fn nat() -> impl Strategy<Value = Nat> {
    let ports = prop::option::of((1u16..1000, 0u16..1000).prop_map(|(first, more)| (first, first + more)));
    let range = prop::option::of((address(), ports).prop_map(|((first, last), ports)| NatRange { first, last, ports }));
    (0u16..32, range).prop_map(|(flags, range)| Nat { flags: NatFlags(flags), range })
}

fn learn() -> impl Strategy<Value = Learn> {
    let same = subfield(false).prop_map(LearnSpec::same);
    let load = (register(), any::<u128>()).prop_map(|(target, value)| LearnSpec {
        source: LearnSource::Immediate(Value::new(value & ones(target.bits), target.bits.div_ceil(8) as u8)),
        target: LearnTarget::Load(target),
    });
    let output =
        register().prop_map(|source| LearnSpec { source: LearnSource::Field(source), target: LearnTarget::Output });
    // fields with long numbers have no room here
    let short = |spec: &LearnSpec| match spec.source {
        LearnSource::Field(bits) => {
            bits.field.wire_name().starts_with("NX") && !bits.field.wire_name().starts_with("NXOXM")
        }
        LearnSource::Immediate(_) => true,
    };
    let specs =
        prop::collection::vec(prop_oneof![same, load, output].prop_filter("room for the field's number", short), 0..6);
    (any::<[u16; 5]>(), any::<u64>(), any::<u8>(), 0u16..4, any::<u32>(), prop::option::of((0u8..16, 0u16..32)), specs)
        .prop_map(
            |(
                [priority, idle_timeout, hard_timeout, fin_idle_timeout, fin_hard_timeout],
                cookie,
                table,
                flags,
                limit,
                result,
                specs,
            )| Learn {
                table,
                priority,
                cookie,
                idle_timeout,
                hard_timeout,
                fin_idle_timeout,
                fin_hard_timeout,
                flags: LearnFlags(flags),
                limit,
                result: result.map(|(index, bit)| Field::Reg(index).slice(bit, 1)),
                specs,
            },
        )
}

fn controller() -> impl Strategy<Value = Controller> {
    (
        any::<u16>(),
        any::<u16>(),
        any::<u8>(),
        prop::collection::vec(any::<u8>(), 0..40),
        any::<bool>(),
        any::<Option<u32>>(),
    )
        .prop_map(|(max_len, id, reason, userdata, pause, meter)| Controller {
            max_len,
            id,
            reason: PacketInReason::from(reason),
            userdata,
            pause,
            meter,
        })
}

fn set_field() -> impl Strategy<Value = Action> {
    let fields: Vec<_> =
        Field::all().filter(|field| field.is_writable() && !field.is_variable() && *field != Field::InPort).collect();
    (prop::sample::select(fields), any::<u128>(), any::<u128>()).prop_map(|(field, value, mask)| {
        let full = ones(field.bits());
        let mask = mask & full | 1;
        let value = Value::new(value & mask, field.bytes());
        Action::SetField { field, value, mask: (mask != full).then(|| Value::new(mask, field.bytes())) }
    })
}

fn leaf() -> impl Strategy<Value = Action> {
    let plain = prop_oneof![
        (port(), Just(0u16)).prop_map(|(port, max_len)| Action::Output { port, max_len }),
        any::<u16>().prop_map(|max_len| Action::Output { port: PortNumber::CONTROLLER, max_len }),
        (port(), any::<u32>()).prop_map(|(port, max_len)| Action::OutputTruncated { port, max_len }),
        (subfield(false), any::<u16>()).prop_map(|(source, max_len)| Action::OutputReg { source, max_len }),
        controller().prop_map(|controller| Action::Controller(Box::new(controller))),
        any::<u32>().prop_map(Action::Group),
        any::<u32>().prop_map(Action::Meter),
        any::<u32>().prop_map(Action::SetQueue),
        Just(Action::PopQueue),
        set_field(),
        (subfield(false), subfield(true)).prop_map(|(source, destination)| {
            let bits = source.bits.min(destination.bits);
            Action::CopyField { source: Subfield { bits, ..source }, destination: Subfield { bits, ..destination } }
        }),
        subfield(false).prop_map(Action::StackPush),
        subfield(true).prop_map(Action::StackPop),
        (0u8..64).prop_map(|index| Action::DeleteField(Field::TunMetadata(index))),
    ];
    let headers = prop_oneof![
        any::<u16>().prop_map(Action::PushVlan),
        Just(Action::PopVlan),
        any::<u8>().prop_map(Action::SetIpTtl),
        Just(Action::DecTtl),
        prop::collection::vec(any::<u16>(), 1..9).prop_map(Action::DecTtlControllers),
        any::<u32>().prop_map(Action::Encap),
        Just(Action::Decap(None)),
        (0x10000u32..).prop_map(|kind| Action::Decap(Some(kind))),
        Just(Action::CtClear),
        Just(Action::Exit),
        (any::<u16>(), any::<u16>()).prop_map(|(idle, hard)| Action::FinTimeout { idle, hard }),
        prop::collection::vec(any::<u8>(), 0..5)
            .prop_map(|octets| Action::Note(octets.repeat(8).into_iter().chain([1; 6]).collect())),
    ];
    prop_oneof![plain, headers, complex()]
}

fn complex() -> impl Strategy<Value = Action> {
    let hash = prop::sample::select(vec![HashFields::EthSrc, HashFields::SymmetricL4, HashFields::SymmetricL3]);
    let multipath = (hash.clone(), any::<u16>(), 1u32..65537, any::<u32>(), register()).prop_map(
        |(fields, basis, links, argument, destination)| Multipath {
            fields,
            basis,
            algorithm: MultipathAlgorithm::Hrw,
            links,
            argument,
            destination,
        },
    );
    let bundle = (hash, any::<u16>(), prop::collection::vec(port(), 0..9), prop::option::of(register())).prop_map(
        |(fields, basis, members, destination)| MemberBundle {
            fields,
            basis,
            algorithm: BundleAlgorithm::ActiveBackup,
            members,
            destination,
        },
    );
    let direction =
        prop::sample::select(vec![SampleDirection::Default, SampleDirection::Ingress, SampleDirection::Egress]);
    let sample = (1u16.., any::<[u32; 3]>(), prop::option::of(port()), direction).prop_map(
        |(probability, numbers, port, direction)| {
            let [collector_set_id, observation_domain, observation_point] = numbers;
            Sample { probability, collector_set_id, observation_domain, observation_point, port, direction }
        },
    );
    prop_oneof![
        nat().prop_map(Action::Nat),
        learn().prop_map(|learn| Action::Learn(Box::new(learn))),
        (any::<u32>(), 2u8..65, any::<u8>()).prop_map(|(id, clauses, clause)| Action::Conjunction {
            id,
            clause: 1 + clause % clauses,
            clauses
        }),
        (prop::option::of(port()), prop::option::of(0u8..255), any::<bool>())
            .prop_map(|(port, table, ct)| Action::Resubmit { port, table, ct }),
        (any::<u16>(), 0u8..16, 0u16..32).prop_map(|(length, index, bit)| Action::CheckPktLarger {
            length,
            destination: Field::Reg(index).slice(bit, 1)
        }),
        sample.prop_map(Action::Sample),
        multipath.prop_map(|multipath| Action::Multipath(Box::new(multipath))),
        bundle.prop_map(|bundle| Action::Bundle(Box::new(bundle))),
        Just(Action::Raw(Box::new([0, 99, 0, 8, 1, 2, 3, 4]))),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    leaf().prop_recursive(3, 12, 4, |inner| {
        let zone = prop_oneof![any::<u16>().prop_map(CtZone::Number), register().prop_map(CtZone::Field)];
        let ct = (
            0u16..4,
            zone,
            prop::option::of(0u8..255),
            any::<u16>(),
            prop::option::of(nat()),
            prop::collection::vec(inner.clone(), 0..3),
        )
            .prop_filter_map(
                "a first action that is nat is the nat",
                |(flags, zone, table, alg, nat, exec)| {
                    let ambiguous = nat.is_none() && matches!(exec.first(), Some(Action::Nat(_)));
                    (!ambiguous).then_some(Ct { flags: CtFlags(flags), zone, table, alg, nat, exec })
                },
            );
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Action::Clone),
            ct.prop_map(|ct| Action::Ct(Box::new(ct))),
        ]
    })
}

pub fn instructions() -> impl Strategy<Value = Instructions> {
    let actions = || prop::collection::vec(action(), 0..5);
    let metadata = prop::option::of((any::<u64>(), any::<u64>()).prop_map(|(value, mask)| (value & mask, mask)));
    (actions(), any::<bool>(), actions(), metadata, any::<Option<u8>>()).prop_map(
        |(apply, clear, write, metadata, goto)| Instructions { apply, clear, write, metadata, goto, raw: Vec::new() },
    )
}

pub fn flow() -> impl Strategy<Value = Flow> {
    (0u8..255, any::<[u16; 4]>(), any::<u64>(), 0u16..32, matches(), instructions()).prop_map(
        |(table, [priority, idle_timeout, hard_timeout, importance], cookie, flags, matches, instructions)| Flow {
            table,
            priority,
            cookie,
            idle_timeout,
            hard_timeout,
            importance,
            flags: FlowFlags(flags),
            matches,
            instructions,
        },
    )
}

fn flow_mod() -> impl Strategy<Value = FlowMod> {
    let commands = vec![
        FlowCommand::Add,
        FlowCommand::Modify,
        FlowCommand::ModifyStrict,
        FlowCommand::Delete,
        FlowCommand::DeleteStrict,
    ];
    (prop::sample::select(commands), flow(), any::<u64>(), any::<u32>(), any::<[u32; 2]>()).prop_map(
        |(command, mut flow, cookie_mask, port, numbers)| {
            // a delete says which flows, not what they do
            if matches!(command, FlowCommand::Delete | FlowCommand::DeleteStrict) {
                flow.instructions = Instructions::default();
            }
            FlowMod {
                command,
                flow,
                cookie_mask,
                out_port: PortNumber(port),
                out_group: numbers[0],
                buffer_id: numbers[1],
            }
        },
    )
}

fn stats() -> impl Strategy<Value = FlowStats> {
    let time = || {
        prop::option::of(
            (any::<u32>(), any::<u32>()).prop_map(|(seconds, nanoseconds)| Seconds { seconds, nanoseconds }),
        )
    };
    (time(), time(), any::<Option<u32>>(), any::<Option<u64>>(), any::<Option<u64>>())
        .prop_map(|(duration, idle, flows, packets, bytes)| FlowStats { duration, idle, flows, packets, bytes })
}

fn group() -> impl Strategy<Value = Group> {
    let bucket = (
        any::<u32>(),
        any::<u16>(),
        prop::option::of(any::<u16>().prop_map(|port| PortNumber(port.into()))),
        0u32..100,
        prop::collection::vec(action(), 0..3),
    )
        .prop_map(|(id, weight, watch_port, group, actions)| Bucket {
            id,
            weight: Some(weight),
            watch_port,
            watch_group: Some(group),
            actions,
        });
    let selection = prop_oneof![
        any::<u64>().prop_map(|parameter| SelectionMethod::DpHash { parameter }),
        any::<u64>().prop_map(|parameter| SelectionMethod::Hash {
            parameter,
            fields: vec![(Field::EthSrc, Value::new(0xff, 6))]
        }),
    ];
    let kind =
        prop::sample::select(vec![GroupKind::All, GroupKind::Select, GroupKind::Indirect, GroupKind::FastFailover]);
    (0u32..0xff00, kind, prop::option::of(selection), prop::collection::vec(bucket, 0..4))
        .prop_map(|(id, kind, selection, buckets)| Group { id, kind, selection, buckets })
}

fn packet_in() -> impl Strategy<Value = PacketIn> {
    let octets = || prop::collection::vec(any::<u8>(), 0..80);
    (
        octets(),
        any::<Option<u32>>(),
        any::<u8>(),
        any::<Option<u64>>(),
        any::<u8>(),
        matches(),
        octets(),
        prop::option::of(octets()),
    )
        .prop_map(|(packet, full_len, table, cookie, reason, metadata, userdata, continuation)| PacketIn {
            packet,
            full_len,
            buffer_id: full_len,
            table,
            cookie,
            reason: PacketInReason::from(reason),
            metadata,
            userdata,
            continuation,
        })
}

pub fn message() -> impl Strategy<Value = Message> {
    let changes = prop_oneof![
        flow_mod().prop_map(|flow_mod| Message::FlowMod(Box::new(flow_mod))),
        group().prop_map(|group| Message::GroupMod(GroupMod::Add(group))),
        (any::<u32>(), any::<u16>(), any::<[u32; 2]>()).prop_map(|(id, flags, [rate, burst])| {
            let bands = vec![MeterBand::Drop { rate, burst }, MeterBand::DscpRemark { rate, burst, levels: 3 }];
            Message::MeterMod(MeterMod::Modify(Meter { id, flags: MeterFlags(flags), bands }))
        }),
        (any::<u32>(), flow_mod()).prop_map(|(id, flow_mod)| {
            let message = Box::new(Message::FlowMod(Box::new(flow_mod)));
            Message::BundleAdd(BundleAdd { id, flags: BundleFlags::ATOMIC, message })
        }),
        (prop::collection::vec(any::<u8>(), 0..90), prop::collection::vec(action(), 0..4)).prop_map(
            |(packet, actions)| Message::PacketOut(PacketOut::new(5, packet, actions).with(Field::Reg(3), 9u32))
        ),
    ];
    prop_oneof![changes, told()]
}

/// What a switch sends.
fn told() -> impl Strategy<Value = Message> {
    let entries = prop::collection::vec((flow(), stats()).prop_map(|(flow, stats)| FlowEntry { flow, stats }), 0..4);
    let reply = |reply| Message::MultipartReply(MultipartReply { more: true, reply });
    prop_oneof![
        packet_in().prop_map(|packet_in| Message::PacketIn(Box::new(packet_in))),
        packet_in().prop_map(|packet_in| Message::Resume(Box::new(packet_in))),
        entries.prop_map(move |flows| reply(Reply::FlowDesc(flows))),
        prop::collection::vec(group(), 0..3).prop_map(move |groups| reply(Reply::GroupDesc(groups))),
        (flow(), any::<u8>()).prop_map(move |(flow, reason)| {
            let Flow { table, priority, idle_timeout, hard_timeout, cookie, matches, instructions, .. } = flow;
            let event = FlowUpdateEvent::Removed(FlowRemovedReason::from(reason));
            let update =
                FlowUpdate::Full { event, table, priority, idle_timeout, hard_timeout, cookie, matches, instructions };
            reply(Reply::FlowMonitor(vec![update, FlowUpdate::Paused, FlowUpdate::Abbreviated { xid: 4 }]))
        }),
        (flow(), stats(), any::<u8>()).prop_map(|(flow, stats, reason)| {
            let Flow { table, priority, idle_timeout, hard_timeout, cookie, matches, .. } = flow;
            let reason = FlowRemovedReason::from(reason);
            Message::FlowRemoved(Box::new(FlowRemoved {
                table,
                reason,
                priority,
                idle_timeout,
                hard_timeout,
                cookie,
                matches,
                stats,
            }))
        }),
        (0u16..20, any::<u16>(), prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(kind, code, data)| {
            Message::Error(SwitchError { code: ErrorCode::Standard { kind, code }, data })
        }),
        prop::collection::vec((any::<u16>(), any::<u32>()), 0..5)
            .prop_map(|masks| Message::SetAsync(AsyncConfig { masks })),
        Just(Message::Hello(Hello { versions: vec![1, 4, 6] })),
    ]
}
