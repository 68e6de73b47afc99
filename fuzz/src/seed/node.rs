//! What a node's own programs give each other: a container runtime its plugin, the plugin its agent, an agent its successor.

use super::Seeds;

/// A network configuration as containerd and cnitool write it.
const CONFIGURATION: &str = r#"{"cniVersion":"1.1.0","name":"ferrant","type":"ferrant-cni","agentSocket":"/run/ferrant/cni.sock","capabilities":{"ips":true},"runtimeConfig":{"ips":["10.10.1.9/24"]}}"#;
/// The least that asks for an address.
const LEAST: &str = r#"{"cniVersion":"1.0.0","name":"f","type":"ferrant-cni","args":{"cni":{"ips":["10.10.1.9"]}}}"#;
const PREVIOUS: &str = r#"{"cniVersion":"1.0.0","name":"ferrant","type":"ferrant-cni","prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mac":"0a:00:00:00:00:01","sandbox":"/run/netns/x"}],"ips":[{"address":"10.10.1.2/32","gateway":"10.10.1.1","interface":0}],"routes":[{"dst":"0.0.0.0/0"}]}}"#;
const ENVIRONMENT: &[&str] = &[
    "CNI_CONTAINERID=c1",
    "CNI_NETNS=/run/netns/x",
    "CNI_IFNAME=eth0",
    "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u1",
    "CNI_PATH=/opt/cni/bin",
];
const PLAN: &str = r#"{"host_interface":"web-1a2b3c4d","mac":"0a:00:00:00:00:01","mtu":1450,"addresses":[{"address":"10.10.1.2/32","gateway":"10.10.1.1","gateway_mac":"0a:00:00:00:00:ff"}],"routes":[{"destination":"0.0.0.0/0","gateway":"10.10.1.1"}],"transmit_checksum_offload":false}"#;

/// All of them.
pub fn make(seeds: &mut Seeds) {
    for command in ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"] {
        for configuration in [CONFIGURATION, PREVIOUS] {
            let environment = format!("CNI_COMMAND={command}\n{}", ENVIRONMENT.join("\n"));
            seeds.add("cni_plugin", [environment.as_bytes(), b"\0", configuration.as_bytes()].concat());
        }
    }
    let least = format!("CNI_COMMAND=ADD\n{}\0{LEAST}", ENVIRONMENT[..4].join("\n"));
    seeds.add("cni_plugin", least);
    for body in [PLAN, r#"{"code":101,"msg":"no address is left","details":"10.10.1.0/24"}"#] {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        seeds.add("cni_plugin", [b"\0\0".as_slice(), answer.as_bytes()].concat());
    }
    let add = r#"{"container_id":"c1","interface":"eth0","network_namespace":"/run/netns/x","pod_namespace":"shop","pod_name":"web","pod_uid":"u1","requested_addresses":["10.10.1.9"]}"#;
    let other = r#"{"container_id":"c2","interface":"eth0","network_namespace":"/run/netns/y","pod_namespace":"shop","pod_name":"db"}"#;
    let known = r#"{"container_id":"c1","interface":"eth0"}"#;
    let conversation =
        [("/v1/add", add), ("/v1/confirm", known), ("/v1/add", other), ("/v1/add", add), ("/v1/del", known)];
    let mut text = String::new();
    for (path, body) in conversation {
        text += &format!("{path} {body}\n");
        seeds.add("cni_socket", text.clone());
    }
    for addresses in ["10.10.1.2", "10.10.1.2,fd00:10:0:1::2"] {
        for seed in agent::fuzzing::written_attachments(addresses) {
            seeds.add("attachment", seed);
        }
    }
    for seed in agent::fuzzing::written_ledgers() {
        seeds.add("ledger", seed);
    }
}
