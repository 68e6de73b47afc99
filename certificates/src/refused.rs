//! Why a TLS connection was not made, in words that name the next step.

use std::io;

use rustls::{AlertDescription, CertificateError as Wrong, Error};

/// Why a connection was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {what_to_do}")]
pub struct Refused {
    what: String,
    what_to_do: &'static str,
}

impl Refused {
    pub(crate) fn new(what: impl ToString, what_to_do: &'static str) -> Self {
        Self { what: what.to_string(), what_to_do }
    }

    /// As the side that connects sees it.
    pub(crate) fn to_connect(error: &io::Error) -> Self {
        const ISSUE: &str = "issue one where that controller's CA is (`ferrant-controller certificates issue --help`) and carry the folder here";
        const CLOCKS: &str = "are the clocks of both machines right? a controller renews its own certificate by itself";
        match inner(error) {
            Some(Error::AlertReceived(AlertDescription::CertificateExpired)) => {
                Self::new("the controller refuses this certificate, which has expired by its clock", ISSUE)
            }
            Some(Error::AlertReceived(AlertDescription::CertificateRequired)) => {
                Self::new("the controller wants to see a certificate", ISSUE)
            }
            Some(Error::AlertReceived(alert)) if is_about_the_certificate(*alert) => {
                Self::new(format!("the controller refuses this certificate: it is not of its CA ({alert:?})"), ISSUE)
            }
            Some(Error::InvalidCertificate(Wrong::UnknownIssuer | Wrong::BadSignature)) => Self::new(
                "another CA has issued the certificate of who answers",
                "is the address right, and is ca.crt here the same as beside that controller's CA?",
            ),
            Some(Error::InvalidCertificate(Wrong::NotValidForName | Wrong::NotValidForNameContext { .. })) => {
                Self::new(
                    "who answers has a certificate of the right CA, but is no controller",
                    "is the address right?",
                )
            }
            Some(Error::InvalidCertificate(wrong)) if is_about_time(wrong) => {
                Self::new(format!("the controller's certificate does not count now: {wrong}"), CLOCKS)
            }
            Some(Error::InvalidMessage(_)) => Self::new(
                "who answers does not speak TLS",
                "is that where the controller listens, and was it started with --certificates (not --insecure)?",
            ),
            Some(other) => Self::new(other, "the controller's log says more"),
            None => Self::new(
                format!("no TLS connection: {error}"),
                "is that where the controller listens? its log says more",
            ),
        }
    }

    /// As the side that is connected to sees it.
    pub(crate) fn to_accept(error: &io::Error) -> Self {
        match inner(error) {
            Some(Error::NoCertificatesPresented) => {
                Self::new("it shows no certificate", "start it with --certificates")
            }
            Some(Error::InvalidCertificate(Wrong::UnknownIssuer | Wrong::BadSignature)) => Self::new(
                "another CA has issued its certificate",
                "issue one with this controller's CA: `ferrant-controller certificates issue --help`",
            ),
            Some(Error::InvalidCertificate(wrong)) if is_about_time(wrong) => Self::new(
                format!("its certificate does not count now: {wrong}"),
                "issue another (`ferrant-controller certificates issue --help`), or set the clocks right",
            ),
            Some(Error::InvalidMessage(_)) => {
                Self::new("it does not speak TLS", "start it with --certificates and https:// (not --insecure)")
            }
            Some(Error::AlertReceived(alert)) if is_about_the_certificate(*alert) => Self::new(
                format!("it does not trust this controller's certificate ({alert:?})"),
                "carry this controller's ca.crt there, with a certificate that its CA has issued",
            ),
            Some(other) => Self::new(other, "its log says more"),
            None => Self::new(format!("it gave up: {error}"), "its log says more"),
        }
    }
}

fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn is_about_the_certificate(alert: AlertDescription) -> bool {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateUnknown, DecryptError, UnknownCA,
        UnsupportedCertificate,
    };
    let about = [
        AccessDenied,
        BadCertificate,
        CertificateExpired,
        CertificateUnknown,
        DecryptError,
        UnknownCA,
        UnsupportedCertificate,
    ];
    about.contains(&alert)
}

fn is_about_time(wrong: &Wrong) -> bool {
    matches!(
        wrong,
        Wrong::Expired | Wrong::ExpiredContext { .. } | Wrong::NotValidYet | Wrong::NotValidYetContext { .. }
    )
}
