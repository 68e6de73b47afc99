//! What a live Open vSwitch says: OpenFlow, its database, its control socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use openflow::switch::SwitchConfig;
use openflow::{FlowFilter, HEADER_LENGTH, Hello, Message, MultipartRequest, PacketInFormat, Request, message_length};
use serde_json::json;

use super::Seeds;

/// How long anything of the switch may take.
const WITHIN: Duration = Duration::from_secs(20);
/// Flows that have one of everything in them.
const FLOWS: &str = "\
table=0,priority=200,tcp,nw_src=10.0.0.1,tp_dst=80 actions=ct(commit,zone=1,nat(src=10.9.0.1-10.9.0.9:1000-2000),exec(load:1->NXM_NX_CT_MARK[])),load:0x30->NXM_NX_REG0[],load:2->NXM_NX_REG1[],resubmit(,110)
table=0,priority=100,udp6,ipv6_dst=fd00::1,udp_dst=53 actions=learn(table=4,idle_timeout=9,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),load:0x20->NXM_NX_REG0[],load:1->NXM_NX_REG1[],resubmit(,88)
table=88 actions=resubmit(,110)
table=110 actions=output:NXM_NX_REG1[]
table=4,priority=7,ip,reg1=3 actions=conjunction(5,1/2)
table=4,priority=7,tcp,tp_dst=81 actions=conjunction(5,2/2)
table=6,conj_id=5,ip actions=set_field:0a:00:00:00:00:01->eth_dst,dec_ttl,multipath(symmetric_l4,1024,modulo_n,4,0,NXM_NX_REG0[]),group:1
table=6,arp actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],load:2->OXM_OF_ARP_OP[],in_port
table=8,icmp6,icmpv6_type=135 actions=controller(reason=action,max_len=128,id=0,userdata=01.02.03,pause)
table=12,ct_state=+trk+est actions=push_vlan:0x8100,set_field:5000->vlan_vid,output:2
table=14 actions=meter:1,clone(output:1),check_pkt_larger(1400)->NXM_NX_REG0[0]
";

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a switch, asks it everything that the agent asks, and keeps what it says.
pub fn record(seeds: &mut Seeds) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("ferrant-fuzz-").tempdir()?;
    let path = |name: &str| folder.path().join(name);
    run(Command::new("ovsdb-tool").arg("create").arg(path("db")).arg(schema_path()?))?;
    let _database = daemon(
        Command::new("ovsdb-server").arg(path("db")).arg(format!("--remote=punix:{}", path("db.sock").display())),
        folder.path(),
        "db",
    )?;
    let mut database = Rpc::connect(&path("db.sock"))?;
    database.keep(seeds, "get_schema", &json!(["Open_vSwitch"]))?;
    let switch = daemon(
        Command::new("ovs-vswitchd").arg(format!("unix:{}", path("db.sock").display())).arg("--enable-dummy"),
        folder.path(),
        "v",
    )?;
    let socket = format!("unix:{}", path("db.sock").display());
    run(Command::new("ovs-vsctl").arg(format!("--db={socket}")).args([
        "--",
        "add-br",
        "br-int",
        "--",
        "set",
        "bridge",
        "br-int",
        "datapath_type=dummy",
        "protocols=OpenFlow15",
        "--",
        "add-port",
        "br-int",
        "p1",
        "--",
        "set",
        "interface",
        "p1",
        "type=dummy",
        "external_ids:ferrant-namespace=shop",
        "external_ids:ferrant-name=web",
        "external_ids:ferrant-container-id=c1",
        "external_ids:ferrant-interface=eth0",
        "external_ids:ferrant-netns=/run/netns/x",
        "external_ids:ferrant-addresses=10.10.0.2",
        "external_ids:ferrant-mac=0a:00:00:00:00:01",
        "--",
        "add-port",
        "br-int",
        "p2",
        "--",
        "set",
        "interface",
        "p2",
        "type=dummy",
    ]))?;
    record_database(seeds, &mut database)?;
    // Its flows are there from here on, for the traces to meet.
    record_openflow(seeds, &path("br-int.mgmt"))?;
    record_control(seeds, &path("v.ctl"))?;
    drop(switch);
    Ok(())
}

fn schema_path() -> Result<&'static str> {
    let places = ["/usr/share/openvswitch/vswitch.ovsschema", "/usr/local/share/openvswitch/vswitch.ovsschema"];
    let found = places.into_iter().find(|place| Path::new(place).exists());
    found.context("vswitch.ovsschema is not where Open vSwitch puts it; run `make setup`")
}

