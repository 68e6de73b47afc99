//! The plugin in real network namespaces, with an agent of the test's. What it made is read back with `ip`, and asked by packets.

mod support;

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use apis::cni::{CniError, ErrorCode, Plan};
use serde_json::{Value, json};
use support::{FakeAgent, Place, plan, variables};

struct Cluster {
    node: Place,
    pod: Place,
    agent: FakeAgent,
}

impl Cluster {
    fn with(plan: Plan) -> Cluster {
        Cluster { node: Place::new(), pod: Place::new(), agent: FakeAgent::with(plan) }
    }

    fn call(&self, command: &str) -> support::Answered {
        let namespace = self.pod.path().to_str().expect("a path of ours").to_owned();
        self.node.plugin(&variables(command, &namespace), &self.agent.configuration())
    }

    fn nothing_is_left(&self) {
        assert!(!self.pod.has_link("eth0"), "the pod's end is still there");
        assert!(!self.node.has_link("web-0a1b2c"), "the node's end is still there");
    }
}

fn addresses(place: &Place, interface: &str) -> Vec<String> {
    let shown = place.ip(&format!("address show dev {interface}"));
    let infos = shown[0]["addr_info"].as_array().expect("a list").iter();
    infos
        .filter(|info| info["scope"] == "global")
        .inspect(|info| assert!(info.get("tentative").is_none(), "not usable at once: {info}"))
        .map(|info| format!("{}/{}", info["local"].as_str().expect("text"), info["prefixlen"]))
        .collect()
}

fn routes(place: &Place, family: &str) -> Vec<String> {
    let shown = place.ip(&format!("-{family} route show dev eth0"));
    let mut routes = shown
        .as_array()
        .expect("a list")
        .iter()
        .filter(|route| route["protocol"] != "kernel")
        .map(|route| match route["gateway"].as_str() {
            Some(gateway) => format!("{} via {gateway}", route["dst"].as_str().expect("text")),
            None => route["dst"].as_str().expect("text").to_owned(),
        })
        .collect::<Vec<_>>();
    routes.sort();
    routes
}

fn neighbours(place: &Place) -> Vec<String> {
    let shown = place.ip("neighbour show dev eth0 nud permanent");
    let list = shown.as_array().expect("a list").iter();
    list.map(|each| format!("{} {}", each["dst"].as_str().expect("text"), each["lladdr"].as_str().expect("text")))
        .collect()
}

fn transmit_checksum(place: &Place) -> String {
    let features = place.run("ethtool -k eth0");
    let line = features.lines().find(|line| line.starts_with("tx-checksumming")).expect("it is listed");
    line.split_whitespace().nth(1).expect("on or off").to_owned()
}

/// How often a datagram is sent: the kernel's link watch lets a link carry packets a moment after both ends are up, and what is
/// sent before that is lost.
const ATTEMPTS: usize = 50;

/// A UDP socket in a namespace, which waits a fifth of a second for what it hears.
fn socket(place: &Place, address: IpAddr) -> UdpSocket {
    place.inside(move || {
        let socket = UdpSocket::bind((address, 0)).expect("the address is there and usable");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
        socket
    })
}

