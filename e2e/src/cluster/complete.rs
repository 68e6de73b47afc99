//! What a cluster would have filled in: nodes for pods, addresses and pod ranges for nodes, namespaces for names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use apis::kubernetes::{Namespace, Node, NodeAddress, Object, ObjectMeta, Pod};
use ipnet::IpNet;

use super::read::{File, Manifests};
use super::{Cluster, NodePlan, PodPlan};
use crate::lab::underlay::{CONTROLLER, CONTROLLER_V6, OUTSIDE, OUTSIDE_V6, PREFIX_V4, PREFIX_V6};
use crate::probe::Protocol;

/// The sample clusters' conventions: node names, and how many nodes there are when nobody says.
const DEFAULT_NODES: [&str; 3] = ["node-a", "node-b", "node-c"];
/// A /24 has room for this many pods beside gateway, network and broadcast address.
const PODS_IN_A_24: usize = 250;

/// Completes what was read. `file` below is the lab's own; a person's files keep their names.
pub fn complete(manifests: Manifests) -> Cluster {
    let Manifests { mut files, skipped_kinds, invalid, warnings: notes } = manifests;
    let mut cluster = Cluster { skipped_kinds, invalid, notes, ..Cluster::default() };
    let repeated = drop_repeated(&mut files, &mut cluster.notes);
    let mut nodes = nodes(&files, &mut cluster.notes);
    let mut changed = place_pods(&mut files, &nodes, &mut cluster.notes);
    changed.extend(repeated);
    let pods_of = count_pods(&files);
    fill_nodes(&mut nodes, &pods_of, &mut cluster.notes);

    let plans: Vec<NodePlan> = nodes.iter().map(plan_of_node).collect();
    for file in &mut files {
        let own_nodes = file.objects.len();
        file.objects.retain(|object| !matches!(object, Object::Node(_)));
        if file.objects.len() != own_nodes || !file.whole || changed.contains(&file.name) {
            file.text = manifest(&file.objects);
        }
    }
    for object in files.iter().flat_map(|file| &file.objects) {
        match object {
            Object::Pod(pod) => cluster.pods.push(plan_of_pod(pod, &plans)),
            Object::NetworkPolicy(_) => cluster.policies += 1,
            _ => {}
        }
    }
    let used: BTreeSet<&str> = cluster.pods.iter().map(|pod| pod.node.as_str()).collect();
    cluster.nodes = plans.iter().filter(|node| used.is_empty() || used.contains(node.name.as_str())).cloned().collect();

    let missing = missing_namespaces(&files);
    cluster.files =
        files.into_iter().filter(|file| !file.objects.is_empty()).map(|file| (file.name, file.text)).collect();
    cluster
        .files
        .push(("lab-nodes.yaml".to_owned(), manifest(&nodes.into_iter().map(Object::Node).collect::<Vec<_>>())));
    if !missing.is_empty() {
        cluster.files.push(("lab-namespaces.yaml".to_owned(), manifest(&missing)));
    }
    cluster
}

/// Of objects of one kind and name the last one counts, as `kubectl apply` has it; returns the files that lost one.
fn drop_repeated(files: &mut [File], notes: &mut Vec<String>) -> BTreeSet<String> {
    let mut seen = BTreeMap::new();
    let mut changed = BTreeSet::new();
    for file in files.iter_mut().rev() {
        let mut kept = Vec::new();
        for object in file.objects.drain(..).rev() {
            let title = object.title();
            if let Some(other) = seen.get(&title) {
                notes.push(format!("{title} in {} is replaced by the one in {other}", file.name));
                changed.insert(file.name.clone());
            } else {
                seen.insert(title, file.name.clone());
                kept.push(object);
            }
        }
        kept.reverse();
        file.objects = kept;
    }
    changed
}