fn daemon(command: &mut Command, folder: &Path, name: &str) -> Result<Daemon> {
    let control = folder.join(format!("{name}.ctl"));
    let child = command
        .arg(format!("--unixctl={}", control.display()))
        .arg(format!("--pidfile={}", folder.join(format!("{name}.pid")).display()))
        .args(["-vconsole:off", "-vsyslog:off"])
        .env("OVS_RUNDIR", folder)
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("{command:?}: run `make setup`"))?;
    let daemon = Daemon(child);
    let started = Instant::now();
    while UnixStream::connect(&control).is_err() {
        ensure!(started.elapsed() < WITHIN, "{name} does not answer at {}", control.display());
        std::thread::yield_now();
    }
    Ok(daemon)
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}: run `make setup`"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// JSON-RPC, just enough to ask.
struct Rpc(UnixStream);

impl Rpc {
    fn connect(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).with_context(|| path.display().to_string())?;
        stream.set_read_timeout(Some(WITHIN))?;
        Ok(Self(stream))
    }

    /// The bytes of the answer.
    fn ask(&mut self, method: &str, parameters: &serde_json::Value) -> Result<Vec<u8>> {
        self.0.write_all(json!({"id": 1, "method": method, "params": parameters}).to_string().as_bytes())?;
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = self.0.read(&mut buffer)?;
            ensure!(read > 0, "{method}: the connection ended");
            bytes.extend_from_slice(&buffer[..read]);
            if serde_json::from_slice::<serde_json::Value>(&bytes).is_ok() {
                return Ok(bytes);
            }
        }
    }

    fn keep(&mut self, seeds: &mut Seeds, method: &str, parameters: &serde_json::Value) -> Result<()> {
        let answer = self.ask(method, parameters)?;
        // A whole schema is too much to begin with; the target has it anyway.
        if answer.len() < 16 << 10 {
            seeds.add("ovsdb", answer);
        }
        Ok(())
    }
}

fn record_database(seeds: &mut Seeds, database: &mut Rpc) -> Result<()> {
    let columns = json!({
        "Open_vSwitch": [{"columns": ["bridges", "cur_cfg", "next_cfg"]}],
        "Bridge": [{"columns": ["name", "ports", "fail_mode", "datapath_type", "protocols", "other_config", "external_ids"]}],
        "Port": [{"columns": ["name", "interfaces", "external_ids"]}],
        "Interface": [{"columns": ["name", "type", "ofport", "error", "external_ids", "options", "ifindex", "mac_in_use"]}],
    });
    let parameters = json!(["Open_vSwitch", "monitor", columns, "00000000-0000-0000-0000-000000000000"]);
    let answer: serde_json::Value = serde_json::from_slice(&database.ask("monitor_cond_since", &parameters)?)?;
    let rows = answer["result"][2].clone();
    ensure!(rows["Interface"].is_object(), "the database told no interfaces: {answer}");
    seeds.add("ovsdb", answer.to_string());
    // The same rows as the server tells them later: changed, and gone.
    let update = |rows: serde_json::Value| json!({"id": null, "method": "update3", "params": ["monitor", "x", rows]});
    seeds.add("ovsdb", update(rows.clone()).to_string());
    let mut modified = rows.clone();
    for table in modified.as_object_mut().into_iter().flat_map(|tables| tables.values_mut()) {
        for row in table.as_object_mut().into_iter().flat_map(|rows| rows.values_mut()) {
            *row = json!({"modify": row["initial"]});
        }
    }
    seeds.add("ovsdb", format!("{}{}", update(rows.clone()), update(modified)));
    let uuid = rows["Bridge"].as_object().and_then(|rows| rows.keys().next()).context("a bridge")?;
    seeds.add("ovsdb", format!("{}{}", update(rows.clone()), update(json!({"Bridge": {uuid: {"delete": null}}}))));
    for operation in [
        json!(["Open_vSwitch", {"op": "insert", "table": "Nothing", "row": {}}]),
        json!(["Open_vSwitch", {"op": "select", "table": "Bridge", "where": [], "columns": ["name"]}]),
    ] {
        database.keep(seeds, "transact", &operation)?;
    }
    Ok(())
}

fn record_control(seeds: &mut Seeds, socket: &Path) -> Result<()> {
    let mut control = Rpc::connect(socket)?;
    let flow = "in_port=1,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1000,tp_dst=80";
    for (method, parameters) in [
        ("ofproto/trace", json!(["br-int", flow, "--ct-next", "trk,new"])),
        ("ofproto/trace", json!(["br-int", "in_port=1,udp6,ipv6_src=fd00::2,ipv6_dst=fd00::1,udp_dst=53"])),
        ("ofproto/trace", json!(["nowhere", flow])),
        ("dpctl/dump-conntrack", json!(["dummy@ovs-dummy"])),
        ("list-commands", json!([])),
        ("nothing", json!([])),
    ] {
        seeds.add("unixctl", control.ask(method, &parameters)?);
    }
    for connection in [
        "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=80),reply=(src=10.0.0.2,dst=10.0.0.1,sport=80,dport=1),zone=65520,mark=1,labels=0x10,protoinfo=(state=ESTABLISHED)",
        "icmpv6,orig=(src=fd00::1,dst=fd00::2,id=7,type=128,code=0),reply=(src=fd00::2,dst=fd00::1,id=7,type=129,code=0),mark=0x3",
    ] {
        seeds.add("unixctl", json!({"id": 1, "result": connection, "error": null}).to_string());
    }
    Ok(())
}

