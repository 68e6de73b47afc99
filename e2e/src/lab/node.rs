//! A node: a namespace plugged into the underlay, its own Open vSwitch and Ferrant's agent.
//!
//! On the kernel datapath the node's address is on `eth0`, as on any machine. On the userspace datapath a bridge `br-phy`
//! takes `eth0` and its MAC, and the address and default route are on the bridge, so that tunnels of the same switch leave
//! through it; `eth0` is closed to the kernel first, or the kernel would answer everything a second time.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use ipnet::IpNet;

use super::process::{Daemon, ip, run};
use super::underlay::{OUTSIDE, OUTSIDE_V6, PREFIX_V4, PREFIX_V6, Underlay};
use super::{Datapath, LabName, Namespace, Pace, Switch};

/// Holds the uplink and the node's addresses on the userspace datapath.
const UPLINK_BRIDGE: &str = "br-phy";

/// What a node is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// Its name in the cluster.
    pub name: String,
    /// Its addresses on the underlay, at most one a family.
    pub addresses: Vec<IpAddr>,
    /// Where its pods' addresses come from, at most one a family.
    pub pod_cidrs: Vec<IpNet>,
}

/// A node that is up. Fields are dropped in this order: agent, switch, namespace.
pub struct Node {
    plan: NodePlan,
    agent: Option<Daemon>,
    agent_folder: PathBuf,
    /// For the agent, beside the lab's own.
    agent_environment: Vec<(&'static str, String)>,
    switch: Switch,
    namespace: Arc<Namespace>,
    datapath: Datapath,
}

impl Node {
    /// Plugs in a node and starts its switch; the agent comes later ([`Node::start_agent`]).
    pub fn start(
        name: &LabName,
        plan: NodePlan,
        index: usize,
        underlay: &Underlay,
        folder: &Path,
        datapath: Datapath,
    ) -> Result<Self> {
        let namespace = Namespace::create(name.namespace(&plan.name))?;
        namespace.trust_addresses()?;
        // A node that runs pods forwards, as kubeadm demands.
        for (parameter, value) in [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv6/conf/default/forwarding", "1"),
        ] {
            namespace.set_parameter(parameter, value)?;
        }
        let folder = folder.join(&plan.name);
        let mut switch = Switch::start(&namespace, &folder.join("ovs"), datapath, Pace::of(datapath))?;
        underlay.plug(&namespace, &Self::port(index))?;
        let uplink = match datapath {
            Datapath::System => "eth0",
            Datapath::Netdev => take_uplink(&namespace, &mut switch)?,
        };
        ip(&namespace, &addressing(&plan, uplink)).with_context(|| format!("cannot address node {}", plan.name))?;
        let agent_folder = folder.join("agent");
        std::fs::create_dir_all(&agent_folder).with_context(|| format!("cannot create {}", agent_folder.display()))?;
        Ok(Self {
            plan,
            agent: None,
            agent_folder,
            agent_environment: Vec::new(),
            switch,
            namespace: Arc::new(namespace),
            datapath,
        })
    }

    /// Its port on the underlay.
    pub(super) fn port(index: usize) -> String {
        format!("node{index}")
    }

    /// Starts (or starts again) the agent with what every node's agent needs to know and `more` flags.
    pub fn start_agent(
        &mut self,
        program: &Path,
        controllers: &[String],
        datapath: Datapath,
        more: &[String],
    ) -> Result<()> {
        self.agent = None;
        let text = |path: &Path| path.display().to_string();
        let mut command = vec![
            text(program),
            "--node".to_owned(),
            self.plan.name.clone(),
            "--run-dir".to_owned(),
            text(&self.agent_folder),
            "--ovsdb".to_owned(),
            text(&self.switch.database_socket()),
            "--ovs-run-dir".to_owned(),
            text(self.switch.run_folder()),
            "--vswitchd-ctl".to_owned(),
            text(&self.switch.control_socket()),
            "--datapath".to_owned(),
            datapath.to_string(),
        ];
        command.extend(controllers.iter().flat_map(|url| ["--controller".to_owned(), url.clone()]));
        command.extend_from_slice(more);
        let log = self.agent_folder.join("agent.log");
        let name = format!("the agent of {}", self.plan.name);
        self.agent = Some(Daemon::start_with(&self.namespace, name, &command, &self.agent_environment, &log)?);
        Ok(())
    }

    /// Further environment variables, from the agent's next start on.
    pub fn set_agent_environment(&mut self, environment: Vec<(&'static str, String)>) {
        self.agent_environment = environment;
    }

    /// Ends the agent as a failing machine would.
    pub fn stop_agent(&mut self) {
        self.agent = None;
    }

    /// Takes from the agent, which is not running, whatever it has kept: it starts as on a node that joins.
    pub fn forget_agent_state(&self) -> Result<()> {
        let folder = &self.agent_folder;
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        std::fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))
    }

