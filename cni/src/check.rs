//! CHECK: what ADD made is still there, in the pod, in the agent's books and in the switch.
//!
//! The agent says what it made and finds its own half in order or not; the previous result, which the runtime keeps, says what
//! the chain answered; the pod's namespace says what is. What a later plugin of the chain has added or changed is its own.

use apis::cni::{Check, CheckRequest, CniError, ErrorCode, NetworkConfiguration, Plan, PreviousResult};

use crate::agent::Agent;
use crate::inspect;
use crate::namespace::Namespace;

/// Success, or what is not as it was made.
pub(crate) fn check(configuration: &NetworkConfiguration, request: &Check) -> Result<(), CniError> {
    let previous = configuration.previous_result()?;
    let pod = Namespace::of_pod(&request.network_namespace)?;
    let node = Namespace::current()?;
    pod.refuse_same(&node)?;
    let key = CheckRequest { container_id: request.container_id.clone(), interface: request.interface.clone() };
    let plan = Agent::at(&configuration.agent_socket).check(&key)?;
    let mut wrong = compare(&previous, &plan, &request.interface);
    let listed = |destination: &ipnet::IpNet| previous.routes.iter().any(|route| route.destination == *destination);
    let expected =
        Plan { routes: plan.routes.iter().copied().filter(|route| listed(&route.destination)).collect(), ..plan };
    match pod.inside(|| inspect::differences(&expected, &request.interface))? {
        Ok(found) => wrong.extend(found),
        Err(error) => wrong.push(error.to_string()),
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(CniError::new(
        ErrorCode::NOT_AS_MADE,
        format!("container {}, interface {}: {}", request.container_id, request.interface, wrong.join("; ")),
        format!(
            "in network namespace {}; the runtime has to end the pod and start it again",
            request.network_namespace.display()
        ),
    ))
}

/// Where the runtime's word and the agent's differ.
fn compare(previous: &PreviousResult, plan: &Plan, interface: &str) -> Vec<String> {
    let Some(index) = previous.pod_interface(interface) else {
        return vec![format!("prevResult has no interface {interface} in a sandbox")];
    };
    let mut wrong = Vec::new();
    let mac = &previous.interfaces[index].mac;
    if !mac.is_empty() && !mac.eq_ignore_ascii_case(&plan.mac.to_string()) {
        wrong.push(format!("prevResult gives it the MAC {mac}, the agent {}", plan.mac));
    }
    if !previous.interfaces.iter().any(|each| each.name == plan.host_interface && each.sandbox.is_empty()) {
        wrong.push(format!("prevResult does not have its end on the node, {}", plan.host_interface));
    }
    let given: Vec<_> = plan.addresses.iter().map(|planned| planned.address).collect();
    let listed: Vec<_> = previous.addresses_of(index).collect();
    for address in given.iter().filter(|address| !listed.contains(address)) {
        wrong.push(format!("prevResult does not have its address {address}"));
    }
    for address in listed.iter().filter(|address| !given.contains(address)) {
        wrong.push(format!("prevResult gives it {address}, which the agent does not"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::compare;

    fn plan() -> apis::cni::Plan {
        serde_json::from_str(
            r#"{"host_interface":"web-1","mac":"0a:00:00:00:00:07","mtu":1450,"addresses":[{"address":"10.10.1.2/32",
            "gateway":"10.10.1.1","gateway_mac":"0a:00:00:00:00:01"}],"routes":[],"transmit_checksum_offload":true}"#,
        )
        .expect("a plan")
    }

    fn differences(previous: &str) -> Vec<String> {
        compare(&serde_json::from_str(previous).expect("a result"), &plan(), "eth0")
    }

    #[test]
    fn the_runtimes_word_and_the_agents() {
        let right = r#"{"cniVersion":"0.4.0","interfaces":[{"name":"lo","mac":"x"},{"name":"eth0","mac":"0A:00:00:00:00:07","sandbox":"/n"},
            {"name":"web-1"}],"ips":[{"version":"4","address":"10.10.1.2/32","interface":1},{"address":"192.0.2.1/24","interface":0}]}"#;
        assert_eq!(differences(right), [""; 0]);
        for (before, after, part) in [
            ("\"/n\"", "\"\"", "no interface eth0"),
            (":07", ":08", "0A:00:00:00:00:08"),
            ("web-1", "web-2", "web-1"),
            ("10.10.1.2/32", "10.10.1.3/32", "10.10.1.3/32, which the agent does not"),
            ("10.10.1.2/32", "10.10.1.3/32", "not have its address 10.10.1.2/32"),
        ] {
            let found = differences(&right.replace(before, after)).join("; ");
            assert!(found.contains(part), "{after}: {found}");
        }
        assert_eq!(differences("{}"), ["prevResult has no interface eth0 in a sandbox"]);
    }
}
