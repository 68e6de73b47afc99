//! Who a certificate is of. On the certificate it is a DNS name below `ferrant.internal`, which is nobody's.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::CertificateError;

const CONTROLLER: &str = "controller.ferrant.internal";
const NODE: &str = ".node.ferrant.internal";
const CLIENT: &str = ".client.ferrant.internal";
/// What is left of a DNS name's 253 bytes.
const LONGEST: usize = 200;

/// Who a certificate is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A controller; all are alike.
    Controller,
    /// The agent of a node.
    Node(String),
    /// Someone who asks: antctl, a person.
    Client(String),
}

impl Role {
    /// The name on the certificate.
    ///
    /// # Errors
    /// When the name does not fit.
    pub fn dns_name(&self) -> Result<String, CertificateError> {
        let checked = |name: &str, suffix: &str| {
            let label = |label: &str| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            };
            if name.len() <= LONGEST && name.split('.').all(label) {
                Ok(format!("{name}{suffix}"))
            } else {
                Err(CertificateError::Name(name.to_owned()))
            }
        };
        match self {
            Self::Controller => Ok(CONTROLLER.to_owned()),
            Self::Node(name) => checked(name, NODE),
            Self::Client(name) => checked(name, CLIENT),
        }
    }

    /// The role that a name on a certificate stands for.
    pub fn of_dns_name(name: &str) -> Option<Self> {
        if name == CONTROLLER {
            return Some(Self::Controller);
        }
        let node = name.strip_suffix(NODE).map(|name| Self::Node(name.to_owned()));
        node.or_else(|| name.strip_suffix(CLIENT).map(|name| Self::Client(name.to_owned())))
    }

    /// The role that a certificate in DER names. Whether it may, who has issued it must know.
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::DNSName(name) => Self::of_dns_name(name),
            _ => None,
        })
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Controller => formatter.write_str("a controller"),
            Self::Node(name) => write!(formatter, "node {name}"),
            Self::Client(name) => write!(formatter, "client {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_to_a_certificate_and_back() {
        for role in [Role::Controller, Role::Node("node-a.example".to_owned()), Role::Client("ann".to_owned())] {
            assert_eq!(Role::of_dns_name(&role.dns_name().unwrap()), Some(role));
        }
        assert_eq!(Role::of_dns_name("example.com"), None);
        for wrong in ["", "Node", "a..b", "-a", &"a".repeat(201), "a/b"] {
            assert!(Role::Node(wrong.to_owned()).dns_name().is_err(), "{wrong}");
        }
        // A node's name cannot pass for a controller's or a client's.
        let node = Role::Node("x.client.ferrant.internal".to_owned()).dns_name().unwrap();
        assert!(matches!(Role::of_dns_name(&node), Some(Role::Node(_))));
    }
}
