//! Real packets and real connection tracking on the dummy datapath: what a trace takes as given is so. Admission is written by
//! the last commit only, a connection that policy no longer allows stops both ways, and starts again when it is allowed again.

#[allow(dead_code, reason = "each test target uses its part of the harness")]
mod ovs;
#[allow(dead_code, reason = "each test target uses its part of the harness")]
mod scenario;

use std::collections::BTreeSet;
use std::path::Path;

use ovs::capture;
use ovs::switchd::Switchd;
use ovs::wire::Way;
use ovs_pipeline::{Datapath, register};
use scenario::Scenario;
use scenario::life::World;

const NODE: &str = "node-a";
const CHANGES: &str = "policy-changes-under-connections";
const WEB: u32 = 3;
const CLIENT: u32 = 4;

/// The scenario whose steps the test goes through, and its switch.
struct Stage {
    switchd: Switchd,
    scenario: Scenario,
    world: World,
    /// What each port has received and sent so far.
    seen: [usize; 2],
}

impl Stage {
    fn new(scenario: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/scenarios/{scenario}.scenario"));
        let scenario = scenario::parse::scenario(&path, Datapath::Netdev).expect("the scenario can be read");
        let world = World::new(&scenario);
        let switchd = Switchd::start().expect("a switch can be started");
        // The packets below all have the sequence number 0.
        switchd.control("dpctl/ct-disable-tcp-seq-chk", &[]).expect("sequence numbers can be left unchecked");
        Self { switchd, scenario, world, seen: [0, 0] }
    }

    /// Brings the switch to a step of the scenario, down to the last megaflow.
    fn step(&mut self, step: usize) {
        self.world.change(&self.scenario.steps[step].changes).expect("the step can be planned");
        let flows = self.world.flows().expect("the flows are whole");
        self.switchd.replace(NODE, &flows[NODE]).expect("the switch takes the flows");
        // Without this, packets may follow megaflows of before for some milliseconds.
        self.switchd.control("revalidator/purge", &[]).expect("megaflows go");
    }

    /// Sends a packet into a port; whether it comes out of the other.
    ///
    /// Each packet is followed by an ARP request, which is always answered: when the answer is there, the packet's fate is too.
    fn passes(&mut self, from: u32, to: u32, packet: &str) -> bool {
        let inject = |text: &str| {
            let port = format!("{}{from}", &NODE[NODE.len() - 1..]);
            self.switchd.control("netdev-dummy/receive", &[&port, text]).expect("the switch takes the packet");
        };
        inject(packet);
        let (mac, ip) = (mac(from), address(from));
        inject(&format!(
            "in_port(1),eth(src={mac},dst=ff:ff:ff:ff:ff:ff),eth_type(0x0806),arp(sip={ip},tip=10.10.1.1,op=1,sha={mac},tha=00:00:00:00:00:00)"
        ));
        let at = |port: u32| self.switchd.capture(NODE, port);
        let [sender, receiver] = [usize::from(from == CLIENT), usize::from(to == CLIENT)];
        self.seen[sender] += 3; // the packet, the request, the answer
        capture::wait_for(&at(from), self.seen[sender]).expect("the answer comes");
        let received = capture::packets(&at(to)).expect("the capture can be read").len();
        let passed = received > self.seen[receiver];
        self.seen[receiver] = received;
        passed
    }

    /// `ct_mark` and `ct_label` of every connection in the pods' zone.
    fn connections(&self) -> BTreeSet<String> {
        let text = self.switchd.control("dpctl/dump-conntrack", &["zone=65520"]).expect("connections can be listed");
        let word = |line: &str, key: &str| {
            let value = line.split(&format!("{key}=")).nth(1).unwrap_or("0");
            value.split([',', ' ']).next().unwrap_or("0").to_string()
        };
        text.lines().map(|line| format!("mark={} labels={}", word(line, "mark"), word(line, "labels"))).collect()
    }
}

fn mac(port: u32) -> String {
    format!("0a:00:00:00:01:{port:02x}")
}

fn address(port: u32) -> String {
    format!("10.10.1.{port}")
}

