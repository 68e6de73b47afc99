//! The words of the Container Network Interface (CNI) and of the small protocol between Ferrant's plugin and its agent.
//!
//! What a runtime hands to the plugin (`NetworkConfiguration` from standard input, `Command` from the environment) is parsed
//! here, at the door, into types that hold only valid values; what the plugin answers (`AddResult`, `CniError`, the version
//! document) is rendered here for the version the configuration names. Strings in, values out: no file, socket or process.
//!
//! Source: the CNI specification, versions 0.4.0, 1.0.0 and 1.1.0 (`SPEC.md` of containernetworking/cni).

mod configuration;
mod environment;
mod error;
mod mac;
mod protocol;
mod result;
mod version;

pub use configuration::{DEFAULT_AGENT_SOCKET, NetworkConfiguration, Requested};
pub use environment::{Attach, Check, Command, Detach, PodArguments};
pub use error::{CniError, ErrorCode};
pub use mac::{InvalidMacAddress, MacAddress};
pub use protocol::{
    ADD_PATH, AddRequest, AttachmentName, CHECK_PATH, COLLECT_PATH, CONFIRM_PATH, CheckRequest, CollectRequest,
    ConfirmRequest, DELETE_PATH, DETACHED_FOLDER, DelRequest, Plan, PlannedAddress, PlannedRoute, STATUS_PATH,
    detached_file,
};
pub use result::{
    AddResult, PreviousAddress, PreviousInterface, PreviousResult, ResultAddress, ResultInterface, ResultRoute,
};
pub use version::{SpecVersion, version_document};
