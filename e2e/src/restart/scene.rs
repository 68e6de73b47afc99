//! Two nodes and a handful of pods with traffic between them, and on the first node as many other flows as asked for.
//!
//! ```text
//!   node-a                        node-b
//!   server ◄──── allowed ────────── client      (port 5001)
//!   server ───── allowed ─────────► client      (port 5002)
//!   server ◄──── denied ─────────── stranger    (port 5011)
//!   spy ──────── denied ──────────► client      (port 5012)
//!   late-N ◄──── denied ─────────── stranger    (from before the pod is there; the same to server and spy when the node starts again)
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use apis::query::{AgentInfo, INFO_PATH};

use super::traffic::{End, Lane, Tempo, Traffic};
use crate::bench::flows::cluster as large;
use crate::cluster::Cluster;
use crate::command::say;
use crate::lab::{NodePlan, Options, Pace, PodPlan, get};
use crate::stage::Stage;

/// The node that is disturbed, and the other.
pub const NODES: [&str; 2] = ["node-a", "node-b"];
/// The ports of the two directions.
pub const TO_SERVER: u16 = 5001;
/// See [`TO_SERVER`].
pub const TO_CLIENT: u16 = 5002;
/// What is denied goes to a port beside the allowed one, so that each lane has a socket of its own. The rule allows that port too:
/// it is the sender that is denied.
const DENIED: u16 = 10;
/// Pods that come while something is down.
const LATE: usize = 40;
const LIMIT: Duration = Duration::from_secs(60);
/// How soon what policy allows arrives.
const FLOWS_WITHIN: Duration = Duration::from_secs(30);
/// An agent is asked this often.
const LOOK: Duration = Duration::from_millis(5);

/// A lab with traffic.
pub struct Scene {
    /// The lab.
    pub stage: Stage,
    /// What is sent all the while.
    pub traffic: Traffic,
    /// How many late pods have been attached.
    pub late: usize,
    /// How long things may take here.
    pub pace: Pace,
    /// How often a policy was changed.
    changes: u16,
    /// Forbidden packets that reached a late pod.
    pub late_forbidden: usize,
}

/// Address of a pod: the node's number, the host part.
pub fn address(node: u8, host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 10, node, host))
}

/// A pod of the scene that is there from the start.
pub fn pod(name: &str) -> PodPlan {
    let (node, host) = match name {
        "server" => (1, 200),
        "spy" => (1, 201),
        "client" => (2, 200),
        "stranger" => (2, 201),
        late => (1, 210 + late.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0)),
    };
    PodPlan { addresses: vec![address(node, host)], ..PodPlan::new("shop", name, NODES[usize::from(node) - 1]) }
}

fn node(number: u8) -> NodePlan {
    NodePlan {
        name: NODES[usize::from(number) - 1].to_owned(),
        addresses: vec![IpAddr::V4(Ipv4Addr::new(172, 18, 0, 10 + number))],
        pod_cidrs: vec![format!("10.10.{number}.0/24").parse().expect("a valid range")],
    }
}

fn node_manifest(number: u8) -> String {
    let NodePlan { name, addresses, pod_cidrs } = node(number);
    let (address, range) = (addresses[0], pod_cidrs[0]);
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{podCIDR: {range}, podCIDRs: [{range}]}}\n\
         status: {{addresses: [{{type: InternalIP, address: {address}}}]}}\n"
    )
}

fn pod_manifest(plan: &PodPlan) -> String {
    let (PodPlan { name, node, addresses, .. }, app) = (plan, plan.name.split('-').next().unwrap_or_default());
    let address = addresses[0];
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {app}}}}}\n\
         spec: {{nodeName: {node}, containers: [{{name: main, image: example/{app}}}]}}\n\
         status: {{podIP: {address}, podIPs: [{{ip: {address}}}]}}\n"
    )
}

fn policy(to: &str, from: &str, port: u16) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {to}, namespace: shop}}\n\
         spec:\n  podSelector: {{matchLabels: {{app: {to}}}}}\n  policyTypes: [Ingress]\n  ingress:\n    \
         - from: [{{podSelector: {{matchLabels: {{app: {from}}}}}}}]\n      ports: [{{protocol: UDP, port: {port}}}, {{protocol: UDP, port: {}}}]\n",
        port + DENIED
    )
}

/// Allows one more port to somebody who is not there, at pods of both nodes that a policy isolates already.
fn policy_of_both(number: u16) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: change, namespace: shop}}\nspec:\n  \
         podSelector: {{matchExpressions: [{{key: app, operator: In, values: [server, client]}}]}}\n  policyTypes: [Ingress]\n  \
         ingress:\n    - from: [{{podSelector: {{matchLabels: {{app: nobody}}}}}}]\n      ports: [{{protocol: UDP, port: {number}}}]\n"
    )
}

/// The scene's own objects.
fn shop() -> String {
    let mut text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n".to_owned();
    let late = (0..LATE).map(|number| format!("late-{number}"));
    let names = ["server", "spy", "client", "stranger"].into_iter().map(str::to_owned).chain(late);
    names.for_each(|name| text += &pod_manifest(&pod(&name)));
    text += &policy("server", "client", TO_SERVER);
    text += &policy("client", "server", TO_CLIENT);
    // The stranger's packets to a pod that comes, or comes again, are denied.
    text += &policy("spy", "nobody", 1);
    text += &policy("late", "nobody", 1);
    text
}