/// Gives the node's end the gateway's part, and asks for a reply in both families.
fn talk(cluster: &Cluster, families: &[&str]) {
    cluster.node.run("ip link set web-0a1b2c address 0a:00:00:00:01:01 up");
    for family in families {
        let (gateway, pod) = match *family {
            "4" => ("10.10.1.1/32", "10.10.1.2"),
            _ => ("fd00:10:0:1::1/128", "fd00:10:0:1::2"),
        };
        let flags = if *family == "6" { " nodad" } else { "" };
        cluster.node.run(&format!("ip address add {gateway} dev web-0a1b2c{flags}"));
        cluster.node.run(&format!("ip route add {pod} dev web-0a1b2c"));
        cluster.node.run(&format!("ip neighbour replace {pod} lladdr 0a:00:00:00:01:02 dev web-0a1b2c nud permanent"));
        let target = gateway.split('/').next().expect("an address").parse().expect("an address");
        let (answers, asks) = (socket(&cluster.node, target), socket(&cluster.pod, pod.parse().expect("an address")));
        let mut buffer = [0; 2000];
        let heard = (0..ATTEMPTS).find_map(|_| {
            asks.send_to(&[7; 1200], answers.local_addr().expect("it is bound")).expect("there is a route");
            answers.recv_from(&mut buffer).ok()
        });
        let (size, from) = heard.expect("the gateway hears the pod");
        assert_eq!((size, Ok(from.ip())), (1200, pod.parse()));
        let heard = (0..ATTEMPTS).find_map(|_| {
            answers.send_to(&buffer[..size], from).expect("there is a route");
            asks.recv(&mut buffer).ok()
        });
        assert_eq!(heard.expect("the pod hears the gateway"), 1200);
    }
}

#[test]
fn a_dual_stack_pod_is_attached_talks_and_is_detached() {
    let cluster = Cluster::with(plan(&["4", "6"], false));
    let result = cluster.call("ADD").worked().expect("ADD answers");
    assert_eq!(result["cniVersion"], "1.1.0");
    assert_eq!(result["interfaces"][0], json!({"name": "eth0", "mac": "0a:00:00:00:01:02", "mtu": 1450}));

    let link = &cluster.pod.ip("link show dev eth0")[0];
    assert_eq!((&link["address"], &link["mtu"]), (&json!("0a:00:00:00:01:02"), &json!(1450)));
    assert!(link["flags"].as_array().expect("a list").contains(&json!("UP")), "{link}");
    let host = &cluster.node.ip("link show dev web-0a1b2c")[0];
    assert_eq!(host["mtu"], 1450);
    assert!(
        !host["flags"].as_array().expect("a list").contains(&json!("UP")),
        "the agent brings it up, not the plugin"
    );

    assert_eq!(addresses(&cluster.pod, "eth0"), ["10.10.1.2/32", "fd00:10:0:1::2/128"]);
    assert_eq!(routes(&cluster.pod, "4"), ["10.10.1.1", "default via 10.10.1.1"]);
    assert_eq!(routes(&cluster.pod, "6"), ["default via fd00:10:0:1::1", "fd00:10:0:1::1"]);
    assert_eq!(neighbours(&cluster.pod), ["10.10.1.1 0a:00:00:00:01:01", "fd00:10:0:1::1 0a:00:00:00:01:01"]);
    assert_eq!(transmit_checksum(&cluster.pod), "off");
    for (setting, value) in [("disable_ipv6", "0"), ("accept_dad", "0"), ("accept_ra", "0")] {
        assert_eq!(cluster.pod.run(&format!("cat /proc/sys/net/ipv6/conf/eth0/{setting}")).trim(), value, "{setting}");
    }
    let asked = cluster.agent.body("/v1/add");
    assert_eq!(
        (&asked["container_id"], &asked["pod_namespace"], &asked["pod_name"], &asked["pod_uid"], &asked["interface"]),
        (&json!("c1"), &json!("shop"), &json!("web"), &json!("u-1"), &json!("eth0"))
    );
    talk(&cluster, &["4", "6"]);

    assert_eq!(cluster.call("DEL").worked(), None);
    cluster.nothing_is_left();
    assert_eq!(cluster.call("DEL").worked(), None, "DEL again");
    assert_eq!(cluster.agent.asked(), ["/v1/add", "/v1/confirm", "/v1/del", "/v1/del"]);
}

#[test]
fn one_family_is_enough() {
    for family in ["4", "6"] {
        let cluster = Cluster::with(plan(&[family], true));
        cluster.call("ADD").worked();
        let other = if family == "4" { "6" } else { "4" };
        assert_eq!(routes(&cluster.pod, family).len(), 2, "family {family}");
        assert_eq!(routes(&cluster.pod, other), [""; 0], "family {family}");
        assert_eq!(addresses(&cluster.pod, "eth0").len(), 1, "family {family}");
        assert_eq!(transmit_checksum(&cluster.pod), "on", "the plan leaves it");
        talk(&cluster, &[family]);
    }
}

