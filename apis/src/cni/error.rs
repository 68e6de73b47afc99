//! The error a CNI plugin answers, and the codes it may carry.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::SpecVersion;

/// A CNI error code: 1 to 99 are the specification's ("Well-known Error Codes"), from 100 up Ferrant's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// The configuration's CNI version is not spoken.
    pub const INCOMPATIBLE_VERSION: ErrorCode = ErrorCode(1);
    /// A field of the configuration asks for what the plugin does not do; the message names key and value.
    pub const UNSUPPORTED_FIELD: ErrorCode = ErrorCode(2);
    /// The container does not exist; the runtime need not clean up after it.
    pub const UNKNOWN_CONTAINER: ErrorCode = ErrorCode(3);
    /// A necessary environment variable is missing or wrong; the message names it.
    pub const INVALID_ENVIRONMENT: ErrorCode = ErrorCode(4);
    /// Reading or writing failed, standard input for one.
    pub const IO_FAILURE: ErrorCode = ErrorCode(5);
    /// The input is not JSON of the expected shape.
    pub const UNDECODABLE: ErrorCode = ErrorCode(6);
    /// The configuration was read and is wrong.
    pub const INVALID_CONFIGURATION: ErrorCode = ErrorCode(7);
    /// Not now; the runtime should ask again.
    pub const TRY_AGAIN_LATER: ErrorCode = ErrorCode(11);
    /// STATUS: no ADD can be done.
    pub const NOT_AVAILABLE: ErrorCode = ErrorCode(50);
    /// STATUS: no ADD can be done, and pods that are attached may not reach all they should.
    pub const LIMITED_CONNECTIVITY: ErrorCode = ErrorCode(51);
    /// The kernel refused a step of the pod's half.
    pub const POD_SETUP_FAILED: ErrorCode = ErrorCode(100);
    /// No address is left in the node's pod ranges; the message names them.
    pub const ADDRESSES_EXHAUSTED: ErrorCode = ErrorCode(101);
    /// The agent could not do its half, or answered what is not its protocol.
    pub const AGENT_FAILED: ErrorCode = ErrorCode(102);
    /// CHECK: something that ADD made is gone or has changed.
    pub const NOT_AS_MADE: ErrorCode = ErrorCode(103);
}

/// What went wrong, in the words a runtime logs. The agent answers it as it is, the plugin adds the version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}{}{details} (CNI code {})", if details.is_empty() { "" } else { ": " }, code.0)]
pub struct CniError {
    /// What kind of error.
    pub code: ErrorCode,
    /// What is wrong, naming the object.
    #[serde(rename = "msg")]
    pub message: String,
    /// Why, and what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl CniError {
    /// An error of that code.
    pub fn new(code: ErrorCode, message: impl Into<String>, details: impl Into<String>) -> CniError {
        CniError { code, message: message.into(), details: details.into() }
    }

    /// The document a plugin prints (specification section 5, "Error").
    pub fn document(&self, version: SpecVersion) -> Value {
        let mut document = json!({ "cniVersion": version.as_str(), "code": self.code.0, "msg": self.message });
        if !self.details.is_empty() {
            document["details"] = Value::from(self.details.as_str());
        }
        document
    }
}
