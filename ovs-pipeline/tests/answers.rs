//! Real packets through the switch: what a pod asks its gateway's link address for, and what comes back on the wire.

#[allow(dead_code, reason = "each test target uses its part of the harness")]
mod ovs;
#[allow(dead_code, reason = "each test target uses its part of the harness")]
mod scenario;

use std::net::Ipv6Addr;
use std::path::Path;

use ovs::capture;
use ovs::switchd::Switchd;
use ovs::wire::checksum;
use ovs_pipeline::Datapath;
use scenario::life::World;

const NODE: &str = "node-a";
const WEB: u32 = 3;
const WEB_MAC: [u8; 6] = [0x0a, 0, 0, 0, 1, 3];
const GATEWAY_MAC: [u8; 6] = [0x0a, 0, 0, 0, 1, 1];

/// A switch with the flows of the neighbor responder's scenario.
fn switch() -> Switchd {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/neighbor-responder.scenario");
    let scenario = scenario::parse::scenario(&path, Datapath::Netdev).expect("the scenario can be read");
    let mut world = World::new(&scenario);
    world.change(&scenario.steps[0].changes).expect("the scenario can be planned");
    let switchd = Switchd::start().expect("a switch can be started");
    let flows = world.flows().expect("the flows are whole");
    switchd.replace(NODE, &flows[NODE]).expect("the switch takes the flows");
    switchd
}

/// What comes back to web for a packet that it sends.
fn answer(switchd: &Switchd, packet: &[u8]) -> Vec<u8> {
    let file = switchd.capture(NODE, WEB);
    let before = capture::packets(&file).expect("the capture can be read").len();
    switchd.receive(NODE, WEB, packet).expect("the switch takes the packet");
    // What was sent is captured too.
    let packets = capture::wait_for(&file, before + 2).expect("an answer comes");
    assert_eq!(packets[before], packet);
    packets[before + 1].clone()
}

/// RFC 8200, 8.1.
fn icmpv6_checksum(source: Ipv6Addr, destination: Ipv6Addr, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).expect("a short packet");
    let pseudo = [&source.octets()[..], &destination.octets(), &length.to_be_bytes(), &[0, 0, 0, 58], body].concat();
    checksum(&pseudo)
}

/// A neighbor solicitation, with or without the option that says who asks.
fn solicitation(source: Ipv6Addr, target: Ipv6Addr, option: bool) -> Vec<u8> {
    let destination: Ipv6Addr = "ff02::1:ff00:1".parse().expect("an address");
    let mut body = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
    if option {
        body.extend([&[1, 1][..], &WEB_MAC].concat());
    }
    let sum = icmpv6_checksum(source, destination, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let length = u8::try_from(body.len()).expect("a short packet");
    let header = [&[0x60, 0, 0, 0, 0, length, 58, 255][..], &source.octets(), &destination.octets()].concat();
    [&[0x33, 0x33, 0xff, 0, 0, 1][..], &WEB_MAC, &[0x86, 0xdd], &header, &body].concat()
}

#[test]
fn arp_for_the_gateway_is_answered() {
    let switchd = switch();
    let request = [
        &[0xff; 6][..],
        &WEB_MAC,
        &[8, 6],
        &[0, 1, 8, 0, 6, 4, 0, 1],
        &WEB_MAC,
        &[10, 10, 1, 3],
        &[0; 6],
        &[10, 10, 1, 1],
    ]
    .concat();
    let reply = [
        &WEB_MAC[..],
        &GATEWAY_MAC,
        &[8, 6],
        &[0, 1, 8, 0, 6, 4, 0, 2],
        &GATEWAY_MAC,
        &[10, 10, 1, 1],
        &WEB_MAC,
        &[10, 10, 1, 3],
    ]
    .concat();
    assert_eq!(answer(&switchd, &request), reply);
}

#[test]
fn neighbor_solicitation_for_the_gateway_is_answered() {
    let switchd = switch();
    let target: Ipv6Addr = "fd00:10:0:1::1".parse().expect("an address");
    for source in ["fd00:10:0:1::3", "fe80::800:ff:fe00:103"] {
        let source: Ipv6Addr = source.parse().expect("an address");
        for option in [true, false] {
            let answer = answer(&switchd, &solicitation(source, target, option));
            let (ethernet, ip, body) = (&answer[..14], &answer[14..54], &answer[54..]);
            assert_eq!(ethernet, [&WEB_MAC[..], &GATEWAY_MAC, &[0x86, 0xdd]].concat());
            assert_eq!(ip[7], 255, "the hop limit without which it is ignored");
            assert_eq!((&ip[8..24], &ip[24..40]), (&target.octets()[..], &source.octets()[..]));
            assert_eq!(body[..2], [136, 0], "a neighbor advertisement");
            assert_eq!(body[4..8], [0xe0, 0, 0, 0], "router, solicited, override");
            assert_eq!(body[8..24], target.octets());
            let expected: &[u8] =
                &[2, 1, GATEWAY_MAC[0], GATEWAY_MAC[1], GATEWAY_MAC[2], GATEWAY_MAC[3], GATEWAY_MAC[4], GATEWAY_MAC[5]];
            assert_eq!(&body[24..], if option { expected } else { &[] }, "the target's link address");
            assert_eq!(icmpv6_checksum(target, source, body), 0, "the checksum holds");
        }
    }
}
