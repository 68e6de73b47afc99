//! What holds for every value and every sequence of bytes: what is encoded decodes to the same, and nothing from outside panics.

mod generate;

use openflow::{DecodeError, EncodeError, Field, Flow, FlowCommand, Instructions, Match, Message, message_length};
use std::net::Ipv4Addr;

use proptest::prelude::*;

/// What a message becomes on the way out and back.
fn there_and_back(message: &Message) -> (u32, Message) {
    let bytes = message.encode(77).expect("generated messages can be encoded");
    assert_eq!(message_length(&bytes), Some(bytes.len()));
    Message::decode(&bytes).expect("what was encoded decodes")
}

/// Everything that can be done with bytes from outside. Gives whether they were a message.
fn swallow(bytes: &[u8]) -> bool {
    let Ok((xid, message)) = Message::decode(bytes) else { return false };
    assert!(!message.to_string().is_empty());
    assert!(!format!("{message:?}").is_empty());
    // what can be sent again means the same
    if let Ok(again) = message.encode(xid) {
        let (_, back) = Message::decode(&again).expect("what was encoded decodes");
        assert_eq!(back, message);
    }
    true
}

proptest! {
    // PROPTEST_CASES sets how many
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_come_back(message in generate::message()) {
        prop_assert_eq!(there_and_back(&message), (77, message));
    }

    #[test]
    fn instructions_come_back_byte_for_byte(instructions in generate::instructions()) {
        let mut bytes = Vec::new();
        instructions.encode(&mut bytes).expect("generated instructions can be encoded");
        let back = Instructions::decode(&bytes).expect("what was encoded decodes");
        let mut again = Vec::new();
        back.encode(&mut again).expect("what was decoded can be encoded");
        prop_assert_eq!(back, instructions);
        prop_assert_eq!(again, bytes);
    }

    /// A match is the same whatever the order in which it is built, and its bytes say all of it.
    #[test]
    fn matches_have_one_form(terms in generate::terms(), seed: u64) {
        let build = |terms: &[(Field, u128, u128)]| terms.iter().fold(Match::new(), |matches, (field, value, mask)| {
            let width = generate::bytes(*field);
            matches.masked(*field, openflow::Value::new(*value, width), openflow::Value::new(*mask, width))
        });
        let ours = build(&terms);
        let mut shuffled = terms.clone();
        shuffled.sort_by_key(|(field, ..)| (format!("{field}").len() as u64).wrapping_mul(seed | 1));
        prop_assert_eq!(&build(&shuffled), &ours);
        prop_assert_eq!(&Match::from_oxm(ours.oxm()).expect("a match reads its own bytes"), &ours);
        let again = ours.terms().fold(Match::new(), |matches, term| match term.mask {
            Some(mask) => matches.masked(term.field, term.value, mask),
            None => matches.with(term.field, term.value),
        });
        prop_assert_eq!(again, ours);
    }

    #[test]
    fn any_bytes_are_swallowed(kind in 0u8..40, body in prop::collection::vec(any::<u8>(), 0..300)) {
        swallow(&generate::framed(kind, &body));
    }

    #[test]
    fn damaged_messages_are_swallowed(
        message in generate::message(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = message.encode(1).expect("generated messages can be encoded");
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        swallow(&bytes);
        // the same with a length that fits, so that what is inside is looked at
        let kind = bytes[1];
        let body = bytes[8..].to_vec();
        swallow(&generate::framed(kind, &body[..cut.index(body.len() + 1)]));
        swallow(&generate::framed(kind, &body));
    }
}

/// The ways in which bytes can be wrong are told apart.
#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(Message::decode(&[4, 5, 0, 8, 0, 0, 0, 1]), Err(DecodeError::Version(4)));
    assert_eq!(Message::decode(&[6, 5, 0, 9, 0, 0, 0, 1]), Err(DecodeError::Length { what: "message", length: 9 }));
    assert!(matches!(Message::decode(&[6, 5, 0]), Err(DecodeError::Truncated { .. })));
    assert!(matches!(Message::decode(&[6, 200, 0, 8, 0, 0, 0, 1]), Ok((1, Message::Raw { kind: 200, .. }))));
    assert!(matches!(Message::decode(&[1, 0, 0, 8, 0, 0, 0, 1]), Ok((1, Message::Hello(_)))));
}