    /// Kills ovs-vswitchd and starts it again: an empty switch with the ports it had. Its interfaces outlive it, with their
    /// addresses, also on the userspace datapath (taps that it has made persistent).
    pub fn restart_switch(&mut self) -> Result<()> {
        self.switch.restart(&self.namespace)
    }

    /// Kills ovsdb-server and starts it again. With the database wiped the switch loses every bridge; what a machine's own
    /// configuration would make again (the uplink) is made again, and the rest is the agent's.
    pub fn restart_database(&mut self, wiped: bool) -> Result<()> {
        self.switch.restart_database(&self.namespace, wiped, Pace::of(self.datapath))?;
        if wiped && self.datapath == Datapath::Netdev {
            make_uplink(&self.namespace, &mut self.switch)?;
            ip(&self.namespace, &addressing(&self.plan, UPLINK_BRIDGE))
                .with_context(|| format!("cannot address node {} again", self.plan.name))?;
        }
        Ok(())
    }

    /// What it was to be.
    pub fn plan(&self) -> &NodePlan {
        &self.plan
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Its network.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Its Open vSwitch, with the namespace to run commands in.
    pub fn switch(&mut self) -> (&mut Switch, &Namespace) {
        (&mut self.switch, &self.namespace)
    }

    /// The agent, once started.
    pub fn agent(&self) -> Option<&Daemon> {
        self.agent.as_ref()
    }

    /// The same, to ask after or to end.
    pub fn agent_mut(&mut self) -> Option<&mut Daemon> {
        self.agent.as_mut()
    }

    /// The interface with the node's addresses.
    pub fn uplink(&self) -> &'static str {
        match self.datapath {
            Datapath::System => "eth0",
            Datapath::Netdev => UPLINK_BRIDGE,
        }
    }

    /// Where the agent answers questions.
    pub fn agent_socket(&self) -> PathBuf {
        self.agent_folder.join("agent.sock")
    }

    /// Where the agent serves the CNI plugin.
    pub fn cni_socket(&self) -> PathBuf {
        self.agent_folder.join("cni.sock")
    }

    /// Every daemon of the node.
    pub fn daemons(&mut self) -> Vec<&mut Daemon> {
        self.agent.iter_mut().chain(self.switch.daemons()).collect()
    }
}

/// Gives `eth0` to the userspace switch; returns the interface that has taken its place.
fn take_uplink(namespace: &Namespace, switch: &mut Switch) -> Result<&'static str> {
    run(
        namespace,
        &["nft", "-f", "-"],
        "table netdev lab {\n  chain uplink {\n    type filter hook ingress device \"eth0\" priority 0; policy drop;\n  }\n}\n",
    )
    .context("cannot close the uplink to the node's kernel")?;
    ip(namespace, &["link set eth0 up".to_owned()])?;
    make_uplink(namespace, switch)?;
    Ok(UPLINK_BRIDGE)
}

/// Makes the bridge that holds the uplink.
fn make_uplink(namespace: &Namespace, switch: &mut Switch) -> Result<()> {
    let mac = mac_of(namespace, "eth0")?;
    let hwaddr = format!("other_config:hwaddr=\"{mac}\"");
    switch
        .configure(
            namespace,
            &[
                "--may-exist",
                "add-br",
                UPLINK_BRIDGE,
                "--",
                "set",
                "bridge",
                UPLINK_BRIDGE,
                "datapath_type=netdev",
                "fail_mode=standalone",
                &hwaddr,
                "--",
                "--may-exist",
                "add-port",
                UPLINK_BRIDGE,
                "eth0",
            ],
        )
        .map(drop)
}

fn addressing(plan: &NodePlan, device: &str) -> Vec<String> {
    let mut commands = vec![format!("link set {device} up")];
    for address in &plan.addresses {
        let (prefix, options) = if address.is_ipv4() { (PREFIX_V4, "") } else { (PREFIX_V6, " nodad") };
        commands.push(format!("address replace {address}/{prefix} dev {device}{options}"));
    }
    for address in &plan.addresses {
        let world = if address.is_ipv4() { IpAddr::V4(OUTSIDE) } else { IpAddr::V6(OUTSIDE_V6) };
        commands.push(format!("route replace default via {world} dev {device}"));
    }
    commands
}

/// The link address of an interface, as ip(8) prints it.
pub fn mac_of(namespace: &Namespace, interface: &str) -> Result<String> {
    let text = run(namespace, &["ip", "-json", "link", "show", "dev", interface], "")?;
    let links: serde_json::Value = serde_json::from_str(&text).context("ip -json printed something else")?;
    let mac = links[0]["address"].as_str().with_context(|| format!("{interface} has no link address"))?;
    Ok(mac.to_owned())
}
