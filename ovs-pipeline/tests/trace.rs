//! Asks a real switch: every `ask` of every scenario is traced through `ovs-vswitchd`, and every step is brought to the switch
//! as an agent would bring it, by what differs.

#[allow(dead_code, reason = "each test target uses its part of the harness")]
mod ovs;
#[allow(dead_code, reason = "each test target uses its part of the harness")]
mod scenario;

use anyhow::{Context, Result, ensure};

use ovs::packet::{self, Entering};
use ovs::reading::Trace;
use ovs::switchd::Switchd;
use ovs::verdict::{self, End, Hop};
use ovs_pipeline::{Datapath, TUNNEL_MAC};
use scenario::life::{Flows, World};
use scenario::{Ask, Scenario};

#[test]
fn every_packet_meets_the_fate_its_scenario_says() {
    let switchd = Switchd::start().expect("a switch can be started");
    let mut failures = Vec::new();
    let mut asked = 0;
    for datapath in [Datapath::Netdev, Datapath::System] {
        let scenarios = scenario::all(datapath).unwrap_or_else(|error| panic!("{error:#}"));
        for scenario in scenarios.iter().filter(|scenario| !scenario.one_datapath || scenario.datapath == datapath) {
            match play(&switchd, scenario, &mut failures) {
                Ok(count) => asked += count,
                Err(error) => failures.push(format!("{}, {datapath:?}: {error:#}", scenario.path.display())),
            }
        }
    }
    println!("{asked} packets asked for");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(asked > 0, "no scenario asks anything");
}

/// Plays a scenario on empty bridges; returns how many packets were asked for.
fn play(switchd: &Switchd, scenario: &Scenario, failures: &mut Vec<String>) -> Result<usize> {
    let mut world = World::new(scenario);
    let mut installed = Flows::new();
    let mut asked = 0;
    for step in &scenario.steps {
        world.change(&step.changes)?;
        let wanted = world.flows()?;
        for (node, flows) in &wanted {
            match installed.get(node) {
                None => switchd.replace(node, flows)?,
                Some(old) => switchd.change(node, old, flows)?,
            }
        }
        installed = wanted;
        for ask in &step.asks {
            asked += 1;
            if let Err(error) = answered(switchd, scenario, &world, ask) {
                failures.push(format!(
                    "{}:{}: {:?}: {}\n  {error:#}",
                    scenario.path.display(),
                    ask.line,
                    scenario.datapath,
                    ask.text
                ));
            }
        }
    }
    for (node, flows) in &installed {
        switchd.holds(node, flows).context("the switch does not hold what is wanted at the end")?;
    }
    Ok(asked)
}

/// Traces a packet from node to node and compares.
fn answered(switchd: &Switchd, scenario: &Scenario, world: &World, ask: &Ask) -> Result<()> {
    let mut hops: Vec<(Entering, Hop)> = Vec::new();
    let mut entering = Some(packet::entering(ask, &world.state, &scenario.book)?);
    let mut said = String::new();
    while let Some(here) = entering.take() {
        let node = world.state.node(&here.node).with_context(|| format!("{} is no node now", here.node))?;
        let asked = packet::text(&here, ask);
        let text = switchd.trace(&here.node, &asked, &ask.connection.state)?;
        said = said + &here.node + ": " + &asked + "\n" + &text + "\n";
        let trace = Trace::read(&text)?;
        let hop = verdict::hop(&trace, node).with_context(|| text.clone())?;
        verdict::invariants(ask, &here, &trace, &hop, &world.state, scenario.datapath).with_context(|| text.clone())?;
        ports(ask, &trace)?;
        entering = next(world, &here, &hop);
        hops.push((here, hop));
        ensure!(hops.len() < 4, "the packet goes round");
    }
    let (verdict, by) = verdict::words(&hops, &world.state, &scenario.book)?;
    let decided = by.len() == ask.by.len()
        && by.iter().zip(&ask.by).all(|(have, wanted)| wanted.split('|').any(|one| one == have));
    let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
    ensure!(verdict == ask.verdict && decided, "the switch says: {verdict}{by}\n{said}");
    Ok(())
}

/// A tunnel packet goes on at the node where the tunnel ends, if that node is here.
fn next(world: &World, here: &Entering, hop: &Hop) -> Option<Entering> {
    let End::Tunnel(endpoint) = hop.end else { return None };
    let (name, node) = world.state.nodes().find(|(_, node)| node.addresses.contains(&endpoint))?;
    let sender = world.state.node(&here.node)?;
    let source = sender.addresses.iter().copied().find(|address| address.is_ipv6() == endpoint.is_ipv6())?;
    Some(Entering {
        node: name.to_string(),
        port: node.tunnel_port,
        source_mac: sender.gateway_mac,
        destination_mac: TUNNEL_MAC,
        tunnel: Some((source, endpoint)),
        ttl: here.ttl.saturating_sub(1),
        ..here.clone()
    })
}

/// Whether ports are in the megaflow's key of the pass in which policy decides.
fn ports(ask: &Ask, trace: &Trace) -> Result<()> {
    let Some(wanted) = ask.ports else { return Ok(()) };
    let megaflow = &trace.last().megaflow;
    let found = ["tp_dst=", "tp_src=", "tcp_dst=", "udp_dst="].iter().any(|field| megaflow.contains(field));
    ensure!(found == wanted, "the megaflow is {megaflow}");
    Ok(())
}