fn packet(from: u32, to: u32, protocol: u8, transport: &str) -> String {
    let (source, destination) = (address(from), address(to));
    format!(
        "in_port(1),eth(src={},dst=0a:00:00:00:01:01),eth_type(0x0800),ipv4(src={source},dst={destination},proto={protocol},tos=0,ttl=64,frag=no),{transport}",
        mac(from)
    )
}

fn tcp(from: u32, to: u32, ports: (u16, u16), flags: &str) -> String {
    packet(from, to, 6, &format!("tcp(src={},dst={}),tcp_flags({flags})", ports.0, ports.1))
}

fn udp(from: u32, to: u32, ports: (u16, u16)) -> String {
    packet(from, to, 17, &format!("udp(src={},dst={})", ports.0, ports.1))
}

fn set(text: &[&str]) -> BTreeSet<String> {
    text.iter().map(|text| (*text).to_string()).collect()
}

#[test]
fn a_denied_connection_leaves_nothing_behind_and_its_second_packet_is_denied_too() {
    let mut stage = Stage::new(CHANGES);
    stage.step(0);
    for _ in 0..2 {
        assert!(!stage.passes(CLIENT, WEB, &tcp(CLIENT, WEB, (1000, 81), "syn")), "port 81 is not allowed");
        assert!(!stage.passes(CLIENT, WEB, &udp(CLIENT, WEB, (1000, 80))), "UDP is not allowed");
    }
    assert!(!stage.passes(CLIENT, WEB, &tcp(CLIENT, WEB, (1000, 81), "ack")), "nor does it go on");
    assert!(!stage.passes(CLIENT, WEB, &tcp(CLIENT, WEB, (1001, 80), "ack")), "an allowed port begins with a SYN");
    assert!(!stage.passes(WEB, CLIENT, &tcp(WEB, CLIENT, (81, 1000), "syn|ack")), "web answers no denied packet");
    assert_eq!(stage.connections(), set(&[]), "no connection is kept");
}

#[test]
fn an_admitted_connection_stops_with_its_policy_and_goes_on_with_the_next() {
    let mut stage = Stage::new(CHANGES);
    stage.step(0);
    let (ahead, back) = (tcp(CLIENT, WEB, (1000, 80), "ack"), tcp(WEB, CLIENT, (80, 1000), "ack"));
    assert!(stage.passes(CLIENT, WEB, &tcp(CLIENT, WEB, (1000, 80), "syn")), "the rule allows");
    assert!(stage.passes(WEB, CLIENT, &tcp(WEB, CLIENT, (80, 1000), "syn|ack")), "web answers");
    assert!(stage.passes(CLIENT, WEB, &ahead) && stage.passes(WEB, CLIENT, &back));
    // Ingress rule 16 is allow-web; egress said that nothing isolates (2).
    assert_eq!(stage.connections(), set(&["mark=1 labels=0x200000010"]));

    stage.step(1);
    assert!(!stage.passes(CLIENT, WEB, &ahead), "no rule allows any more");
    assert_eq!(stage.connections(), set(&["mark=3 labels=0x200000010"]), "blocked");
    assert!(!stage.passes(WEB, CLIENT, &back), "and its replies stop");
    assert!(!stage.passes(CLIENT, WEB, &ahead) && !stage.passes(WEB, CLIENT, &back), "for good");

    stage.step(2);
    assert!(!stage.passes(WEB, CLIENT, &back), "a reply alone does not open it");
    assert!(stage.passes(CLIENT, WEB, &ahead), "another rule allows again");
    assert!(stage.passes(WEB, CLIENT, &back), "and so do replies");
    // Rule 18 is allow-all-clients; 17 is the isolation.
    assert_eq!(stage.connections(), set(&["mark=1 labels=0x200000012"]), "no longer blocked, in the new rule's name");
}

