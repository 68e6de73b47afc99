//! A controller whose agents say anything, for the fuzzer.

use apis::stream::{FromAgent, Hello, PodReport, from_agent};
use prost::Message;

use super::Controller;
use crate::event::{AgentEvent, SessionId};
use crate::metrics::Metrics;
use crate::object::Object;
use crate::plan::Plan;
use crate::publish::Publish;
use crate::publish::fuzzing::{drained, greeted, heard};
use crate::serve::Answers;
use crate::state::{Changed, State};
use crate::watch::{SourceEvent, directory};

/// Two nodes, a few pods, a policy of every shape.
const CLUSTER: &str = "
{apiVersion: v1, kind: Node, metadata: {name: node-a}, spec: {podCIDRs: [10.10.1.0/24, 'fd00:10:0:1::/64']}, status: {addresses: [{type: InternalIP, address: 172.18.0.11}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-b}, spec: {podCIDRs: [10.10.2.0/24, 'fd00:10:0:2::/64']}, status: {addresses: [{type: InternalIP, address: 172.18.0.12}]}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: blue}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {nodeName: node-a, containers: [{name: c, image: i, ports: [{name: http, containerPort: 80}]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: shop, labels: {app: client}}, spec: {nodeName: node-b, containers: [{name: c, image: i}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress:
    - from: [{podSelector: {matchLabels: {app: client}}}, {ipBlock: {cidr: 192.0.2.0/24, except: [192.0.2.128/25]}}]
      ports: [{port: 80, endPort: 90}, {port: http}, {protocol: UDP}]
  egress:
    - to: [{namespaceSelector: {matchLabels: {team: blue}}}]
";

thread_local! {
    /// Read once: reading manifests is another target.
    static SMALL: Vec<Object> = directory::fuzzing::objects(CLUSTER.as_bytes());
    /// A hundred metrics take longer to make than most of what is said here.
    static METRICS: Metrics = Metrics::default();
}

fn controller(objects: Vec<Object>) -> Controller {
    let metrics = METRICS.with(Clone::clone);
    let mut controller = Controller {
        state: State::default(),
        plan: Plan::default(),
        publish: Publish::default(),
        answers: Answers::default(),
        metrics,
        planned: false,
        check_plan: false,
        awaiting: None,
    };
    let mut changed = Changed::default();
    for event in
        objects.into_iter().map(SourceEvent::Upsert).chain([SourceEvent::Version(7), SourceEvent::InSync(true)])
    {
        controller.state.apply(event, &mut changed);
    }
    controller.plan(&changed);
    controller
}

/// What an agent says, message after message, to a controller of a small cluster that is in sync.
pub fn from_agent(mut data: &[u8]) {
    let mut controller = controller(SMALL.with(Clone::clone));
    let Ok(FromAgent { message: Some(from_agent::Message::Hello(hello)) }) =
        FromAgent::decode_length_delimited(&mut data)
    else {
        return;
    };
    let Some((connected, mut drain)) = greeted(hello) else { return };
    let (node, session) = (connected.node.clone(), SessionId(1));
    let mut changed = Changed::default();
    controller.agent(session, AgentEvent::Connected(connected), &mut changed);
    while let Ok(message) = FromAgent::decode_length_delimited(&mut data) {
        let event = message.message.and_then(|message| heard(&node, message));
        if let Some(event) = event {
            controller.agent(session, event, &mut changed);
        }
        controller.plan(&std::mem::take(&mut changed));
        controller.publish.send(&controller.state, &controller.plan, true);
        drop(drained(&mut drain));
    }
    controller.agent(session, AgentEvent::Gone, &mut changed);
    controller.plan(&changed);
}

/// What each node of a cluster is told, from the greeting on; the nodes' pods are reported as they would be.
pub fn told(manifests: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut controller = controller(directory::fuzzing::objects(manifests));
    let mut changed = Changed::default();
    let nodes: Vec<String> = controller.state.node_names().map(ToString::to_string).collect();
    let mut drains = Vec::new();
    for (number, node) in (1_u8..).zip(nodes) {
        let own = controller.state.pods().filter(|pod| pod.node.as_ref().is_some_and(|name| name.0.as_str() == node));
        // The sample clusters' nodes have 10.10.1.0/24, 10.10.2.0/24 and so on.
        let report = |(sequence, pod): (u8, &crate::object::Pod)| PodReport {
            sequence: sequence.into(),
            namespace: pod.key.namespace.to_string(),
            name: pod.key.name.to_string(),
            addresses: vec![vec![10, 10, number, 1 + sequence].into()],
            mac: vec![0x0a, 0, 0, 0, number, sequence].into(),
        };
        let pods: Vec<PodReport> = (1..).zip(own).map(report).collect();
        let sequence = pods.len() as u64;
        let boot = vec![number; 16].into();
        let hello = Hello { node, versions: vec![2, 1], boot, pods, sequence, ..Hello::default() };
        let Some((connected, drain)) = greeted(hello) else { continue };
        let session = SessionId(number.into());
        controller.agent(session, AgentEvent::Connected(connected), &mut changed);
        controller.agent(session, AgentEvent::Take { take: 1, digests: None }, &mut changed);
        drains.push(drain);
    }
    controller.plan(&changed);
    controller.publish.send(&controller.state, &controller.plan, true);
    drains.iter_mut().map(drained).collect()
}
