//! A handful of packets, so that the flows that were counted are also the right ones: traced through the full switch, and held
//! against what the cluster's policies mean.
//!
//! Half of them are drawn to be allowed, the others miss by a port, a team or a hole in a network.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use apis::query::{Names, TRACE_PATH, TraceAnswer, TraceRequest, TraceSource};
use policy::{Cluster, Decision, Endpoint, Family, Packet, PodKey, Protocol};

use super::cluster::{
    APPS, PLATFORM, Partner, REPLICAS, ROLES, SERVICES, TEAMS, Tenant, accepts, port_for, port_of, service_address,
    service_pod, speaks_to, team,
};
use crate::lab::{Lab, post};
use crate::oracle::random::Random;

const SOURCE_PORT: u16 = 40000;
const LIMIT: Duration = Duration::from_secs(10);

/// A packet between a pod of the lab's node and someone elsewhere.
#[derive(Clone, Debug)]
pub struct Question {
    /// The local pod sends.
    egress: bool,
    service: usize,
    other: Other,
    port: u16,
}

#[derive(Clone, Copy, Debug)]
enum Other {
    Tenant(Tenant),
    Outside(IpAddr),
}

/// Draws a packet.
pub fn draw(random: &mut Random) -> Question {
    let (egress, service) = (random.percent(50), random.below(SERVICES));
    let meant = random.percent(50);
    let (other, port) = if random.percent(50) {
        let named = |team| if egress { speaks_to(service, team) } else { accepts(service, team) };
        let teams: Vec<usize> = (0..TEAMS).filter(|&team| named(team) == (meant || random.percent(50))).collect();
        let tenant = Tenant { team: random.pick(&teams), app: random.below(APPS), replica: random.below(REPLICAS) };
        let role = tenant.app % ROLES.len();
        (Other::Tenant(tenant), if egress { port_of(role) } else { port_for(service, role) })
    } else {
        let partner = Partner::of(service, egress, random.below(Partner::OF_A_SERVICE));
        (Other::Outside(partner.address(!meant && random.percent(50), random.below(250))), partner.port())
    };
    // A port that this service gives no role and no partner.
    let port = if meant || random.percent(50) { port } else { port + 2000 };
    Question { egress, service, other, port }
}

impl Question {
    fn pod(&self) -> String {
        service_pod(self.service, 0)
    }

    fn elsewhere(&self) -> IpAddr {
        match self.other {
            Other::Tenant(tenant) => tenant.address(),
            Other::Outside(address) => address,
        }
    }

    fn request(&self) -> TraceRequest {
        let here = service_address(self.service, 0);
        let source = match (self.egress, self.other) {
            (true, _) => TraceSource::Pod(self.pod()),
            (false, Other::Tenant(tenant)) => TraceSource::Tunnel(tenant.node()),
            (false, Other::Outside(_)) => TraceSource::Gateway(false),
        };
        let (from, to) = if self.egress { (here, self.elsewhere()) } else { (self.elsewhere(), here) };
        TraceRequest {
            source,
            source_address: Some(from),
            destination_address: to,
            protocol: "TCP".to_owned(),
            source_port: Some(SOURCE_PORT),
            destination_port: Some(self.port),
            icmp_type: None,
            ct: None,
        }
    }

    /// What policies mean by it, at the local pod.
    fn expected(&self, cluster: &Cluster) -> Result<Decision> {
        let local = Endpoint::Pod(PodKey::new(PLATFORM, format!("{}-0", super::cluster::service(self.service))));
        let remote = match self.other {
            Other::Tenant(tenant) => Endpoint::Pod(PodKey::new(team(tenant.team), tenant.name())),
            Other::Outside(address) => Endpoint::Address(address),
        };
        let (source, destination) = if self.egress { (local, remote) } else { (remote, local) };
        let protocol = Protocol::Tcp { source_port: SOURCE_PORT, destination_port: self.port };
        let packet = Packet { source, destination, family: Family::Ipv4, protocol, source_address: None };
        let verdict = policy::evaluate(cluster, &packet).with_context(|| format!("{self:?} cannot be asked"))?;
        Ok(if self.egress { verdict.egress } else { verdict.ingress })
    }

    fn way_out(&self) -> &'static str {
        match (self.egress, self.other) {
            (false, _) => "Delivered",
            (true, Other::Tenant(_)) => "ToTunnel",
            (true, Other::Outside(_)) => "ToGateway",
        }
    }
}

/// Asks `count` packets; how many were denied, and in words which verdicts were wrong.
pub async fn ask(lab: &Lab, cluster: &Cluster, random: &mut Random, count: usize) -> Result<(usize, Vec<String>)> {
    let socket = lab.nodes()[0].agent_socket();
    let (mut denied, mut wrong) = (0, Vec::new());
    for _ in 0..count {
        let question = draw(random);
        let expected = question.expected(cluster)?;
        denied += usize::from(expected.denies());
        let body = serde_json::to_value(question.request()).context("a trace request is JSON")?;
        let answer = post(&socket, TRACE_PATH, &body, LIMIT).await?.json();
        let answer: TraceAnswer = serde_json::from_value(answer.with_context(|| format!("tracing {body}"))?)?;
        let decided = if question.egress { &answer.egress } else { &answer.ingress };
        if !is_right(&expected, decided, &answer, question.way_out()) {
            wrong.push(format!(
                "{question:?}: {expected:?} was expected, but it was {} in {} by {:?}",
                answer.outcome, answer.table, decided.names
            ));
        }
    }
    Ok((denied, wrong))
}

/// Where several rules allow, any of them may be named; an isolation names all policies that isolate.
fn is_right(expected: &Decision, decided: &Names, answer: &TraceAnswer, way_out: &str) -> bool {
    match expected {
        Decision::AllowedByRules(rules) => {
            answer.outcome == way_out
                && !decided.names.is_empty()
                && decided.names.iter().all(|name| rules.contains(name))
        }
        Decision::DeniedByIsolation(policies) => {
            answer.outcome == "Dropped" && decided.names.iter().eq(policies.iter())
        }
        _ => false, // every pod of the platform is isolated in both directions
    }
}

#[cfg(test)]
mod tests {
    use super::super::cluster;
    use super::*;
    use crate::cluster::read_texts;

    /// Two teams and the platform are enough of a cluster for their own packets.
    #[test]
    fn packets_are_drawn_on_both_sides_of_the_rules() {
        let teams = ["pods/team-00.yaml", "pods/team-01.yaml"];
        let files = cluster::files()
            .into_iter()
            .filter(|(name, _)| !name.starts_with("pods/team-") || teams.contains(&name.as_str()));
        let objects = read_texts(files.collect()).files.into_iter().flat_map(|file| file.objects);
        let cluster: Cluster = objects.collect();
        let mut random = Random::new(1);
        let (mut allowed, mut denied) = (0, 0);
        while allowed + denied < 60 {
            let question = draw(&mut random);
            if matches!(question.other, Other::Tenant(tenant) if tenant.team > 1) {
                continue;
            }
            match question.expected(&cluster).unwrap() {
                Decision::AllowedByRules(_) => allowed += 1,
                Decision::DeniedByIsolation(_) => denied += 1,
                other => panic!("{question:?}: {other:?}"),
            }
        }
        assert!(allowed >= 15 && denied >= 15, "{allowed} allowed, {denied} denied");
    }
}
