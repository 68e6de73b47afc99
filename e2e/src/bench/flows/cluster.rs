//! A large cluster as manifests: thirty thousand pods on three hundred nodes, of which one node is the lab's.
//!
//! The lab's node runs the platform: twenty services, two pods each, that accept only what their policies say and speak only
//! to whom their policies say. Tenants are teams with a namespace each; a team's apps play five roles. Every service names
//! some of the teams, role by role, in both directions, and a few dozen partner networks with holes in them. So the switch
//! needs every tenant's address in both directions, every kind of tenant pod as a clause, and every piece of every partner
//! network: about a hundred thousand flows, a third of them clauses.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use crate::lab::{NodePlan, PodPlan};
use crate::probe::Protocol;

/// The lab's node.
pub const NODE: &str = "node-a";
/// The namespace of the services.
pub const PLATFORM: &str = "platform";
/// Services of the platform, each a kind of pod of its own.
pub const SERVICES: usize = 20;
const REPLICAS_OF_A_SERVICE: usize = 2;
/// Teams, a namespace each.
pub const TEAMS: usize = 60;
/// Apps of a team, each a kind of pod of its own.
pub const APPS: usize = 85;
/// Pods of an app.
pub const REPLICAS: usize = 6;
/// Nodes without agents.
const WORKERS: usize = 300;
/// What apps are for; policies select them by it.
pub const ROLES: [&str; 5] = ["web", "api", "worker", "batch", "store"];
/// Partner rules of a service and direction, and networks of a rule.
const PARTNER_RULES: usize = 13;
const NETWORKS_OF_A_RULE: usize = 3;
/// Every how manyth team a service names in a direction.
const EVERY: usize = 4;

/// A tenant pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its team.
    pub team: usize,
    /// Its app within the team.
    pub app: usize,
    /// Which of the app's pods.
    pub replica: usize,
}

impl Tenant {
    fn number(self) -> usize {
        (self.team * APPS + self.app) * REPLICAS + self.replica
    }

    /// Its name.
    pub fn name(self) -> String {
        format!("{}-6c9f7d5b84-{:05}", app(self.app), self.number())
    }

    /// The node it runs on.
    pub fn node(self) -> String {
        worker(self.number() % WORKERS)
    }

    /// Its address, in its node's pod range.
    pub fn address(self) -> IpAddr {
        let (node, host) = (self.number() % WORKERS, self.number() / WORKERS + 2);
        let base = u32::from(Ipv4Addr::new(10, 64, 0, 0));
        IpAddr::V4((base + node as u32 * 256 + host as u32).into())
    }
}

/// All tenant pods.
pub fn tenants() -> impl Iterator<Item = Tenant> {
    let of_app = |team, app| (0..REPLICAS).map(move |replica| Tenant { team, app, replica });
    (0..TEAMS).flat_map(move |team| (0..APPS).flat_map(move |app| of_app(team, app)))
}

/// The namespace of a team.
pub fn team(team: usize) -> String {
    format!("team-{team:02}")
}

fn app(app: usize) -> String {
    format!("app-{app:02}")
}

fn worker(number: usize) -> String {
    format!("worker-{number:03}")
}

/// The name of a service.
pub fn service(service: usize) -> String {
    format!("service-{service:02}")
}

/// The `namespace/name` of a pod of a service.
pub fn service_pod(service_number: usize, replica: usize) -> String {
    format!("{PLATFORM}/{}-{replica}", service(service_number))
}

/// The address of a pod of a service, in the lab node's range.
pub fn service_address(service: usize, replica: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 10, 1, (10 + service * REPLICAS_OF_A_SERVICE + replica) as u8))
}

/// Whether a service accepts a team.
pub fn accepts(service: usize, team: usize) -> bool {
    (service + team).is_multiple_of(EVERY)
}

/// Whether a service speaks to a team.
pub fn speaks_to(service: usize, team: usize) -> bool {
    (service + team) % EVERY == 1
}

