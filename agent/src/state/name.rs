//! The names of things, one type a kind, so that a mix-up does not compile.
//!
//! Content hashes come from the controller and mean nothing here but equality; a pod is named by its namespace and name.

use std::fmt;

/// The length of a content hash on the wire.
pub const HASH_LENGTH: usize = 16;

macro_rules! content_hash {
    ($(#[doc = $doc:literal])+ $name:ident) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; HASH_LENGTH]);

        impl $name {
            /// From the wire; `None` when it does not have the length of a content hash.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }
    };
}

content_hash! {
    /// A set of endpoints that no policy can tell apart.
    IdentityId
}
content_hash! {
    /// A selector's result: a set of identities.
    GroupId
}
content_hash! {
    /// A rule, by its content.
    RuleId
}
content_hash! {
    /// A direction and the group that is isolated in it.
    IsolationId
}

/// A pod by namespace and name, in one allocation: names are kept by the ten thousand.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// `namespace/name`; neither part can hold a slash (RFC 1123 names).
    text: Box<str>,
}

impl PodKey {
    /// A pod's key. The namespace is what stands before the first slash.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { text: format!("{namespace}/{name}").into() }
    }

    /// From `namespace/name`; `None` when there is no slash or an empty part.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains('/')).then(|| Self { text: text.into() })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.text.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The name within the namespace.
    pub fn name(&self) -> &str {
        self.text.split_once('/').map_or(&self.text, |(_, name)| name)
    }

    /// `namespace/name`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for PodKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}