/// What cannot be encoded is an error that names it, and leaves nothing behind in the buffer.
#[test]
fn what_cannot_be_encoded_is_an_error() {
    use openflow::{Action, Subfield};
    let flow = |matches: Match, action: Action| Flow::new(0, 1, matches).apply([action]);
    let bits = |offset, bits| Subfield { field: Field::Reg(0), offset, bits };
    let cases = [
        (flow(Match::new().with(Field::TcpDst, 80u16), Action::Exit), "tcp_dst: needs"),
        (flow(Match::new().with(Field::IpProto, 300u16), Action::Exit), "nw_proto=0x12c"),
        (flow(Match::new().with(Field::Reg(16), 1u32), Action::Exit), "no such field"),
        (flow(Match::new().masked(Field::EthType, 0x800u16, 0xff00u16), Action::Exit), "cannot be masked"),
        (flow(Match::new().masked(Field::Reg(1), 3u32, 1u32), Action::Exit), "outside of its mask"),
        (flow(Match::new().with(Field::InPort, 1u32).with(Field::InPort, 2u32), Action::Exit), "two different values"),
        (flow(Match::new().bits(bits(0, 4), 16), Action::Exit), "only 4 bits"),
        (flow(Match::new().prefix(Field::Ipv6Src, Ipv4Addr::LOCALHOST.into(), 8), Action::Exit), "another family"),
        (flow(Match::new().prefix(Field::ArpSpa, Ipv4Addr::LOCALHOST.into(), 33), Action::Exit), "prefix longer"),
        (flow(Match::new(), Action::load(bits(0, 4), 16u8)), "outside of its mask"),
        (flow(Match::new(), Action::load(bits(30, 4), 1u8)), "reg0"),
        (flow(Match::new(), Action::set_field(Field::EthType, 1u16)), "cannot write"),
        (flow(Match::new(), Action::set_field(Field::Ipv4Src, 1u64 << 32)), "ip_src"),
        (flow(Match::new(), Action::copy(Field::Reg(0), Field::EthSrc)), "different numbers of bits"),
        (flow(Match::new(), Action::Conjunction { id: 1, clause: 3, clauses: 2 }), "clauses"),
        (flow(Match::new(), Action::Note(vec![0; 70_000])), "at most 65535"),
        (flow(Match::new(), Action::Clone(vec![Action::Note(vec![0; 40_000]); 2])), "at most 65535"),
        (flow(Match::new(), Action::Raw(Box::new([0, 99, 0, 16, 0, 0, 0, 0]))), "raw action"),
        (Flow { table: 255, ..Flow::default() }, "table 255"),
    ];
    for (flow, words) in cases {
        let mut out = vec![1, 2, 3];
        let error: EncodeError =
            flow.encode(FlowCommand::Add, 1, &mut out).expect_err(&format!("{flow} should not be encoded"));
        assert!(error.to_string().contains(words), "{flow}: {error}");
        assert_eq!(out, [1, 2, 3], "{flow}");
    }
}

/// An action that is not known, or nested beyond reason, stays as it came.
#[test]
fn unknown_actions_stay_raw() {
    use openflow::Action;
    let unknown = [0u8, 99, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let mut nested = vec![Action::Raw(unknown.into())];
    for _ in 0..1000 {
        nested = vec![Action::Clone(nested)];
    }
    let instructions = Instructions { apply: nested, ..Instructions::default() };
    let mut bytes = Vec::new();
    instructions.encode(&mut bytes).expect("16 KiB of nested actions fit");
    let back = Instructions::decode(&bytes).expect("nesting is no error");
    let mut again = Vec::new();
    back.encode(&mut again).expect("what was decoded can be encoded");
    assert_eq!(again, bytes);
    assert!(format!("{back:?}").contains("Raw"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A flow kept as bytes is sent as the flow itself.
    #[test]
    fn encoded_flows_are_sent_as_flows(flow in generate::flow()) {
        let mut instructions = Vec::new();
        flow.instructions.encode(&mut instructions).expect("generated instructions can be encoded");
        let encoded = openflow::EncodedFlow {
            cookie: flow.cookie,
            idle_timeout: flow.idle_timeout,
            hard_timeout: flow.hard_timeout,
            importance: flow.importance,
            flags: flow.flags,
            ..openflow::EncodedFlow::new(flow.table, flow.priority, flow.matches.oxm(), &instructions)
        };
        for command in [FlowCommand::Add, FlowCommand::ModifyStrict, FlowCommand::DeleteStrict] {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            flow.encode(command, 5, &mut ours).expect("generated flows can be encoded");
            encoded.encode(command, 5, &mut theirs).expect("generated flows can be encoded");
            prop_assert_eq!(ours, theirs);
        }
        prop_assert_eq!(encoded.decode().expect("its own bytes"), flow);
    }
}
