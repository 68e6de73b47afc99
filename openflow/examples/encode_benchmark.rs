//! How long 100,000 flows take to encode, to add to a bundle, and to decode from a dump. `cargo run --release --example encode_benchmark`
//!
//! The flow is that of the study behind this crate: `table=10,priority=200,tcp,nw_src=X,tp_dst=80,actions=set_field of a register,
//! ct(table,zone)`. A benchmark prints figures; it fails only when a count is wrong.

// the crate is sans-I/O; a benchmark needs a clock
#![allow(clippy::disallowed_types)]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use openflow::{
    Action, BundleFlags, Ct, Field, Flow, FlowCommand, FlowEntry, FlowStats, Match, Message, MultipartReply, Reply,
    bundle, message_length,
};

const FLOWS: u32 = 100_000;

fn main() {
    let built = best(|| (0..FLOWS).map(flow).collect::<Vec<_>>());
    let flows: Vec<_> = (0..FLOWS).map(flow).collect();
    let mut buffer = Vec::with_capacity(32 << 20);
    let encoded = best(|| {
        buffer.clear();
        for flow in &flows {
            flow.encode(FlowCommand::Add, 1, &mut buffer).expect("the flow is valid");
        }
    });
    let flow_mods = buffer.len();
    assert_eq!(messages(&buffer), FLOWS);
    let bundled = best(|| {
        buffer.clear();
        for flow in &flows {
            bundle::encode_flow(1, BundleFlags::ATOMIC, flow, FlowCommand::Add, 1, &mut buffer)
                .expect("the flow is valid");
        }
    });
    assert_eq!(messages(&buffer), FLOWS);
    let dump = dump(&flows);
    let mut count = 0;
    let decoded = best(|| count = dump.iter().map(|message| decode(message)).sum::<usize>());
    assert_eq!(count, FLOWS as usize);
    let line = |what: &str, time: Duration| {
        println!(
            "{what:<28} {:>7.1} ms  {:>5.1} million/s",
            time.as_secs_f64() * 1e3,
            f64::from(FLOWS) / time.as_secs_f64() / 1e6
        );
    };
    line("build", built);
    line("encode as flow mods", encoded);
    line("encode into a bundle", bundled);
    line("decode from a dump", decoded);
    let met = encoded <= Duration::from_millis(20);
    println!(
        "{{\"flows\":{FLOWS},\"bytes\":{flow_mods},\"encode_ms\":{:.1},\"bundle_ms\":{:.1},\"decode_ms\":{:.1},\"target_ms\":20,\"met\":{met}}}",
        encoded.as_secs_f64() * 1e3,
        bundled.as_secs_f64() * 1e3,
        decoded.as_secs_f64() * 1e3
    );
}

fn flow(number: u32) -> Flow {
    let matches = Match::new()
        .with(Field::EthType, 0x0800u16)
        .with(Field::IpProto, 6u8)
        .with(Field::Ipv4Src, Ipv4Addr::from_bits(0x0a00_0000 + number))
        .with(Field::TcpDst, 80u16);
    let actions =
        [Action::load(Field::Reg(0).slice(0, 16), number & 0xffff), Action::Ct(Box::new(Ct::track(65520, 20)))];
    Flow::new(10, 200, matches).cookie(number.into()).apply(actions)
}

/// The best of seven runs.
fn best<T>(mut run: impl FnMut() -> T) -> Duration {
    let time = |_| {
        let start = Instant::now();
        let result = run();
        let time = start.elapsed();
        drop(result);
        time
    };
    (0..7).map(time).min().expect("seven runs")
}

fn messages(mut bytes: &[u8]) -> u32 {
    let mut count = 0;
    while let Some(length) = message_length(bytes) {
        bytes = &bytes[length..];
        count += 1;
    }
    count
}

/// The flows as a switch would dump them, a few hundred a message.
fn dump(flows: &[Flow]) -> Vec<Vec<u8>> {
    let entry = |flow: &Flow| FlowEntry {
        flow: flow.clone(),
        stats: FlowStats { packets: Some(1), bytes: Some(60), ..FlowStats::default() },
    };
    flows
        .chunks(250)
        .map(|chunk| {
            let reply = Reply::FlowDesc(chunk.iter().map(entry).collect());
            Message::MultipartReply(MultipartReply { more: true, reply }).encode(1).expect("250 flows fit")
        })
        .collect()
}

fn decode(message: &[u8]) -> usize {
    match Message::decode(message) {
        Ok((_, Message::MultipartReply(MultipartReply { reply: Reply::FlowDesc(flows), .. }))) => flows.len(),
        other => panic!("not a dump: {other:?}"),
    }
}
