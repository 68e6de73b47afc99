//! The node's certificate: a folder (`ca.crt`, `identity.pem`) that an operator has carried here, and whose certificate this agent
//! renews.
//!
//! What was read last stays in force for as long as the folder says nothing better, and each connection looks again: so a
//! renewed certificate, or another that was carried here, counts from the next connection on.

#![allow(clippy::disallowed_methods, reason = "a wrapper: the node's certificate")]

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use certificates::{CertificateError, IDENTITY, Identity, Role, Validity};
use metrics::Gauge;

use crate::config::Config;
use crate::metrics::Metrics;

/// How controllers are reached.
#[derive(Clone)]
pub enum Access {
    /// Over TLS; both ends show certificates.
    Certificates(Certificate),
    /// In the clear.
    Insecure,
}

/// What is wrong with the folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file of it.
    #[error("--certificates: {0}")]
    Certificate(#[from] CertificateError),
    /// It is someone else's.
    #[error(
        "--certificates {}: {IDENTITY} is of {found}, and this agent is node {node}'s; issue one for it: `ferrant-controller certificates \
         issue --certificates CA-DIR --node {node} --out DIR`",
        folder.display()
    )]
    OfAnother {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: Role,
        /// Whose it should be.
        node: String,
    },
}

impl Access {
    /// As the flags say.
    ///
    /// # Errors
    /// When the node's certificate says nothing, or is not this node's.
    pub fn of(config: &Config, metrics: &Metrics) -> Result<Self, FolderError> {
        let Some(folder) = &config.certificates else { return Ok(Self::Insecure) };
        let certificate = Certificate::open(folder, &config.node)?;
        let certificate = Certificate { until: metrics.certificate_until_seconds.clone(), ..certificate };
        certificate.measure(certificate.validity());
        Ok(Self::Certificates(certificate))
    }
}

/// The node's certificate.
#[derive(Clone)]
pub struct Certificate {
    folder: PathBuf,
    node: String,
    held: Arc<Mutex<Held>>,
    until: Gauge,
}

struct Held {
    identity: Identity,
    /// What was last said of the folder; so that it is said once.
    wrong: Option<String>,
}

impl Certificate {
    /// The folder of a node's certificate. One that has expired is none that connects, but the agent has other things to do.
    ///
    /// # Errors
    /// When it says nothing, or is not this node's.
    pub fn open(folder: &Path, node: &str) -> Result<Self, FolderError> {
        let identity = read(folder, node)?;
        let until = identity.validity().until_text();
        if identity.validity().is_over() {
            tracing::error!(folder = %folder.display(), until, "this node's certificate has expired: no controller is reached with it");
        } else {
            tracing::info!(folder = %folder.display(), until, "this node's certificate");
        }
        let held = Arc::new(Mutex::new(Held { identity, wrong: None }));
        Ok(Self { folder: folder.to_owned(), node: node.to_owned(), held, until: Gauge::default() })
    }

    /// What the folder has now; where that is wrong, what it had before.
    pub fn newest(&self) -> Identity {
        let read = read(&self.folder, &self.node);
        let mut held = self.lock();
        match read {
            Ok(identity) => {
                self.measure(identity.validity());
                (held.identity, held.wrong) = (identity, None);
            }
            Err(error) => {
                let wrong = Some(error.to_string());
                if held.wrong != wrong {
                    tracing::error!(%error, "this node's certificate cannot be read; what was read before stays in force");
                    held.wrong = wrong;
                }
            }
        }
        held.identity.clone()
    }

    /// When what was read last counts.
    pub fn validity(&self) -> Validity {
        self.lock().identity.validity()
    }

    /// Takes a renewed certificate, with its key, into the folder: the old ones or the new ones are there, never half of each.
    ///
    /// # Errors
    /// When it cannot be written: the old one stays.
    pub fn keep(&self, text: &str) -> io::Result<()> {
        let new = self.folder.join("identity.new");
        let kept = self.replace(&new, text);
        if kept.is_err() {
            // no fault point: what is left behind is written over the next time
            let _ = fs::remove_file(&new);
        }
        kept.map(|()| drop(self.newest()))
    }