/// The port on which a service accepts a role.
pub fn port_for(service: usize, role: usize) -> u16 {
    (7000 + service * 10 + role) as u16
}

/// The port on which a role is spoken to: of role 0 the one named `metrics`.
pub fn port_of(role: usize) -> u16 {
    if role == 0 { 9090 } else { 8080 + role as u16 }
}

/// A partner network of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partner {
    /// Outbound or inbound.
    pub egress: bool,
    /// The service.
    pub service: usize,
    /// The rule within the policy.
    pub rule: usize,
    /// The network within the rule.
    pub network: usize,
}

impl Partner {
    /// How many networks a service has in a direction.
    pub const OF_A_SERVICE: usize = PARTNER_RULES * NETWORKS_OF_A_RULE;

    /// The n-th network of a service.
    pub fn of(service: usize, egress: bool, number: usize) -> Self {
        Self { egress, service, rule: number / NETWORKS_OF_A_RULE, network: number % NETWORKS_OF_A_RULE }
    }

    fn number(self) -> usize {
        let of_direction = self.service * Self::OF_A_SERVICE + self.rule * NETWORKS_OF_A_RULE + self.network;
        of_direction * 2 + usize::from(self.egress)
    }

    /// Its /16.
    fn base(self) -> u32 {
        u32::from(Ipv4Addr::new(20, 0, 0, 0)) + ((self.number() as u32) << 16)
    }

    /// The /24 in its lower half that is left out.
    fn hole(self) -> u32 {
        self.base() + ((self.number() as u32 * 37 % 128) << 8)
    }

    /// The /26 in its upper half that is left out.
    fn small_hole(self) -> u32 {
        self.base() + (1 << 15) + ((self.number() as u32 * 101 % 512) << 6)
    }

    /// An address in it; `hole` chooses one that is left out.
    pub fn address(self, hole: bool, host: usize) -> IpAddr {
        // Holes are at most a /24, so its neighbour in the lower half is none.
        let start = if hole { self.hole() } else { self.hole() ^ (1 << 8) };
        IpAddr::V4((start + 1 + host as u32 % 250).into())
    }

    /// The port that its rule names.
    pub fn port(self) -> u16 {
        (5000 + self.rule * 3) as u16
    }

    fn manifest(self) -> String {
        let net = |base: u32, length: u8| format!("{}/{length}", Ipv4Addr::from(base));
        format!(
            "        - ipBlock: {{cidr: {}, except: [{}, {}]}}\n",
            net(self.base(), 16),
            net(self.hole(), 24),
            net(self.small_hole(), 26)
        )
    }
}

/// The lab's node.
pub fn node_plan() -> NodePlan {
    NodePlan {
        name: NODE.to_owned(),
        addresses: vec![IpAddr::V4(Ipv4Addr::new(172, 18, 0, 11))],
        pod_cidrs: vec!["10.10.1.0/24".parse().expect("a valid range")],
    }
}

/// The pods of the lab's node.
pub fn pod_plans() -> Vec<PodPlan> {
    let plan = |service_number, replica| PodPlan {
        ports: vec![(Protocol::Tcp, port_for(service_number, 0))],
        addresses: vec![service_address(service_number, replica)],
        ..PodPlan::new(PLATFORM, format!("{}-{replica}", service(service_number)), NODE)
    };
    (0..SERVICES).flat_map(|service| (0..REPLICAS_OF_A_SERVICE).map(move |replica| plan(service, replica))).collect()
}