/// The Nodes as written; else one for every node a pod names, and the default ones up to three.
fn nodes(files: &[File], notes: &mut Vec<String>) -> Vec<Node> {
    let objects = || files.iter().flat_map(|file| &file.objects);
    let mut nodes: BTreeMap<String, Node> = objects()
        .filter_map(|object| match object {
            Object::Node(node) => Some((node.metadata.name.clone(), node.clone())),
            _ => None,
        })
        .collect();
    let written = nodes.len();
    for object in objects() {
        if let Object::Pod(Pod { spec, .. }) = object
            && let Some(name) = &spec.node_name
        {
            nodes.entry(name.clone()).or_insert_with(|| node_named(name));
        }
    }
    if written == 0 {
        for name in DEFAULT_NODES {
            if nodes.len() < DEFAULT_NODES.len() {
                nodes.entry(name.to_owned()).or_insert_with(|| node_named(name));
            }
        }
    }
    if nodes.len() > written {
        let names: Vec<&str> = nodes.keys().map(String::as_str).collect();
        notes.push(format!("the lab's nodes are {}", names.join(", ")));
    }
    nodes.into_values().collect()
}

fn node_named(name: &str) -> Node {
    let metadata = ObjectMeta { name: name.to_owned(), ..ObjectMeta::default() };
    Node { metadata, ..Node::default() }
}

/// Gives pods without a node the one with the fewest pods; returns the files in which a pod changed.
fn place_pods(files: &mut [File], nodes: &[Node], notes: &mut Vec<String>) -> BTreeSet<String> {
    let mut load: BTreeMap<String, usize> = nodes.iter().map(|node| (node.metadata.name.clone(), 0)).collect();
    for (node, pods) in count_pods(files) {
        load.insert(node, pods);
    }
    let (mut changed, mut placed) = (BTreeSet::new(), 0);
    for file in files {
        for object in &mut file.objects {
            let Object::Pod(pod) = object else { continue };
            if pod.spec.node_name.is_some() {
                continue;
            }
            let Some((node, pods)) = load.iter_mut().min_by_key(|(_, pods)| **pods) else { continue };
            *pods += 1;
            placed += 1;
            pod.spec.node_name = Some(node.clone());
            changed.insert(file.name.clone());
        }
    }
    if placed > 0 {
        notes.push(format!("{placed} pods without a node are spread over the nodes"));
    }
    changed
}

fn count_pods(files: &[File]) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for object in files.iter().flat_map(|file| &file.objects) {
        if let Object::Pod(Pod { spec, .. }) = object
            && let Some(node) = &spec.node_name
        {
            *count.entry(node.clone()).or_default() += 1;
        }
    }
    count
}

/// Gives nodes the addresses and pod ranges they lack. Addresses that the lab's underlay does not have are replaced.
fn fill_nodes(nodes: &mut [Node], pods_of: &BTreeMap<String, usize>, notes: &mut Vec<String>) {
    let keep = addresses_fit(nodes);
    let crowded = pods_of.values().any(|pods| *pods > PODS_IN_A_24);
    let ranges_are_free = nodes.iter().all(|node| node.pod_cidrs().next().is_none());
    for (index, node) in (0u8..).zip(nodes.iter_mut()) {
        if !keep {
            let lab = lab_addresses(index);
            let written: Vec<&str> = node.addresses_of("InternalIP").collect();
            if !written.is_empty() {
                notes.push(format!(
                    "node {} has {} in the lab instead of {}",
                    node.metadata.name,
                    lab.map(|address| address.to_string()).join(", "),
                    written.join(", ")
                ));
            }
            node.status.addresses.retain(|address| address.kind != "InternalIP");
            let internal =
                |address: IpAddr| NodeAddress { kind: "InternalIP".to_owned(), address: address.to_string() };
            node.status.addresses.extend(lab.map(internal));
        }
        if node.pod_cidrs().next().is_none() {
            let number = u32::from(index) + if ranges_are_free { 1 } else { 101 };
            let ipv4 = if crowded { format!("10.{}.0.0/16", 100 + number) } else { format!("10.10.{number}.0/24") };
            node.spec.pod_cidrs = vec![ipv4.clone(), format!("fd00:10:0:{number}::/64")];
            node.spec.pod_cidr = Some(ipv4);
        }
    }
}

