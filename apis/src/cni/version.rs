//! Versions of the CNI specification, and the answer to VERSION.

use std::fmt;

use serde_json::{Value, json};

use super::{CniError, ErrorCode};

/// A version of the specification that the plugin speaks. Older ones (0.1.0 to 0.3.1) lack what an answer needs and are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecVersion {
    /// 0.4.0: results name the IP family of every address.
    V0_4_0,
    /// 1.0.0: that name is gone.
    V1_0_0,
    /// 1.1.0: interfaces carry their MTU.
    V1_1_0,
}

impl SpecVersion {
    /// Every version spoken, oldest first.
    pub const ALL: [SpecVersion; 3] = [SpecVersion::V0_4_0, SpecVersion::V1_0_0, SpecVersion::V1_1_0];
    /// What an answer says when the question names no version that is spoken.
    pub const CURRENT: SpecVersion = SpecVersion::V1_1_0;

    /// As a configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            SpecVersion::V0_4_0 => "0.4.0",
            SpecVersion::V1_0_0 => "1.0.0",
            SpecVersion::V1_1_0 => "1.1.0",
        }
    }

    /// The version a configuration asks for; none means 0.1.0, as the specification says.
    pub fn parse(version: Option<&str>) -> Result<SpecVersion, CniError> {
        let text = version.unwrap_or("0.1.0");
        if let Some(found) = SpecVersion::ALL.into_iter().find(|known| known.as_str() == text) {
            return Ok(found);
        }
        let spoken = SpecVersion::ALL.map(SpecVersion::as_str).join(", ");
        let how = if version.is_none() { " (which a configuration without \"cniVersion\" means)" } else { "" };
        Err(CniError::new(
            ErrorCode::INCOMPATIBLE_VERSION,
            format!("CNI version {text:?}{how} is not supported"),
            format!("write one of these as \"cniVersion\" in the network configuration: {spoken}"),
        ))
    }

    /// The version an input names, however wrong the rest of it is, so that an error can be answered in the reader's version.
    pub fn of_input(input: &[u8]) -> SpecVersion {
        #[derive(serde::Deserialize)]
        struct Named {
            #[serde(rename = "cniVersion")]
            version: Option<String>,
        }
        let named = serde_json::from_slice::<Named>(input).ok().and_then(|named| named.version);
        named.and_then(|version| SpecVersion::parse(Some(&version)).ok()).unwrap_or(SpecVersion::CURRENT)
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The answer to CNI_COMMAND=VERSION, in the version the input named.
pub fn version_document(version: SpecVersion) -> Value {
    json!({
        "cniVersion": version.as_str(),
        "supportedVersions": SpecVersion::ALL.map(SpecVersion::as_str),
    })
}
