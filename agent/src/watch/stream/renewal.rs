//! When the node's certificate is renewed, and by whom: a controller whose stream stands is asked, over that stream, which goes on.
//! The next connections show the new one.

use std::time::{Duration, Instant, SystemTime};

use apis::stream as wire;
use certificates::Request;

use crate::watch::certificate::{Access, Certificate};

/// A controller that has not answered by then will not.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Between two attempts at most; less where less time is left.
const AGAIN: Duration = Duration::from_secs(60);

/// The renewal of a certificate, where there is one.
pub(super) struct Renewal {
    certificate: Option<Certificate>,
    asked: Option<Asked>,
    attempts: usize,
    not_before: Option<Instant>,
}

/// What a controller was asked.
struct Asked {
    stream: u64,
    request: Request,
    at: Instant,
}

impl Renewal {
    pub fn new(access: &Access) -> Self {
        let certificate = match access {
            Access::Certificates(certificate) => Some(certificate.clone()),
            Access::Insecure => None,
        };
        Self { certificate, asked: None, attempts: 0, not_before: None }
    }

    /// What is to be asked, and on which of the streams that stand, when it is time.
    pub fn ask(&mut self, now: Instant, streams: &[u64]) -> Option<(u64, wire::Renew)> {
        let certificate = self.certificate.as_ref()?;
        if certificate.validity().renew_at() > SystemTime::now() || streams.is_empty() {
            return None;
        }
        if let Some(asked) = &self.asked {
            if now - asked.at < ANSWERED_WITHIN && streams.contains(&asked.stream) {
                return None;
            }
            tracing::warn!("a controller did not answer the request for a new certificate; another attempt follows");
            self.asked = None;
        }
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return None;
        }
        // Perhaps an operator was faster.
        let validity = certificate.newest().validity();
        if validity.renew_at() > SystemTime::now() {
            return None;
        }
        let left = validity.until.duration_since(validity.renew_at()).unwrap_or_default();
        self.not_before = Some(now + AGAIN.min(left / 10));
        let request = match Request::new() {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(%error, "no request for a new certificate can be made");
                return None;
            }
        };
        // Another controller each time: one of them may be unable to.
        let stream = streams[self.attempts % streams.len()];
        self.attempts += 1;
        let renew = wire::Renew { request: request.der().to_vec().into() };
        self.asked = Some(Asked { stream, request, at: now });
        Some((stream, renew))
    }

    /// What a controller answers.
    pub fn answered(&mut self, stream: u64, renewed: &wire::Renewed) {
        let Some(asked) = self.asked.take_if(|asked| asked.stream == stream) else { return };
        let Some(certificate) = &self.certificate else { return };
        if !renewed.refusal.is_empty() {
            tracing::error!(refusal = renewed.refusal, "a controller does not renew this node's certificate");
            return;
        }
        let certificates: Vec<&[u8]> = renewed.certificates.iter().map(AsRef::as_ref).collect();
        let text = match asked.request.answered(&certificates, &certificate.newest()) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%error, "a controller has answered with what is no new certificate of this node");
                return;
            }
        };
        match certificate.keep(&text) {
            Ok(()) => {
                self.not_before = None;
                tracing::info!(until = certificate.validity().until_text(), "this node's certificate is renewed");
            }
            Err(error) => tracing::error!(%error, "the renewed certificate cannot be written; the old one stays"),
        }
    }
}

#[cfg(test)]
mod tests {
    use certificates::{Acceptor, Authority, Role, Validity};

    use super::*;

    struct World {
        _folder: tempfile::TempDir,
        acceptor: Acceptor,
        certificate: Certificate,
    }

    impl World {
        /// A node with a certificate that is to be renewed now.
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (ca, own) = (folder.path().join("ca"), folder.path().join("own"));
            Authority::create(&ca).unwrap();
            let authority = Authority::open(&ca).unwrap();
            let now = SystemTime::now();
            let due = Validity { from: now - Duration::from_secs(3000), until: now + Duration::from_secs(600) };
            authority.issue_to(&own, &Role::Node("node-a".to_owned()), due).unwrap();
            let acceptor = Acceptor::new(authority, Duration::from_secs(3600)).unwrap();
            Self { certificate: Certificate::open(&own, "node-a").unwrap(), acceptor, _folder: folder }
        }

        fn answer(&self, renew: &wire::Renew, node: &str) -> wire::Renewed {
            let signed = self.acceptor.renew(&renew.request, &Role::Node(node.to_owned())).unwrap();
            wire::Renewed { certificates: vec![signed.into()], refusal: String::new() }
        }
    }

    #[test]
    fn a_controller_is_asked_once_it_is_time_and_another_when_the_first_does_not_do() {
        let world = World::new();
        let mut renewal = Renewal::new(&Access::Certificates(world.certificate.clone()));
        let before = world.certificate.validity();
        let now = Instant::now();
        assert!(renewal.ask(now, &[]).is_none(), "nobody is there");
        let (first, renew) = renewal.ask(now, &[3, 4]).unwrap();
        assert!(renewal.ask(now, &[3, 4]).is_none(), "it was asked");
        // The answer to another, a refusal, what is no answer: nothing changes, and it is tried again after a while.
        renewal.answered(first + 1, &world.answer(&renew, "node-a"));
        assert_eq!(world.certificate.validity(), before);
        renewal.answered(first, &wire::Renewed { refusal: "no".to_owned(), ..wire::Renewed::default() });
        assert!(renewal.ask(now, &[3, 4]).is_none(), "not at once");
        let later = now + AGAIN;
        let (second, renew) = renewal.ask(later, &[3, 4]).unwrap();
        assert!(first != second, "another controller");
        renewal.answered(second, &world.answer(&renew, "node-b"));
        assert_eq!(world.certificate.validity(), before);
        let later = later + AGAIN;
        let (silent, _) = renewal.ask(later, &[3, 4]).unwrap();
        let (third, renew) = renewal.ask(later + AGAIN, &[3, 4]).unwrap();
        assert!(silent != third);
        renewal.answered(third, &world.answer(&renew, "node-a"));
        assert!(world.certificate.validity().until > before.until);
        assert!(renewal.ask(later + 2 * AGAIN, &[3, 4]).is_none(), "it is renewed");
        assert!(Renewal::new(&Access::Insecure).ask(now, &[3]).is_none(), "there is nothing to renew");
    }
}