#[test]
fn re_examination_blocks_where_only_replies_flow() {
    let mut stage = Stage::new(CHANGES);
    stage.step(0);
    let back = tcp(WEB, CLIENT, (80, 1000), "ack");
    assert!(stage.passes(CLIENT, WEB, &tcp(CLIENT, WEB, (1000, 80), "syn")));
    let sent = capture::packets(&stage.switchd.capture(NODE, CLIENT)).expect("the capture can be read");
    assert!(stage.passes(WEB, CLIENT, &tcp(WEB, CLIENT, (80, 1000), "syn|ack")));
    let suppressed = u32::try_from(register::SUPPRESS_OUTPUT.place(1)).expect("reg0 has 32 bits");
    let look_with = |stage: &Stage, look| {
        stage.switchd.packet_out(NODE, CLIENT, suppressed, look, &sent[0]).expect("the switch takes it");
    };
    let examine = |stage: &Stage| look_with(stage, 0);
    let quiet = |stage: &mut Stage| !stage.passes(CLIENT, WEB, &tcp(CLIENT, WEB, (9, 9), "syn"));

    stage.step(1);
    assert!(stage.passes(WEB, CLIENT, &back), "replies alone meet no policy");
    examine(&stage);
    assert!(quiet(&mut stage), "what is examined is not sent");
    assert_eq!(stage.connections(), set(&["mark=3 labels=0x200000010"]), "blocked");
    assert!(!stage.passes(WEB, CLIENT, &back), "so replies stop");

    stage.step(2);
    examine(&stage);
    assert!(quiet(&mut stage), "what is examined is not sent");
    assert_eq!(stage.connections(), set(&["mark=1 labels=0x200000012"]), "allowed again, by the new rule");
    assert!(stage.passes(WEB, CLIENT, &back), "so replies go on");
    look_with(&stage, 7);
    assert_eq!(
        stage.connections(),
        set(&["mark=117440513 labels=0x200000012"]),
        "allowed, as the look's number (7) says"
    );

    stage.switchd.control("dpctl/flush-conntrack", &[]).expect("connections go");
    examine(&stage);
    assert!(quiet(&mut stage), "what is examined is not sent");
    assert_eq!(stage.connections(), set(&[]), "a connection that has ended is not admitted by its examination");
}

#[test]
fn a_pod_opens_no_way_back_for_what_it_did_not_ask() {
    let mut stage = Stage::new(CHANGES);
    stage.step(0);
    assert!(stage.passes(WEB, CLIENT, &udp(WEB, CLIENT, (53, 1000))), "web may send");
    assert!(stage.passes(CLIENT, WEB, &udp(CLIENT, WEB, (1000, 53))), "and be answered");
    assert!(!stage.passes(CLIENT, WEB, &udp(CLIENT, WEB, (1001, 53))), "by nobody else");
    assert_eq!(stage.connections(), set(&["mark=1 labels=0x200000002"]));
}

/// Where packets are tracked in user space, fragments go through policy one by one and show no ports (ovs-ofctl(8),
/// "set-frags"): a datagram in fragments reaches pods whose rules name no ports, and is lost at those whose rules do.
#[test]
fn fragments_pass_rules_that_name_no_ports() {
    let mut stage = Stage::new("rule-services");
    stage.step(0);
    let mut sent = 0;
    for (pod, last, arrives) in [(4, 4, 0), (9, 9, 2)] {
        let way = Way {
            source_mac: [0x0a, 0, 0, 0, 1, 3],
            destination_mac: [0x0a, 0, 0, 0, 1, 1],
            source: [10, 10, 1, 3],
            destination: [10, 10, 1, last],
        };
        for fragment in way.udp_fragments(53, 2000, 1400) {
            stage.switchd.receive(NODE, WEB, &fragment).expect("the switch takes the fragment");
            sent += 1;
        }
        // When the answer is there, the fate of what was sent before is decided.
        stage.switchd.receive(NODE, WEB, &arp_for_gateway()).expect("the switch takes the request");
        sent += 2;
        capture::wait_for(&stage.switchd.capture(NODE, WEB), sent).expect("the answer comes");
        let arrived = capture::wait_for(&stage.switchd.capture(NODE, pod), arrives).expect("both fragments arrive");
        assert_eq!(arrived.len(), arrives, "port {pod}");
    }
}

/// The pod at port 3 asks for its gateway, which is always answered.
fn arp_for_gateway() -> Vec<u8> {
    let mac = [0x0a, 0, 0, 0, 1, 3];
    [&[0xff; 6][..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &mac, &[10, 10, 1, 3], &[0; 6], &[10, 10, 1, 1]].concat()
}
