//! ADD: the agent plans, the pod's half is made, the agent confirms. What fails takes back what was made before it.

use apis::cni::{
    AddRequest, AddResult, Attach, CniError, ConfirmRequest, DelRequest, ErrorCode, NetworkConfiguration, Plan,
};

use crate::agent::{Agent, Heard};
use crate::interface;
use crate::namespace::Namespace;
use crate::offload;

/// Gives the container its interface; the answer says what it got.
pub(crate) fn attach(configuration: &NetworkConfiguration, request: &Attach) -> Result<AddResult, CniError> {
    configuration.refuse_unsupported()?;
    let planning = planning(configuration, request)?;
    // Before anyone is asked for anything: without the namespace there is nothing to attach, and nothing to clean up.
    let pod = Namespace::of_pod(&request.network_namespace)?;
    let node = Namespace::current()?;
    pod.refuse_same(&node)?;

    let mut agent = Agent::at(&configuration.agent_socket);
    let plan = agent.add(&planning).map_err(|failure| match failure.heard {
        Heard::Perhaps => forget(&mut agent, request, failure.error),
        // A plan refused is nothing reserved, and a DEL could hit what is attached already.
        Heard::Nothing | Heard::Refused => failure.error,
    })?;
    // The runtime sends DEL after a failed ADD, but need not.
    make_interface(&plan, request, &pod, &node).map_err(|error| forget(&mut agent, request, error))?;
    let key = ConfirmRequest { container_id: request.container_id.clone(), interface: request.interface.clone() };
    let result = agent.confirm(&key).map_err(|failure| {
        let error = match pod.inside(|| interface::remove(&request.interface)) {
            Ok(Ok(_)) => failure.error,
            Ok(Err(left)) => also(failure.error, &left.to_string()),
            Err(left) => also(failure.error, &left.message),
        };
        forget(&mut agent, request, error)
    })?;
    // The agent has brought the other end up. Where this does not work the kernel does it itself, a moment later.
    let _ = pod.inside(|| offload::take_carrier(&request.interface));
    Ok(result)
}

fn planning(configuration: &NetworkConfiguration, request: &Attach) -> Result<AddRequest, CniError> {
    let requested = configuration.requested(&request.pod)?;
    Ok(AddRequest {
        container_id: request.container_id.clone(),
        interface: request.interface.clone(),
        network_namespace: request.network_namespace.clone(),
        network: configuration.name.clone(),
        pod_namespace: request.pod.namespace.clone(),
        pod_name: request.pod.name.clone(),
        pod_uid: request.pod.uid.clone(),
        requested_addresses: requested.addresses,
        requested_mac: requested.mac,
    })
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

/// Tells the agent that the attachment will not be. One that does not hear it sees this connection end, or has ended itself; and
/// the runtime sends DEL.
fn forget(agent: &mut Agent, request: &Attach, error: CniError) -> CniError {
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
