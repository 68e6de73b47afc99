//! What policies mean: a cluster's raw objects and a packet give a verdict, and the rules or isolations that gave it.
//!
//! It is the plain reading of the NetworkPolicy API, one rule of the text after the other, with nothing precomputed. The
//! oracle of the tests and the engine of `antctl why` and `preview` ask it. It is not how policy is enforced, is not fast
//! (it looks at every object for every packet), and shares no selector, port or address code with what enforces.
//!
//! How a packet passes through [`evaluate`]:
//!
//! 1. `party` finds out who source and destination are: a pod, a node, or an address outside.
//! 2. A pod that sends in another's name is stopped: [`Decision::DeniedSpoof`].
//! 3. A pod that talks to itself never leaves itself, and what a node sends to its own pods always passes.
//! 4. `direction` asks the policies that isolate the source for egress, and those that isolate the destination for
//!    ingress. Both must allow. Each direction says which rules allowed, or which policies isolated.
//!
//! [`Construct`] names every rule of the reading; [`evaluate_without`] gives the verdict of a world that lacks one of them,
//! so that a test can count how often each one matters.
//!
//! Objects are taken as [`apis::kubernetes::validate`](mod@apis::kubernetes::validate) accepts them. What does not parse all
//! the same (a range, an operator) matches nothing.
//!
//! The text that each rule follows is cited where the rule is:
//! - the concept: <https://kubernetes.io/docs/concepts/services-networking/network-policies/>
//! - the API: <https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/>
//! - KEP-2079 (endPort): <https://github.com/kubernetes/enhancements/tree/master/keps/sig-network/2079-network-policy-port-range>
//! - KEP-2161 (namespaces by name): <https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/2161-apiserver-default-labels>
//!
//! Kinds with tiers, with Pass and with Reject come later: [`Decision`] and [`Outcome`] are open enums, and a direction is
//! decided in one place (`direction`), where a tier before the NetworkPolicies would be asked first.

mod cluster;
mod construct;
mod direction;
mod packet;
mod party;
mod peer;
mod port;
mod selector;
mod verdict;

pub use cluster::{Cluster, PodKey};
pub use construct::Construct;
pub use packet::{Endpoint, Family, Packet, Protocol};
pub use party::Unanswerable;
pub use verdict::{Class, Decision, Outcome, Verdict};

use party::{Party, Who};

/// Says what becomes of a connection's first packet.
pub fn evaluate(cluster: &Cluster, packet: &Packet) -> Result<Verdict, Unanswerable> {
    Reading { cluster, lacks: None }.verdict(packet)
}

/// Says what would become of it if policies lacked one construct.
pub fn evaluate_without(cluster: &Cluster, packet: &Packet, lacks: Construct) -> Result<Verdict, Unanswerable> {
    Reading { cluster, lacks: Some(lacks) }.verdict(packet)
}

/// The constructs without which the outcome would be another.
pub fn decisive(cluster: &Cluster, packet: &Packet) -> Result<Vec<Construct>, Unanswerable> {
    let outcome = evaluate(cluster, packet)?.outcome;
    let flips =
        |lacks: &Construct| evaluate_without(cluster, packet, *lacks).is_ok_and(|without| without.outcome != outcome);
    Ok(Construct::ALL.into_iter().filter(flips).collect())
}

/// A reading of the policies: all of them as written, or with one construct missing.
#[derive(Clone, Copy)]
struct Reading<'a> {
    cluster: &'a Cluster,
    lacks: Option<Construct>,
}

impl<'a> Reading<'a> {
    /// Whether this reading knows a construct.
    fn knows(self, construct: Construct) -> bool {
        self.lacks != Some(construct)
    }

    fn verdict(self, packet: &Packet) -> Result<Verdict, Unanswerable> {
        let source = self.source(packet)?;
        let destination = self.destination(packet)?;
        if source.spoofs && self.knows(Construct::SpoofGuard) {
            return Ok(Verdict::of(Decision::DeniedSpoof, Decision::NotApplicable));
        }
        if self.is_to_itself(&source, &destination) {
            return Ok(Verdict::of(Decision::NotApplicable, Decision::NotApplicable));
        }
        let egress = self.egress(&source, &destination, packet);
        let ingress = match self.is_host_origin(&source, &destination) {
            true => Decision::AllowedHostOrigin,
            false => self.ingress(&source, &destination, packet),
        };
        Ok(Verdict::of(egress, ingress))
    }

    /// No policy keeps a pod from itself (concept, the exception to the entities a pod can communicate with).
    fn is_to_itself(self, source: &Party<'a>, destination: &Party<'a>) -> bool {
        match (source.who, destination.who) {
            (Who::Pod(source), Who::Pod(destination)) => {
                std::ptr::eq(source, destination) && self.knows(Construct::TrafficToOneself)
            }
            _ => false,
        }
    }

    /// The concept's other exception: a pod's traffic from and to its node is always allowed. This network keeps *from*: what
    /// the node itself sends to its own pods, kubelet's probes above all. A pod's connection *to* its own node meets egress
    /// policy as one to any address does, or no policy could keep pods from the services of their node.
    fn is_host_origin(self, source: &Party<'a>, destination: &Party<'a>) -> bool {
        match (source.who, destination.who) {
            (Who::Node(node), Who::Pod(pod)) => {
                pod.spec.node_name.as_deref() == Some(node) && self.knows(Construct::HostOrigin)
            }
            _ => false,
        }
    }
}