/// The addresses of the lab's n-th node: 172.18.0.11 and fd00:18::11, then .12; the outside host's are passed over.
fn lab_addresses(index: u8) -> [IpAddr; 2] {
    let number = 11 + u32::from(index);
    let number = if number < 100 { number } else { number + 1 };
    // The same digits in both families, as a person reads them.
    let digits = format!("{number}").bytes().fold(0, |digits, digit| digits << 4 | u128::from(digit - b'0'));
    [
        IpAddr::V4(Ipv4Addr::from(u32::from(CONTROLLER) - 1 + number)),
        IpAddr::V6(Ipv6Addr::from(u128::from(CONTROLLER_V6) - 1 + digits)),
    ]
}

/// Whether every node has addresses, all different, all free on the lab's underlay.
fn addresses_fit(nodes: &[Node]) -> bool {
    let wires =
        [IpNet::new_assert(IpAddr::V4(CONTROLLER), PREFIX_V4), IpNet::new_assert(IpAddr::V6(CONTROLLER_V6), PREFIX_V6)];
    let mut taken: BTreeSet<IpAddr> =
        BTreeSet::from([CONTROLLER.into(), CONTROLLER_V6.into(), OUTSIDE.into(), OUTSIDE_V6.into()]);
    nodes.iter().all(|node| {
        let addresses: Vec<Option<IpAddr>> = node.addresses_of("InternalIP").map(|text| text.parse().ok()).collect();
        !addresses.is_empty()
            && addresses.into_iter().all(|address| {
                address.is_some_and(|address| wires.iter().any(|wire| wire.contains(&address)) && taken.insert(address))
            })
    })
}

fn plan_of_node(node: &Node) -> NodePlan {
    NodePlan {
        name: node.metadata.name.clone(),
        addresses: node.addresses_of("InternalIP").filter_map(|text| text.parse().ok()).collect(),
        pod_cidrs: node.pod_cidrs().filter_map(|text| text.parse::<IpNet>().ok()).map(|cidr| cidr.trunc()).collect(),
    }
}

fn plan_of_pod(pod: &Pod, nodes: &[NodePlan]) -> PodPlan {
    let node = pod.spec.node_name.clone().unwrap_or_default();
    let ranges = nodes.iter().find(|plan| plan.name == node).map(|plan| plan.pod_cidrs.as_slice()).unwrap_or_default();
    let declared = pod.serving_containers().flat_map(|container| &container.ports);
    let ports: BTreeSet<(Protocol, u16)> = declared
        .filter_map(|port| {
            let protocol = match port.protocol.as_deref() {
                None | Some("TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                Some(_) => return None,
            };
            Some((protocol, u16::try_from(port.container_port).ok()?))
        })
        .collect();
    PodPlan {
        namespace: pod.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        name: pod.metadata.name.clone(),
        host_network: pod.spec.host_network,
        terminated: pod.is_terminated(),
        ports: ports.into_iter().collect(),
        addresses: pod
            .addresses()
            .filter_map(|text| text.parse().ok())
            .filter(|address: &IpAddr| ranges.iter().any(|range| range.contains(address)))
            .collect(),
        node,
    }
}

fn missing_namespaces(files: &[File]) -> Vec<Object> {
    let objects = || files.iter().flat_map(|file| &file.objects);
    let present: BTreeSet<&str> =
        objects().filter(|object| matches!(object, Object::Namespace(_))).map(Object::name).collect();
    let used: BTreeSet<&str> = objects().filter_map(Object::namespace).collect();
    used.difference(&present)
        .map(|name| {
            let metadata = ObjectMeta { name: (*name).to_owned(), ..ObjectMeta::default() };
            Object::Namespace(Namespace { metadata })
        })
        .collect()
}

/// Objects as one text; JSON, which is YAML.
fn manifest(objects: &[Object]) -> String {
    let text =
        |object: &Object| serde_json::to_string_pretty(object).expect("an object is made of text, numbers and lists");
    objects.iter().map(text).collect::<Vec<_>>().join("\n---\n") + "\n"
}