#[test]
fn ipv6_is_given_where_the_namespace_has_it_disabled() {
    let cluster = Cluster::with(plan(&["6"], true));
    cluster.pod.run("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1");
    cluster.call("ADD").worked();
    assert_eq!(addresses(&cluster.pod, "eth0"), ["fd00:10:0:1::2/128"]);
}

#[test]
fn the_result_is_in_the_version_that_was_asked_for() {
    let cluster = Cluster::with(plan(&["4"], true));
    let configuration = cluster.agent.configuration().replace("1.1.0", "0.4.0");
    let namespace = cluster.pod.path().to_str().expect("a path of ours").to_owned();
    let result = cluster.node.plugin(&variables("ADD", &namespace), &configuration).worked().expect("ADD answers");
    assert_eq!((&result["cniVersion"], &result["interfaces"][0]["mtu"]), (&json!("0.4.0"), &Value::Null));
}

#[test]
fn a_confirmation_that_fails_takes_the_interface_back() {
    let refused = CniError::new(ErrorCode::TRY_AGAIN_LATER, "port web-0a1b2c has no number yet", "the switch restarts");
    let agent = FakeAgent::new(move |path| match path {
        "/v1/add" => Ok(json!(plan(&["4", "6"], false))),
        "/v1/confirm" => Err(refused.clone()),
        _ => Ok(json!({})),
    });
    let cluster = Cluster { node: Place::new(), pod: Place::new(), agent };
    let (code, message) = cluster.call("ADD").failed();
    assert_eq!((code, message.as_str()), (11, "port web-0a1b2c has no number yet | \"the switch restarts\""));
    cluster.nothing_is_left();
    assert_eq!(cluster.agent.asked(), ["/v1/add", "/v1/confirm", "/v1/del"]);
}

#[test]
fn a_plan_that_is_refused_changes_nothing() {
    let refused = CniError::new(ErrorCode::ADDRESSES_EXHAUSTED, "no address is left in 10.10.1.0/30", "add a pod CIDR");
    let agent = FakeAgent::new(move |_| Err(refused.clone()));
    let cluster = Cluster { node: Place::new(), pod: Place::new(), agent };
    let (code, message) = cluster.call("ADD").failed();
    assert_eq!((code, message.as_str()), (101, "no address is left in 10.10.1.0/30 | \"add a pod CIDR\""));
    cluster.nothing_is_left();
    assert_eq!(cluster.agent.asked(), ["/v1/add"]);
}

#[test]
fn a_step_that_the_kernel_refuses_is_named_and_taken_back() {
    let mut wrong = plan(&["4"], true);
    wrong.routes[0].gateway = "192.0.2.1".parse().expect("an address");
    let cluster = Cluster::with(wrong);
    let (code, message) = cluster.call("ADD").failed();
    assert_eq!(code, 100);
    assert!(message.contains("pod shop/web: cannot add route 0.0.0.0/0 via 192.0.2.1 on eth0"), "{message}");
    cluster.nothing_is_left();
    assert_eq!(cluster.agent.asked(), ["/v1/add", "/v1/del"]);
}

#[test]
fn what_is_there_already_is_left_alone() {
    let cluster = Cluster::with(plan(&["4"], true));
    cluster.pod.run("ip link add name eth0 type bridge");
    let (code, message) = cluster.call("ADD").failed();
    assert_eq!(code, 100);
    assert!(message.contains("eth0 exists"), "{message}");
    assert!(!cluster.node.has_link("web-0a1b2c"));
    assert_eq!(cluster.call("DEL").worked(), None, "nothing of what the plugin makes is there");
    assert!(cluster.pod.has_link("eth0"), "a bridge is not what the plugin makes");
    assert_eq!(cluster.agent.asked(), ["/v1/add", "/v1/del", "/v1/del"], "the agent hears of the end all the same");
}

