//! Whether what a packet carries is among the ports that a rule names.

use apis::kubernetes::{IntOrString, NetworkPolicyPort, Pod};

use crate::party::{Party, Who};
use crate::{Construct, Protocol, Reading};

impl<'a> Reading<'a> {
    /// An empty or missing list restricts nothing: every port and every protocol passes, ICMP too. A list names ports of
    /// TCP, UDP or SCTP, so ICMP is never among them (API, `ports`).
    pub(crate) fn ports_match(self, ports: &[NetworkPolicyPort], protocol: Protocol, destination: &Party<'a>) -> bool {
        if ports.is_empty() {
            return self.knows(Construct::EmptyPortList);
        }
        if !self.knows(Construct::PortList) {
            return true;
        }
        match protocol.named() {
            Some((protocol, number)) => ports.iter().any(|port| self.port_matches(port, protocol, number, destination)),
            None => !self.knows(Construct::PortListIsNotIcmp),
        }
    }

    fn port_matches(self, port: &NetworkPolicyPort, protocol: &str, number: u16, destination: &Party<'a>) -> bool {
        // A missing protocol means TCP (API, `protocol`).
        let wanted = match port.protocol.as_deref() {
            None | Some("") if !self.knows(Construct::DefaultProtocol) => protocol,
            None | Some("") => "TCP",
            Some(wanted) => wanted,
        };
        let unknown = wanted == "UDP" && !self.knows(Construct::ProtocolUdp)
            || wanted == "SCTP" && !self.knows(Construct::ProtocolSctp);
        if unknown || wanted != protocol {
            return false;
        }
        match (&port.port, port.end_port.filter(|_| self.knows(Construct::EndPort))) {
            // A missing port means every port of the protocol (API, `port`).
            (None, _) => true,
            (Some(IntOrString::Int(first)), None) => i32::from(number) == *first,
            // Both ends of the range belong to it (API, `endPort`; KEP-2079).
            (Some(IntOrString::Int(first)), Some(last)) => (*first..=last).contains(&i32::from(number)),
            (Some(IntOrString::String(name)), _) => match destination.who {
                Who::Pod(pod) => self.knows(Construct::NamedPort) && self.named_port_is(pod, name, wanted, number),
                Who::Node(_) | Who::Outside => false,
            },
        }
    }

    /// A name is that of a port of a pod (API, `port`): it is looked up in the pod that receives, so it can be another number
    /// in every pod, and counts with the declared protocol only. Two containers may use one name: each of their ports is
    /// meant. Sidecars serve as containers do (KEP-753); other init containers have ended before the pod serves.
    fn named_port_is(self, pod: &Pod, name: &str, protocol: &str, number: u16) -> bool {
        let sidecars = pod.spec.init_containers.iter().filter(|container| {
            container.restart_policy.as_deref() == Some("Always") && self.knows(Construct::NamedPortOfSidecar)
        });
        let ports = pod.spec.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
        let of_protocol =
            |declared: Option<&str>| declared.unwrap_or("TCP") == protocol || !self.knows(Construct::NamedPortProtocol);
        ports
            .filter(|port| port.name.as_deref() == Some(name) && of_protocol(port.protocol.as_deref()))
            .any(|port| port.container_port == i32::from(number))
    }
}
