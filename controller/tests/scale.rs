//! Ten thousand pods: what a change costs is counted in objects that are told, not in pods that are there. Times are printed,
//! not held: a test has no machine of its own.

use std::time::Instant;

use controller::object::{
    LabelSelector, LabelTest, Labels, Namespace, NetworkPolicy, Node, NodeName, Object, ObjectKey, Operator,
    PeerSelector, Peers, Pod, PodKey, PolicyKey, PolicyRule, Pool, Port, PortRange, Protocol, Services, Text,
};
use controller::plan::{Delta, Plan};
use controller::state::{Changed, State};
use controller::watch::SourceEvent;

const PODS: usize = 10_000;
const NODES: usize = 100;
const NAMESPACES: usize = 100;

fn text(prefix: &str, number: usize) -> Text {
    Text::from(format!("{prefix}-{number}").as_str())
}

fn pod(number: usize, node: usize, pool: &mut Pool) -> Pod {
    let app = format!("app-{}", number % 1000 / NAMESPACES);
    let instance = format!("instance-{}", number % 37);
    let [third, fourth] = [number / 250 % 250, number % 250 + 1].map(|part| u8::try_from(part).expect("below 251"));
    Pod {
        key: PodKey { namespace: text("ns", number % NAMESPACES), name: text("pod", number) },
        node: Some(NodeName(text("node", node % NODES))),
        labels: Labels::new([("app", app.as_str()), ("instance", instance.as_str())], pool),
        service_account: pool.text("default"),
        named_ports: pool.ports(Vec::new()),
        status_addresses: Box::new([[10, 100, third, fourth].into()]),
        networked: true,
    }
}

fn selects(key: &str, value: Text) -> LabelSelector {
    LabelSelector::new([LabelTest { key: Text::from(key), operator: Operator::In(Box::new([value])) }])
}

fn policy(number: usize, port: u16) -> NetworkPolicy {
    let own = PeerSelector { namespaces: None, pods: selects("app", text("app", (number + 1) % 10)) };
    let other_namespace = selects("team", text("team", number % 10));
    let other = PeerSelector { namespaces: Some(other_namespace), pods: selects("app", text("app", 3)) };
    let services = Services::new([Port { protocol: Protocol::Tcp, range: PortRange::Numbers(port, port) }]);
    NetworkPolicy {
        key: PolicyKey { namespace: text("ns", number % NAMESPACES), name: text("policy", number) },
        pods: selects("app", text("app", number % 10)),
        ingress: Some(vec![PolicyRule { peers: Peers::these([own, other], []), services }]),
        egress: None,
    }
}

fn namespace(number: usize, team: usize, pool: &mut Pool) -> Namespace {
    let team = format!("team-{team}");
    Namespace { name: text("ns", number), labels: Labels::new([("team", team.as_str())], pool) }
}

struct Cluster {
    state: State,
    plan: Plan,
}

impl Cluster {
    fn new(pool: &mut Pool) -> Self {
        let mut state = State::default();
        let mut changed = Changed::default();
        let mut put = |object| state.apply(SourceEvent::Upsert(object), &mut changed);
        for number in 0..NODES {
            put(Object::Node(Node::new(NodeName(text("node", number)), [], [])));
        }
        for number in 0..NAMESPACES {
            put(Object::Namespace(namespace(number, number % 10, pool)));
        }
        for number in 0..PODS {
            put(Object::Pod(pod(number, number, pool)));
        }
        for number in 0..200 {
            put(Object::NetworkPolicy(policy(number, 8000)));
        }
        let begin = Instant::now();
        let plan = Plan::of(&state);
        eprintln!("the whole plan: {:?} {:?}", begin.elapsed(), plan.counts());
        Self { state, plan }
    }

    fn update(&mut self, what: &str, event: SourceEvent) -> Vec<Delta> {
        let mut changed = Changed::default();
        self.state.apply(event, &mut changed);
        let begin = Instant::now();
        let deltas = self.plan.update(&self.state, &changed);
        eprintln!("{what}: {:?}, {} objects", begin.elapsed(), deltas.len());
        deltas
    }
}

#[test]
fn a_change_costs_what_it_changes() {
    let mut pool = Pool::default();
    let mut cluster = Cluster::new(&mut pool);
    let upsert = |object| SourceEvent::Upsert(object);

    let deltas = cluster.update("a policy's port", upsert(Object::NetworkPolicy(policy(7, 9000))));
    assert_eq!(deltas.len(), 2, "a rule that another policy says too loses a name, a new one comes: {deltas:?}");

    let mut renamed = policy(8, 8000);
    renamed.key.name = Text::from("renamed");
    let mut changed = Changed::default();
    cluster.state.apply(SourceEvent::Delete(ObjectKey::NetworkPolicy(policy(8, 8000).key)), &mut changed);
    cluster.state.apply(upsert(Object::NetworkPolicy(renamed)), &mut changed);
    let deltas = cluster.plan.update(&cluster.state, &changed);
    assert_eq!(deltas.len(), 2, "one rule and one isolation have another name: {deltas:?}");
    assert!(deltas.iter().all(|delta| delta.before == delta.after && delta.content_changed));

    cluster.update("a new policy", upsert(Object::NetworkPolicy(policy(1009, 1))));
    let deltas = cluster.update("a pod like others", upsert(Object::Pod(pod(PODS + 3700, 0, &mut pool))));
    assert!(deltas.len() <= 12, "the pod, and what its node did not need before: {}", deltas.len());
    let deltas =
        cluster.update("the same pod goes", SourceEvent::Delete(ObjectKey::Pod(pod(PODS + 3700, 0, &mut pool).key)));
    assert!(deltas.len() <= 12, "{}", deltas.len());

    let deltas = cluster.update("a namespace's team", upsert(Object::Namespace(namespace(5, 6, &mut pool))));
    assert!(deltas.len() < 500, "its pods, and the groups that ask for teams: {}", deltas.len());

    let begin = Instant::now();
    let checked = cluster.plan.check(&cluster.state);
    eprintln!("compared with the plan computed anew: {:?}", begin.elapsed());
    assert_eq!(checked, Ok(()));
}