#[test]
fn what_an_earlier_try_left_on_the_node_is_replaced() {
    let cluster = Cluster::with(plan(&["4"], true));
    cluster.node.run("ip link add name web-0a1b2c type veth peer name left-over");
    cluster.call("ADD").worked();
    assert!(!cluster.node.has_link("left-over"));
    talk(&cluster, &["4"]);
}

#[test]
fn del_works_when_the_namespace_is_gone() {
    let Cluster { node, pod, agent } = Cluster::with(plan(&["4"], true));
    let namespace = pod.path().to_str().expect("a path of ours").to_owned();
    node.plugin(&variables("ADD", &namespace), &agent.configuration()).worked();
    drop(pod);
    assert_eq!(node.plugin(&variables("DEL", &namespace), &agent.configuration()).worked(), None);
    assert_eq!(node.plugin(&variables("DEL", ""), &agent.configuration()).worked(), None);
    assert_eq!(agent.asked(), ["/v1/add", "/v1/confirm", "/v1/del", "/v1/del"]);
}

#[test]
fn without_an_agent_add_says_try_again_and_leaves_nothing() {
    let cluster = Cluster::with(plan(&["4"], true));
    let configuration = r#"{"cniVersion":"1.1.0","name":"n","agentSocket":"/nowhere/cni.sock"}"#;
    let namespace = cluster.pod.path().to_str().expect("a path of ours").to_owned();
    let (code, message) = cluster.node.plugin(&variables("ADD", &namespace), configuration).failed();
    assert_eq!(code, 11);
    assert!(message.contains("/nowhere/cni.sock"), "{message}");
    cluster.nothing_is_left();
}