fn record_openflow(seeds: &mut Seeds, management: &Path) -> Result<()> {
    let target = format!("unix:{}", management.display());
    let flows = management.with_file_name("flows");
    std::fs::write(&flows, FLOWS)?;
    let ofctl = |command: &str, arguments: &[&str]| {
        run(Command::new("ovs-ofctl").args(["-O", "OpenFlow15", command, &target]).args(arguments))
    };
    ofctl("add-meter", &["meter=1,kbps,burst,band=type=drop,rate=1000,burst_size=100"])?;
    ofctl(
        "add-group",
        &["group_id=1,type=select,selection_method=dp_hash,bucket=bucket_id=1,weight=3,actions=output:1"],
    )?;
    ofctl("add-flows", &[&flows.display().to_string()])?;
    let mut stream = UnixStream::connect(management)?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut say = Vec::new();
    let messages = [
        Message::Hello(Hello::only_this_version()),
        // A service connection is told nothing before this.
        Message::SetConfig(SwitchConfig { flags: 0, miss_send_len: 0xffff }),
        Message::SetPacketInFormat(PacketInFormat::Nicira2),
        Message::FeaturesRequest,
        Message::MultipartRequest(MultipartRequest::from(Request::FlowDesc(FlowFilter::default()))),
        Message::MultipartRequest(MultipartRequest::from(Request::Aggregate(FlowFilter::default()))),
        Message::MultipartRequest(MultipartRequest::from(Request::GroupDesc(u32::MAX - 3))),
        Message::MultipartRequest(MultipartRequest::from(Request::PortDesc(openflow::PortNumber::ANY))),
        Message::BarrierRequest,
    ];
    for (xid, message) in (1..).zip(&messages) {
        let bytes = message.encode(xid)?;
        // What we send is what a fuzzed switch answers as well as anything.
        seeds.add("openflow", [&bytes[1..2], &bytes[HEADER_LENGTH..]].concat());
        say.extend(bytes);
    }
    // A flow that the switch refuses, and a packet that goes to table 4's controller action.
    say.extend([6, 14, 0, 8, 0, 0, 0, 99]);
    stream.write_all(&say)?;
    let mut heard = read_all(&mut stream)?;
    ofctl(
        "packet-out",
        &[
            "in_port=1,packet=3333000000010a000000000186dd6000000000203afffe800000000000000000000000000001ff0200000000000000000001ff000001870000000000000000000000fd000000000000000000000000000001010100000000000000,actions=resubmit(,8)",
        ],
    )?;
    ofctl("mod-port", &["p1", "down"])?;
    heard.extend(read_all(&mut stream)?);
    keep_messages(seeds, &heard)
}

/// Everything that comes before there is silence.
fn read_all(stream: &mut UnixStream) -> Result<Vec<u8>> {
    let mut heard = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => bail!("the switch closed the connection"),
            Ok(read) => heard.extend_from_slice(&buffer[..read]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                return Ok(heard);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn keep_messages(seeds: &mut Seeds, heard: &[u8]) -> Result<()> {
    let mut rest = heard;
    let mut packets = 0;
    let mut kinds = std::collections::BTreeSet::new();
    while let Some(length) = message_length(rest) {
        let Some((message, more)) = rest.split_at_checked(length) else { break };
        rest = more;
        kinds.insert(message[1]);
        let body = &message[HEADER_LENGTH..];
        seeds.add("openflow", [&message[1..2], body].concat());
        match message[1] {
            10 => seeds.add("packet_in", [&[0], body].concat()),
            4 if body.starts_with(&[0, 0, 0x23, 0x20, 0, 0, 0, 30]) => {
                packets += 1;
                seeds.add("packet_in", [&[1], &body[8..]].concat());
            }
            _ => {}
        }
    }
    seeds.add("openflow_stream", heard);
    // Hello, error, features, multipart, barrier and port status at least, and a packet.
    ensure!(packets > 0, "the switch sent no packet up; it sent messages of types {kinds:?}");
    for kind in [0, 1, 6, 12, 19, 21] {
        ensure!(kinds.contains(&kind), "the switch sent no message of type {kind}, only {kinds:?}");
    }
    Ok(())
}
