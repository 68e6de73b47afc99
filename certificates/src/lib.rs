//! Who may speak to whom, outside Kubernetes: a small CA that the controllers of a cluster share, certificates that it issues, and
//! TLS connections on which both ends show one.
//!
//! ```text
//!  Authority (ca.crt, ca.key) ─► issue ─► the folder of a node or client (ca.crt, identity.pem) ─► Identity ═TLS═► Acceptor
//!       └─► a controller's own certificate, in memory, renewed by itself ────────────────────────────────────────────┘
//!
//!  renewal: Request (a new key) ─► whoever has the Authority signs ─► a new identity.pem, in the old one's place
//! ```
//!
//! A certificate names a [`Role`]; nobody is known by an address. What a role may do is not decided here.
//!
//! `identity.pem` holds a certificate and its key, in one file, so that a renewal replaces both or neither.

mod accept;
mod authority;
mod connect;
mod file;
mod identity;
mod lifetime;
mod refused;
mod role;
mod validity;

pub use accept::Acceptor;
pub use authority::{Authority, Created};
pub use connect::{Connected, Refusal};
pub use identity::{Identity, Request};
pub use lifetime::lifetime;
pub use refused::Refused;
pub use role::Role;
pub use validity::Validity;

use std::path::{Path, PathBuf};

/// The CA's certificate: beside its key, and in the folder of everyone who trusts it.
pub const CA_CERTIFICATE: &str = "ca.crt";
/// The CA's key, which never leaves its folder.
pub const CA_KEY: &str = "ca.key";
/// The certificate and the key of a node or client.
pub const IDENTITY: &str = "identity.pem";

/// What is wrong with a certificate or a key, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file.
    #[error("{}: {what}; {what_to_do}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What to do.
        what_to_do: String,
    },
    /// A name that no certificate can carry.
    #[error(
        "`{0}` is no name for --node or --client; write lower-case letters, digits, '-' and '.', at most 200 characters"
    )]
    Name(String),
    /// A request for a certificate.
    #[error("the request for a certificate is not understood: {0}; make it with this version's agent")]
    Request(String),
    /// A renewed certificate.
    #[error("the renewed certificate is not taken: {0}; the present one stays")]
    Renewed(String),
    /// A certificate could not be made.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// A connection was not made.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl CertificateError {
    fn file(path: &Path, what: impl ToString, what_to_do: impl ToString) -> Self {
        Self::File { path: path.to_owned(), what: what.to_string(), what_to_do: what_to_do.to_string() }
    }
}

/// The one provider of cryptography, whatever else is linked in.
fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::ring::default_provider())
}
