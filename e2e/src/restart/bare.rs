//! The floor: the same switch, ports and traffic with ten flows and nobody who knows anything of policy. vswitchd is killed and gets
//! its ten flows, and on the userspace datapath its one route, back as soon as it takes them (it starts as vswitchd does when nobody
//! has set anything: the kernel's flows go); or the database is killed, and nobody does anything.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use apis::query::{PODS_PATH, PodInfo};

use super::scene::Scene;
use crate::lab::{Datapath, Namespace, get, run};

/// The agent's bridge and its tunnel.
const BRIDGE: &str = "br-int";
const TUNNEL: &str = "tun0";
/// Where the other node's tunnel ends.
const OTHER_NODE: &str = "172.18.0.12";
const WINDOW: Duration = Duration::from_secs(5);

/// Kills a bare switch, or its database, once; how long nothing arrived. Afterwards the agent is back, and obeyed.
///
/// # Errors
/// When the lab fails.
pub async fn round(scene: &mut Scene, database: bool) -> Result<Duration> {
    let flows = flows(scene).await?;
    let before = scene.info().await?;
    let node = &mut scene.stage.lab().nodes_mut()[0];
    node.stop_agent();
    let (switch, namespace) = node.switch();
    let management = switch.run_folder().join(format!("{BRIDGE}.mgmt"));
    let target = format!("unix:{}", management.display());
    run(namespace, &["ovs-ofctl", "-O", "OpenFlow15", "del-flows", &target], "")?;
    offer(namespace, &target, &flows)?;
    // Left by the agent, so that the kernel goes on when vswitchd dies: a bare switch has no such thing.
    switch.configure(namespace, &["remove", "open", ".", "other_config", "flow-restore-wait"])?;
    scene.flows().await?;
    let from = Instant::now();
    let (pace, lab) = (scene.pace, scene.stage.lab());
    if database {
        lab.nodes_mut()[0].restart_database(false)?;
    } else {
        lab.nodes_mut()[0].restart_switch()?;
        let bridge = (lab.options().datapath == Datapath::Netdev).then(|| lab.nodes()[0].uplink());
        let (switch, namespace) = lab.nodes_mut()[0].switch();
        let control = switch.control_socket();
        pace.until("the bare switch to take its flows", Duration::from_secs(20), || {
            let listens = UnixStream::connect(&management).is_ok();
            let routed = listens && bridge.is_none_or(|bridge| give_route(&control, bridge).is_ok());
            Ok(routed.then(|| offer(namespace, &target, &flows).ok()).flatten())
        })?;
    }
    scene.flows().await?;
    tokio::time::sleep(WINDOW.saturating_sub(from.elapsed())).await;
    let to = Instant::now();
    scene.traffic.arrive().await;
    let silence = scene.traffic.seen(from, to).silence;
    let settled = scene.settled_after(before, Instant::now());
    scene.stage.lab().start_agent(0)?;
    settled.await.context("waiting for the agent panicked")??;
    scene.stage.lab().settle().await?;
    Ok(silence)
}

/// `ovs-appctl ovs/route/add`, without a process, which would cost the floor 5 ms.
fn give_route(control: &Path, bridge: &str) -> Result<()> {
    let mut stream = UnixStream::connect(control)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let parameters = [format!("{OTHER_NODE}/32"), bridge.to_owned()];
    let request = serde_json::json!({"id": 0, "method": "ovs/route/add", "params": parameters});
    stream.write_all(request.to_string().as_bytes())?;
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer)?;
    let answer: serde_json::Value = serde_json::from_slice(&answer[..read]).context("the switch's answer")?;
    ensure!(answer["error"].is_null(), "the switch takes no route: {}", answer["error"]);
    Ok(())
}

fn offer(namespace: &Namespace, target: &str, flows: &str) -> Result<String> {
    run(namespace, &["ovs-ofctl", "-O", "OpenFlow15", "add-flows", target, "-"], flows)
}

/// What the two pods need to talk, and flows that nothing meets, ten in all.
async fn flows(scene: &mut Scene) -> Result<String> {
    let (patience, lab) = (scene.pace.allow(Duration::from_secs(5)), scene.stage.lab());
    let (server, client) = (lab.pod("shop/server")?.clone(), lab.pod("shop/client")?.clone());
    let address = |pod: &crate::lab::Pod| pod.address(false).context("an IPv4 address");
    let (server_address, client_address) = (address(&server)?, address(&client)?);
    let answer = get(&lab.nodes()[0].agent_socket(), PODS_PATH, patience).await?.json()?;
    let pods: Vec<PodInfo> = serde_json::from_value(answer).context("the agent's pods")?;
    let here = pods.iter().find(|pod| pod.pod == "shop/server").context("the agent has no shop/server")?;
    let (port, mac) = (here.port.context("shop/server has no port")?, &here.mac);
    let (switch, namespace) = lab.nodes_mut()[0].switch();
    let database = format!("--db=unix:{}", switch.database_socket().display());
    let tunnel = run(namespace, &["ovs-vsctl", &database, "get", "interface", TUNNEL, "ofport"], "")?;
    let tunnel = tunnel.trim();
    let mut flows = format!(
        "priority=100,in_port={port},ip,nw_dst={client_address},actions=set_field:{OTHER_NODE}->tun_dst,dec_ttl,output:{tunnel}\n\
         priority=100,in_port={tunnel},ip,nw_dst={server_address},actions=set_field:{mac}->eth_dst,dec_ttl,output:{port}\n"
    );
    for number in 1..=8 {
        flows += &format!("priority=10,ip,nw_dst=192.0.2.{number},actions=drop\n");
    }
    Ok(flows)
}
