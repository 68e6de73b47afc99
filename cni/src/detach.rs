//! DEL: the pod's half goes, then the agent forgets. Done again, or done without the namespace, it does what is left to do.

use apis::cni::{CniError, DelRequest, Detach, ErrorCode, NetworkConfiguration};

use crate::agent::Agent;
use crate::interface;
use crate::namespace::Namespace;

/// Takes the container's interface away. Both halves are tried, so that one that fails leaves as little as possible.
pub(crate) fn detach(configuration: &NetworkConfiguration, request: &Detach) -> Result<(), CniError> {
    let pod = remove_interface(request);
    let agent = Agent::at(&configuration.agent_socket)
        .delete(&DelRequest { container_id: request.container_id.clone(), interface: request.interface.clone() });
    pod.and(agent.map_err(CniError::from))
}

fn remove_interface(request: &Detach) -> Result<(), CniError> {
    let Some(path) = &request.network_namespace else { return Ok(()) };
    let Some(pod) = Namespace::if_there(path)? else { return Ok(()) };
    // The namespace of the plugin itself holds no pod: an interface of that name there is the node's.
    if pod.is_same(&Namespace::current()?) {
        return Ok(());
    }
    pod.inside(|| interface::remove(&request.interface))?.map(drop).map_err(|error| {
        CniError::new(
            ErrorCode::POD_SETUP_FAILED,
            format!("container {}: {error}", request.container_id),
            format!("in network namespace {}", path.display()),
        )
    })
}