#[test]
fn a_del_without_an_agent_removes_the_interface_and_leaves_a_note() {
    let cluster = Cluster::with(plan(&["4"], true));
    cluster.call("ADD").worked();
    let run_directory = tempfile::tempdir().expect("a folder");
    let socket = run_directory.path().join("cni.sock");
    let configuration = json!({"cniVersion": "1.1.0", "name": "n", "agentSocket": socket}).to_string();
    let namespace = cluster.pod.path().to_str().expect("a path of ours").to_owned();
    for _ in 0..2 {
        assert_eq!(cluster.node.plugin(&variables("DEL", &namespace), &configuration).worked(), None);
        cluster.nothing_is_left();
        let folder = run_directory.path().join("detached");
        let names: Vec<_> =
            std::fs::read_dir(&folder).expect("it was made").map(|each| each.expect("a file").file_name()).collect();
        assert_eq!(names, ["c1=eth0"]);
        let note = std::fs::read_to_string(folder.join("c1=eth0")).expect("it can be read");
        assert_eq!(note, r#"{"container_id":"c1","interface":"eth0"}"#);
    }
}

#[test]
fn a_del_that_can_leave_no_note_is_put_off() {
    let cluster = Cluster::with(plan(&["4"], true));
    cluster.call("ADD").worked();
    let configuration = r#"{"cniVersion":"1.1.0","name":"n","agentSocket":"/nowhere/cni.sock"}"#;
    let namespace = cluster.pod.path().to_str().expect("a path of ours").to_owned();
    let (code, message) = cluster.node.plugin(&variables("DEL", &namespace), configuration).failed();
    assert_eq!(code, 11, "the runtime asks again until the agent has freed the address");
    assert!(message.contains("/nowhere/detached"), "{message}");
    cluster.nothing_is_left();
    assert!(!std::path::Path::new("/nowhere").exists());
}

#[test]
fn a_del_that_the_agent_refuses_leaves_no_note() {
    let refused = CniError::new(ErrorCode::TRY_AGAIN_LATER, "not now", "");
    let agent = FakeAgent::new(move |_| Err(refused.clone()));
    let cluster = Cluster { node: Place::new(), pod: Place::new(), agent };
    assert_eq!(cluster.call("DEL").failed().0, 11);
    assert!(!cluster.agent.notes().exists());
}

/// The configuration of a CHECK after this ADD.
fn checking(cluster: &Cluster, result: &Value) -> String {
    let mut configuration: Value = serde_json::from_str(&cluster.agent.configuration()).expect("it is JSON");
    configuration["prevResult"] = result.clone();
    configuration.to_string()
}

/// What the runtime caches: the pod's interface, its end on the node, addresses and routes.
fn full_result(cluster: &Cluster) -> Value {
    let namespace = cluster.pod.path().to_str().expect("a path of ours");
    json!({"cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "mac": "0a:00:00:00:01:02", "sandbox": namespace}, {"name": "web-0a1b2c"}],
        "ips": [{"address": "10.10.1.2/32", "gateway": "10.10.1.1", "interface": 0},
            {"address": "fd00:10:0:1::2/128", "gateway": "fd00:10:0:1::1", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.10.1.1"}, {"dst": "::/0", "gw": "fd00:10:0:1::1"}]})
}

#[test]
fn check_finds_what_is_not_as_it_was_made() {
    let cluster = Cluster::with(plan(&["4", "6"], false));
    cluster.call("ADD").worked();
    cluster.node.run("ip link set web-0a1b2c up");
    let result = full_result(&cluster);
    let namespace = cluster.pod.path().to_str().expect("a path of ours").to_owned();
    let check = |result: &Value| cluster.node.plugin(&variables("CHECK", &namespace), &checking(&cluster, result));
    assert_eq!(check(&result).worked(), None);
    for (break_it, mend_it, part) in [
        (
            "address delete fd00:10:0:1::2/128 dev eth0",
            "address add fd00:10:0:1::2/128 dev eth0 nodad",
            "address fd00:10:0:1::2/128 is gone",
        ),
        ("route delete default", "route add default via 10.10.1.1", "the route to 0.0.0.0/0 via 10.10.1.1 is gone"),
        ("-6 route delete default", "-6 route add default via fd00:10:0:1::1", "the route to ::/0 via fd00:10:0:1::1"),
        (
            "neighbour delete 10.10.1.1 dev eth0",
            "neighbour add 10.10.1.1 lladdr 0a:00:00:00:01:01 dev eth0 nud permanent",
            "the gateway 10.10.1.1 is not a neighbour",
        ),
        ("link set eth0 mtu 1500", "link set eth0 mtu 1450", "its MTU is 1500"),
    ] {
        cluster.pod.run(&format!("ip {break_it}"));
        let (code, message) = check(&result).failed();
        assert_eq!(code, 103, "{message}");
        assert!(message.contains(part) && message.contains("container c1"), "{break_it}: {message}");
        cluster.pod.run(&format!("ip {mend_it}"));
        assert_eq!(check(&result).worked(), None, "{mend_it}");
    }
    let mut others = result.clone();
    others["ips"][0]["address"] = json!("10.10.1.9/32");
    assert_eq!(check(&others).failed().0, 103);
    let mut changed_routes = result.clone();
    changed_routes["routes"] = json!([]);
    cluster.pod.run("ip route delete default");
    assert_eq!(check(&changed_routes).worked(), None, "a later plugin took the route away");
    cluster.node.run("ip link delete web-0a1b2c");
    assert!(check(&result).failed().1.contains("eth0 is gone"));
}

#[test]
fn check_needs_its_previous_result_and_its_namespace() {
    let cluster = Cluster::with(plan(&["4"], true));
    assert_eq!(cluster.call("CHECK").failed().0, 7, "the runtime has to say what ADD answered");
    let result = full_result(&cluster);
    let (code, _) =
        cluster.node.plugin(&variables("CHECK", "/run/netns/of-nobody"), &checking(&cluster, &result)).failed();
    assert_eq!(code, 3);
    assert_eq!(cluster.agent.asked(), [""; 0]);
    let namespace = cluster.pod.path().to_str().expect("a path of ours").to_owned();
    let (code, message) = cluster.node.plugin(&variables("CHECK", &namespace), &checking(&cluster, &result)).failed();
    assert_eq!(code, 103);
    assert!(message.contains("eth0 is gone"), "{message}");
}

#[test]
fn gc_tells_the_agent_what_is_valid() {
    let cluster = Cluster::with(plan(&["4"], true));
    let mut configuration: Value = serde_json::from_str(&cluster.agent.configuration()).expect("it is JSON");
    configuration["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    let variables = [("CNI_COMMAND", "GC"), ("CNI_PATH", "/opt/cni/bin")];
    assert_eq!(cluster.node.plugin(&variables, &configuration.to_string()).worked(), None);
    let asked = json!({"network": "ferrant", "valid": [{"containerID": "c1", "ifname": "eth0"}]});
    assert_eq!(cluster.agent.body("/v1/gc"), asked);
    configuration["cniVersion"] = json!("1.0.0");
    assert_eq!(cluster.node.plugin(&variables, &configuration.to_string()).failed().0, 1);
    assert_eq!(cluster.agent.asked(), ["/v1/gc"]);
}

#[test]
fn status_is_the_agents_word_or_that_there_is_none() {
    let limited = CniError::new(ErrorCode::LIMITED_CONNECTIVITY, "the switch does not answer", "is it running?");
    let node = Place::new();
    let variables = [("CNI_COMMAND", "STATUS")];
    let ready = FakeAgent::new(|_| Ok(json!({})));
    assert_eq!(node.plugin(&variables, &ready.configuration()).worked(), None);
    let not_ready = FakeAgent::new(move |_| Err(limited.clone()));
    assert_eq!(node.plugin(&variables, &not_ready.configuration()).failed().0, 51);
    let nobody = r#"{"cniVersion":"1.1.0","name":"n","agentSocket":"/nowhere/cni.sock"}"#;
    let (code, message) = node.plugin(&variables, nobody).failed();
    assert_eq!(code, 50);
    assert!(message.contains("/nowhere/cni.sock"), "{message}");
}

#[test]
fn a_namespace_that_is_none_is_refused_before_the_agent_is_asked() {
    let cluster = Cluster::with(plan(&["4"], true));
    let node = cluster.node.path().to_str().expect("a path of ours").to_owned();
    for (namespace, code, part) in [
        ("/run/netns/of-nobody", 3, "/run/netns/of-nobody"),
        (node.as_str(), 4, "network namespace of the node"),
        ("relative", 4, "CNI_NETNS"),
    ] {
        let (found, message) =
            cluster.node.plugin(&variables("ADD", namespace), &cluster.agent.configuration()).failed();
        assert_eq!(found, code, "{message}");
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(cluster.agent.asked(), [""; 0]);
}

#[test]
fn a_file_that_is_no_namespace_is_named_and_is_no_obstacle_to_del() {
    let cluster = Cluster::with(plan(&["4"], true));
    let (code, message) = cluster.node.plugin(&variables("ADD", "/dev/null"), &cluster.agent.configuration()).failed();
    assert_eq!(code, 4);
    assert!(message.contains("CNI_NETNS=/dev/null is not a network namespace"), "{message}");
    assert_eq!(cluster.agent.asked(), [""; 0]);
    let gone = cluster.node.plugin(&variables("DEL", "/dev/null"), &cluster.agent.configuration());
    assert_eq!(gone.worked(), None, "what is left of an unmounted namespace");
    assert_eq!(cluster.agent.asked(), ["/v1/del"]);
}

#[test]
fn version_is_answered_whatever_else_is_said() {
    let node = Place::new();
    let expected = json!({"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]});
    let probe = [
        ("CNI_COMMAND", "VERSION"),
        ("CNI_NETNS", "dummy"),
        ("CNI_IFNAME", "dummy"),
        ("CNI_CONTAINERID", "dummy"),
        ("CNI_PATH", "dummy"),
    ];
    for variables in [&probe[..1], &probe[..]] {
        assert_eq!(node.plugin(variables, r#"{"cniVersion":"1.0.0"}"#).worked(), Some(expected.clone()));
    }
    assert_eq!(node.plugin(&[], "").failed().0, 4);
}