fn cluster(many_flows: bool) -> Cluster {
    let names = ["server", "spy", "client", "stranger"];
    let mut cluster = Cluster { nodes: vec![node(1), node(2)], pods: names.map(pod).to_vec(), ..Cluster::default() };
    if many_flows {
        cluster.files = large::files();
        cluster.pods.extend(large::pod_plans());
        cluster.files.push(("shop.yaml".to_owned(), node_manifest(2) + "---\n" + &shop()));
    } else {
        cluster.files.push(("shop.yaml".to_owned(), node_manifest(1) + &node_manifest(2) + "---\n" + &shop()));
    }
    cluster
}

impl Scene {
    /// Brings it up, with traffic that flows.
    ///
    /// # Errors
    /// When the lab does not come up, or what policy allows does not arrive.
    pub async fn set(options: Options, many_flows: bool, tempo: Tempo) -> Result<Self> {
        let mut stage = Stage::set(options, cluster(many_flows), &say).await?;
        stage.lab().settle().await?;
        let (pace, traffic) = (stage.lab().pace(), Traffic::at(tempo));
        let mut scene = Self { stage, traffic, late: 0, pace, changes: 0, late_forbidden: 0 };
        scene.open_lanes()?;
        scene.flows().await?;
        Ok(scene)
    }

    /// Waits until something arrives on every lane that policy allows.
    ///
    /// # Errors
    /// When one stays silent.
    pub async fn flows(&self) -> Result<()> {
        self.traffic.flows(self.pace.allow(FLOWS_WITHIN)).await
    }

    /// Begins the traffic between the pods as they are now.
    ///
    /// # Errors
    /// When a pod is not there.
    pub fn open_lanes(&mut self) -> Result<()> {
        let tempo = self.traffic.tempo();
        self.traffic = Traffic::at(tempo);
        for (from, to, port, allowed) in [
            ("client", "server", TO_SERVER, true),
            ("server", "client", TO_CLIENT, true),
            ("stranger", "server", TO_SERVER + DENIED, false),
            ("spy", "client", TO_CLIENT + DENIED, false),
        ] {
            let (from, to) = (format!("shop/{from}"), format!("shop/{to}"));
            let (from, to) = (self.stage.lab().pod(&from)?.clone(), self.stage.lab().pod(&to)?.clone());
            let end = |pod: &crate::lab::Pod| -> Result<IpAddr> { pod.address(false).context("an IPv4 address") };
            let from = End { namespace: from.namespace(), address: end(&from)? };
            let to = End { namespace: to.namespace(), address: end(&to)? };
            self.traffic.add(Lane::open(&from, &to, port, allowed, tempo)?);
        }
        Ok(())
    }

    /// Attaches the next late pod while the stranger floods it; it is known to all when this returns.
    ///
    /// # Errors
    /// When it cannot be attached.
    pub async fn add_late_pod(&mut self) -> Result<()> {
        ensure!(self.late < LATE, "there are no more late pods");
        let plan = pod(&format!("late-{}", self.late));
        self.late += 1;
        self.late_forbidden += self.stage.attach_under_fire(plan, &["shop/stranger".to_owned()]).await?;
        Ok(())
    }

    /// Makes a policy about pods of both nodes that changes no verdict of what is sent, and waits until both obey it, from whoever
    /// serves.
    ///
    /// # Errors
    /// When one does not.
    pub async fn obey_a_new_policy(&mut self) -> Result<()> {
        self.changes += 1;
        let text = policy_of_both(self.changes);
        self.stage.apply(|source| source.write("change.yaml", &text)).await
    }

    /// What the agent of the first node says of itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn info(&mut self) -> Result<AgentInfo> {
        let socket = self.stage.lab().nodes()[0].agent_socket();
        info(&socket, self.pace).await
    }

    /// How long from `since` until the first node's switch obeys all that is wanted, in another life of the switch's connection or
    /// of the agent than `before`. Runs beside everything else.
    pub fn settled_after(&mut self, before: AgentInfo, since: Instant) -> tokio::task::JoinHandle<Result<Duration>> {
        let (socket, pace) = (self.stage.lab().nodes()[0].agent_socket(), self.pace);
        tokio::spawn(async move {
            let settled = |now: &AgentInfo| {
                let other = now.boot != before.boot || now.switch_connection > before.switch_connection;
                other && now.switch_settled && now.frame.is_some()
            };
            says(&socket, pace, "the switch obeys all that is wanted", settled).await?;
            Ok(since.elapsed())
        })
    }
}

/// Waits until the agent at this socket says so of itself.
///
/// # Errors
/// When it does not.
pub async fn says(socket: &Path, pace: Pace, what: &str, is: impl Fn(&AgentInfo) -> bool) -> Result<()> {
    let (start, limit) = (Instant::now(), pace.allow(LIMIT));
    loop {
        // An agent that starts does not answer yet.
        if info(socket, pace).await.is_ok_and(|now| is(&now)) {
            return Ok(());
        }
        ensure!(start.elapsed() < limit, "{}: not within {limit:?}: {what}", socket.display());
        tokio::time::sleep(LOOK).await;
    }
}

/// What the agent at this socket says of itself.
///
/// # Errors
/// When it does not answer.
pub async fn info(socket: &Path, pace: Pace) -> Result<AgentInfo> {
    let answer = get(socket, INFO_PATH, pace.allow(Duration::from_secs(5))).await?.json()?;
    serde_json::from_value(answer).context("the agent's word of itself")
}
