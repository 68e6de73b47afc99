//! GC and STATUS: questions that the agent answers.

use apis::cni::{CniError, CollectRequest, ErrorCode, NetworkConfiguration};

use crate::agent::{Agent, Heard};

/// GC: attachments of this network that the runtime does not list are to go.
pub(crate) fn collect(configuration: &NetworkConfiguration) -> Result<(), CniError> {
    let request = CollectRequest { network: configuration.name.clone(), valid: configuration.valid_attachments()? };
    Ok(Agent::at(&configuration.agent_socket).collect(&request)?)
}

/// STATUS: whether an ADD could be done now. An agent that is away attaches nothing; what is attached goes on as it is.
pub(crate) fn status(configuration: &NetworkConfiguration) -> Result<(), CniError> {
    configuration.refuse_unsupported()?;
    Agent::there_now(&configuration.agent_socket).status().map_err(|failure| match failure.heard {
        Heard::Refused => failure.error,
        Heard::Nothing | Heard::Perhaps => CniError { code: ErrorCode::NOT_AVAILABLE, ..failure.error },
    })
}