/// The whole cluster: name and text of each file.
pub fn files() -> Vec<(String, String)> {
    let mut files = vec![("nodes.yaml".to_owned(), nodes()), ("namespaces.yaml".to_owned(), namespaces())];
    for number in 0..TEAMS {
        let pods = tenants().filter(|tenant| tenant.team == number);
        files.push((format!("pods/{}.yaml", team(number)), pods.map(tenant_manifest).collect()));
    }
    files.push((format!("pods/{PLATFORM}.yaml"), platform_pods()));
    files.push((format!("policies/{PLATFORM}.yaml"), isolation()));
    for number in 0..SERVICES {
        files.push((format!("policies/{}.yaml", service(number)), policies(number)));
    }
    files
}

fn nodes() -> String {
    let manifest = |name: &str, address: IpAddr, range: &str| {
        format!(
            "---\napiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\nspec:\n  podCIDR: {range}\n  podCIDRs: [{range}]\n\
             status:\n  addresses:\n    - {{type: InternalIP, address: {address}}}\n    - {{type: Hostname, address: {name}}}\n"
        )
    };
    let own = node_plan();
    let mut text = manifest(NODE, own.addresses[0], &own.pod_cidrs[0].to_string());
    for number in 0..WORKERS {
        let address = Ipv4Addr::new(172, 19, (number / 250) as u8, (number % 250 + 1) as u8);
        let range = format!("10.{}.{}.0/24", 64 + number / 256, number % 256);
        text += &manifest(&worker(number), address.into(), &range);
    }
    text
}

fn namespaces() -> String {
    let manifest = |name: &str, labels: &str| {
        format!("---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels: {{{labels}}}\n")
    };
    let teams = (0..TEAMS).map(|number| manifest(&team(number), &format!("kind: tenant, team: {}", team(number))));
    teams.chain([manifest(PLATFORM, "kind: platform")]).collect()
}

fn tenant_manifest(tenant: Tenant) -> String {
    let (app, role, address) = (app(tenant.app), ROLES[tenant.app % ROLES.len()], tenant.address());
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {}\n  namespace: {}\n  labels:\n    app: {app}\n    role: {role}\n    \
         pod-template-hash: 6c9f7d5b84\nspec:\n  nodeName: {}\n  serviceAccountName: {app}\n  containers:\n    - name: main\n      \
         image: example/{app}:1.4.2\n      ports:\n        - {{name: http, containerPort: 8080}}\n        \
         - {{name: metrics, containerPort: 9090}}\nstatus:\n  phase: Running\n  podIP: {address}\n  podIPs:\n    - ip: {address}\n",
        tenant.name(),
        team(tenant.team),
        tenant.node(),
    )
}

fn platform_pods() -> String {
    let mut text = String::new();
    for plan in pod_plans() {
        let (service, address) = (plan.name.rsplit_once('-').map_or("", |(service, _)| service), plan.addresses[0]);
        let (name, port) = (&plan.name, plan.ports[0].1);
        text += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: {PLATFORM}\n  labels: {{service: {service}}}\n\
             spec:\n  nodeName: {NODE}\n  containers:\n    - name: main\n      image: example/{service}:2.0.0\n      \
             ports: [{{containerPort: {port}}}]\nstatus:\n  phase: Running\n  podIP: {address}\n  podIPs: [{{ip: {address}}}]\n"
        );
    }
    text
}

/// Nothing of the platform accepts or says anything that no other policy allows.
fn isolation() -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: closed\n  namespace: {PLATFORM}\nspec:\n  \
         podSelector: {{}}\n  policyTypes: [Ingress, Egress]\n"
    )
}

