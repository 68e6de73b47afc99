//! ADD: the agent plans, the pod's half is made, the agent confirms. What fails takes back what was made before it.

use apis::cni::{
    AddRequest, AddResult, Attach, CniError, ConfirmRequest, DelRequest, ErrorCode, NetworkConfiguration, Plan,
};

use crate::agent::Agent;
use crate::interface;
use crate::namespace::Namespace;

/// Gives the container its interface; the answer says what it got.
pub(crate) fn attach(configuration: &NetworkConfiguration, request: &Attach) -> Result<AddResult, CniError> {
    // Before anyone is asked for anything: without the namespace there is nothing to attach, and nothing to clean up.
    let pod = Namespace::of_pod(&request.network_namespace)?;
    let node = Namespace::current()?;
    pod.refuse_same(&node)?;

    let agent = Agent::at(&configuration.agent_socket);
    let plan = agent.add(&planning(configuration, request)).map_err(|failure| {
        // A plan refused is nothing reserved, and a DEL could hit what is attached already.
        if failure.undecided { forget(&agent, request, failure.error) } else { failure.error }
    })?;
    // The runtime sends DEL after a failed ADD, but need not.
    make_interface(&plan, request, &pod, &node).map_err(|error| forget(&agent, request, error))?;
    let key = ConfirmRequest { container_id: request.container_id.clone(), interface: request.interface.clone() };
    agent.confirm(&key).map_err(|failure| {
        let error = match pod.inside(|| interface::remove(&request.interface)) {
            Ok(Ok(_)) => failure.error,
            Ok(Err(left)) => also(failure.error, &left.to_string()),
            Err(left) => also(failure.error, &left.message),
        };
        forget(&agent, request, error)
    })
}

fn planning(configuration: &NetworkConfiguration, request: &Attach) -> AddRequest {
    AddRequest {
        container_id: request.container_id.clone(),
        interface: request.interface.clone(),
        network_namespace: request.network_namespace.clone(),
        pod_namespace: request.pod.namespace.clone(),
        pod_name: request.pod.name.clone(),
        pod_uid: request.pod.uid.clone(),
        requested_addresses: configuration.requested_addresses.clone(),
    }
}

fn make_interface(plan: &Plan, request: &Attach, pod: &Namespace, node: &Namespace) -> Result<(), CniError> {
    let failed = |error: interface::InterfaceError| {
        CniError::new(
            ErrorCode::POD_SETUP_FAILED,
            format!("pod {}/{}: {error}", request.pod.namespace, request.pod.name),
            format!("in network namespace {}", request.network_namespace.display()),
        )
    };
    // Its name is made from the container's id: an interface that has it is what an earlier try for this container left.
    interface::remove(&plan.host_interface).map_err(failed)?;
    pod.inside(|| interface::make(plan, &request.interface, node))?.map_err(failed)
}

/// Tells the agent that the attachment will not be; an agent that does not hear it now will hear the runtime's DEL.
fn forget(agent: &Agent, request: &Attach, error: CniError) -> CniError {
    let request = DelRequest { container_id: request.container_id.clone(), interface: request.interface.clone() };
    match agent.delete(&request) {
        Ok(()) => error,
        Err(left) => also(error, &left.error.to_string()),
    }
}

/// The error, with what could not be taken back after it.
fn also(mut error: CniError, left: &str) -> CniError {
    let separator = if error.details.is_empty() { "" } else { "; " };
    error.details = format!("{}{separator}taking back what was made failed too: {left}", error.details);
    error
}
