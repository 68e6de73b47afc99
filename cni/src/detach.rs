//! DEL: the agent takes flows, port and the node's end away, and with that end goes the pod's; what is left in the pod goes then.
//! Done again, or done without the namespace, it does what is left to do.
//!
//! In this order the agent knows of it before the interface is gone: a device that vanishes without DEL is somebody else's work.
//!
//! Without an agent it still succeeds: the pod's end goes, and what the agent has to do is left to it in a file
//! ([`crate::absent`]). The addresses stay held until the agent has done it, so nothing is lost but time; a runtime that were told
//! to try again could not end a pod for as long as the agent is away.

use apis::cni::{CniError, DelRequest, Detach, ErrorCode, NetworkConfiguration};

use crate::absent::Note;
use crate::agent::{Agent, Heard};
use crate::interface::{self, InterfaceError};
use crate::namespace::Namespace;

/// Takes the container's interface away. Both halves are tried, so that one that fails leaves as little as possible.
pub(crate) fn detach(configuration: &NetworkConfiguration, request: &Detach) -> Result<(), CniError> {
    let told = tell(configuration, request);
    remove_interface(request).and(told)
}

fn tell(configuration: &NetworkConfiguration, request: &Detach) -> Result<(), CniError> {
    let socket = &configuration.agent_socket;
    let detached = DelRequest { container_id: request.container_id.clone(), interface: request.interface.clone() };
    match Agent::at(socket).delete(&detached) {
        Ok(()) => return Ok(()),
        Err(failure) if failure.heard == Heard::Refused => return Err(failure.error),
        Err(_) => {}
    }
    let note = Note::write(socket, &detached)?;
    // An agent that came up meanwhile may have looked for notes before this one was there. One that listens now is asked; one
    // that listens later looks later.
    match Agent::there_now(socket).delete(&detached) {
        Ok(()) => {
            note.remove();
            Ok(())
        }
        Err(failure) if failure.heard == Heard::Refused => Err(failure.error),
        Err(_) => Ok(()),
    }
}

fn remove_interface(request: &Detach) -> Result<(), CniError> {
    let Some(path) = &request.network_namespace else { return Ok(()) };
    let Some(pod) = Namespace::if_there(path)? else { return Ok(()) };
    // The namespace of the plugin itself holds no pod: an interface of that name there is the node's.
    if pod.is_same(&Namespace::current()?) {
        return Ok(());
    }
    match pod.inside(|| interface::remove(&request.interface))? {
        // What this plugin made is not there any more, and what has taken its name is not ours.
        Ok(_) | Err(InterfaceError::NotOurs { .. }) => Ok(()),
        Err(error) => Err(CniError::new(
            ErrorCode::POD_SETUP_FAILED,
            format!("container {}: {error}", request.container_id),
            format!("in network namespace {}", path.display()),
        )),
    }
}