/// The policies of one service: one a team and direction with a rule a role, and one a direction for its partners.
fn policies(number: usize) -> String {
    let mut text = String::new();
    for other in 0..TEAMS {
        if accepts(number, other) {
            let rule = |role| team_rule(other, role, "from", &format!("port: {}", port_for(number, role)));
            text += &policy(number, &format!("from-{}", team(other)), "ingress", (0..ROLES.len()).map(rule));
        }
        if speaks_to(number, other) {
            let port = |role| if role == 0 { "port: metrics".to_owned() } else { format!("port: {}", port_of(role)) };
            let rule = |role| team_rule(other, role, "to", &port(role));
            text += &policy(number, &format!("to-{}", team(other)), "egress", (0..ROLES.len()).map(rule));
        }
    }
    for (egress, direction, peers) in [(false, "ingress", "from"), (true, "egress", "to")] {
        let rules = (0..PARTNER_RULES).map(|rule| {
            let networks = (0..NETWORKS_OF_A_RULE).map(|network| Partner { egress, service: number, rule, network });
            let port = Partner { egress, service: number, rule, network: 0 }.port();
            let blocks: String = networks.map(Partner::manifest).collect();
            // A range of two ports each: what begins at an even number is one flow, at an odd one two.
            format!("    - {peers}:\n{blocks}      ports: [{{protocol: TCP, port: {port}, endPort: {}}}]\n", port + 1)
        });
        text += &policy(number, &format!("partners-{direction}"), direction, rules);
    }
    text
}

fn team_rule(other: usize, role: usize, peers: &str, port: &str) -> String {
    format!(
        "    - {peers}:\n        - namespaceSelector: {{matchLabels: {{team: {}}}}}\n          \
         podSelector: {{matchLabels: {{role: {}}}}}\n      ports: [{{protocol: TCP, {port}}}]\n",
        team(other),
        ROLES[role]
    )
}

fn policy(number: usize, name: &str, direction: &str, rules: impl Iterator<Item = String>) -> String {
    let service = service(number);
    let kind = if direction == "ingress" { "Ingress" } else { "Egress" };
    let mut text = format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {service}-{name}\n  namespace: {PLATFORM}\n\
         spec:\n  podSelector: {{matchLabels: {{service: {service}}}}}\n  policyTypes: [{kind}]\n  {direction}:\n"
    );
    for rule in rules {
        let _ = write!(text, "{rule}"); // writing to a String does not fail
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cluster::read_texts;

    #[test]
    fn every_tenant_has_an_address_of_its_own() {
        let addresses: BTreeSet<IpAddr> = tenants().map(Tenant::address).collect();
        assert_eq!(addresses.len(), TEAMS * APPS * REPLICAS);
        assert!(
            addresses.iter().all(|address| !matches!(address, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 1 | 255)))
        );
    }

    #[test]
    fn every_team_is_named_in_both_directions() {
        for team in 0..TEAMS {
            assert!((0..SERVICES).any(|service| accepts(service, team)));
            assert!((0..SERVICES).any(|service| speaks_to(service, team)));
        }
    }

    #[test]
    fn the_manifests_are_such_as_a_cluster_has() {
        let files =
            files().into_iter().filter(|(name, _)| !name.starts_with("pods/team-") || name.ends_with("-00.yaml"));
        let manifests = read_texts(files.collect());
        assert_eq!(manifests.invalid, Vec::<String>::new());
        assert!(manifests.skipped_kinds.is_empty());
        let policies =
            manifests.files.iter().flat_map(|file| &file.objects).filter(|object| object.kind() == "NetworkPolicy");
        assert_eq!(policies.count(), 1 + SERVICES * (2 * TEAMS / EVERY + 2));
    }

    #[test]
    fn partner_networks_are_apart_and_have_holes() {
        let partners = (0..SERVICES).flat_map(|service| {
            [false, true]
                .into_iter()
                .flat_map(move |egress| (0..Partner::OF_A_SERVICE).map(move |n| Partner::of(service, egress, n)))
        });
        let mut seen = BTreeSet::new();
        for partner in partners {
            assert!(seen.insert(partner.base()));
            let IpAddr::V4(inside) = partner.address(false, 249) else { panic!("IPv4") };
            let inside = u32::from(inside);
            assert_eq!(inside >> 16, partner.base() >> 16);
            assert_ne!(inside >> 8, partner.hole() >> 8);
            assert_ne!(inside >> 6, partner.small_hole() >> 6);
        }
    }
}