    fn replace(&self, new: &Path, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fault::point("certificate.renew.beside");
        fs::rename(new, self.folder.join(IDENTITY))?;
        fault::point("certificate.renew.renamed");
        // The name is there also after a power failure.
        fs::File::open(&self.folder)?.sync_all()
    }

    fn measure(&self, validity: Validity) {
        let seconds = validity.until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.until.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing that holds the lock leaves it half-changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(folder: &Path, node: &str) -> Result<Identity, FolderError> {
    let identity = Identity::read(folder)?;
    if *identity.role() == Role::Node(node.to_owned()) {
        return Ok(identity);
    }
    let found = identity.role().clone();
    Err(FolderError::OfAnother { folder: folder.to_owned(), found, node: node.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use certificates::{Authority, Request};

    use super::*;

    fn node(name: &str) -> Role {
        Role::Node(name.to_owned())
    }

    #[test]
    fn what_was_read_stays_in_force_until_the_folder_says_something_better() {
        let folder = tempfile::tempdir().unwrap();
        let (ca, own) = (folder.path().join("ca"), folder.path().join("own"));
        Authority::create(&ca).unwrap();
        let authority = Authority::open(&ca).unwrap();
        let (day, week) = (Duration::from_secs(86_400), Duration::from_secs(7 * 86_400));
        let missing = Certificate::open(&own, "node-a").map(drop).unwrap_err().to_string();
        assert!(missing.contains("ca.crt") && missing.contains("certificates issue"), "{missing}");
        authority.issue_to(&own, &node("node-b"), Validity::from_now(day)).unwrap();
        let other = Certificate::open(&own, "node-a").map(drop).unwrap_err().to_string();
        assert!(other.contains("is of node node-b") && other.contains("--node node-a"), "{other}");

        authority.issue_to(&own, &node("node-a"), Validity::from_now(day)).unwrap();
        let certificate = Certificate::open(&own, "node-a").unwrap();
        let first = certificate.validity();
        // Half a file, another node's certificate, none at all.
        let text = fs::read_to_string(own.join(IDENTITY)).unwrap();
        fs::write(own.join(IDENTITY), &text[..text.len() / 2]).unwrap();
        assert_eq!(certificate.newest().validity(), first);
        authority.issue_to(&own, &node("node-b"), Validity::from_now(week)).unwrap();
        assert_eq!(certificate.newest().role(), &node("node-a"));
        fs::remove_file(own.join(IDENTITY)).unwrap();
        assert_eq!(certificate.newest().validity(), first);
        // One that an operator carries here, then one that is renewed.
        authority.issue_to(&own, &node("node-a"), Validity::from_now(week)).unwrap();
        let carried = certificate.newest();
        assert!(carried.validity().until > first.until);
        let request = Request::new().unwrap();
        let signed = authority.sign(request.der(), &node("node-a"), Validity::from_now(2 * week)).unwrap();
        certificate.keep(&request.answered(&[&signed], &carried).unwrap()).unwrap();
        assert!(certificate.validity().until > carried.validity().until);
        assert_eq!(fs::read_dir(&own).unwrap().count(), 2, "nothing is left beside");
    }

    #[test]
    fn a_folder_that_cannot_be_written_keeps_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let (ca, own) = (folder.path().join("ca"), folder.path().join("own"));
        Authority::create(&ca).unwrap();
        let authority = Authority::open(&ca).unwrap();
        authority.issue_to(&own, &node("node-a"), Validity::from_now(Duration::from_secs(60))).unwrap();
        let certificate = Certificate::open(&own, "node-a").unwrap();
        let before = fs::read(own.join(IDENTITY)).unwrap();
        // As on a full disk: the new file cannot be made.
        fs::create_dir(own.join("identity.new")).unwrap();
        certificate.keep("new").unwrap_err();
        assert_eq!(fs::read(own.join(IDENTITY)).unwrap(), before);
    }
}
