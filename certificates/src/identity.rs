//! What someone shows, and whom they trust: a certificate with its key, and CAs.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;

use super::{CA_CERTIFICATE, CertificateError, IDENTITY, Role, Validity, file, provider};

/// A group may share a certificate with its key; others may not.
const OTHERS: u32 = 0o007;

/// A certificate with its key, of a node or client, and the CAs that it trusts.
#[derive(Clone)]
pub struct Identity {
    role: Role,
    validity: Validity,
    certified: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
}

impl Identity {
    /// What is in a folder: `ca.crt` and `identity.pem`. That it has expired is no error here.
    ///
    /// # Errors
    /// When a file is missing, is others' to read, or says nothing.
    pub fn read(folder: &Path) -> Result<Self, CertificateError> {
        const ISSUE: &str =
            "issue it where the CA is (`ferrant-controller certificates issue --help`) and carry the folder here";
        let (authorities, own) = (folder.join(CA_CERTIFICATE), folder.join(IDENTITY));
        let roots = roots(&file::read(&authorities, ISSUE)?);
        let roots = roots.map_err(|what| CertificateError::file(&authorities, what, ISSUE))?;
        let text = file::read_private(&own, OTHERS, ISSUE)?;
        Self::of_text(&text, Arc::new(roots)).map_err(|what| CertificateError::file(&own, what, ISSUE))
    }

    fn of_text(text: &str, roots: Arc<RootCertStore>) -> Result<Self, String> {
        let chain = certificates(text)?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| format!("no key: {error}"))?;
        let (role, validity) = (Role::of_certificate(&chain[0]), Validity::of(&chain[0]));
        let role = role.ok_or("the certificate is of no node or client")?;
        let validity = validity.ok_or("it is no certificate")?;
        let certified = CertifiedKey::from_der(chain, key, &provider());
        let certified = certified.map_err(|error| format!("certificate and key do not fit: {error}"))?;
        Ok(Self { role, validity, certified: Arc::new(certified), roots })
    }

    /// Whose it is.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// When it counts.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    pub(crate) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    pub(crate) fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }
}

/// A request for the next certificate, with a new key.
pub struct Request {
    pair: KeyPair,
    der: Vec<u8>,
}

impl Request {
    /// With a new key.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self, CertificateError> {
        let pair = KeyPair::generate()?;
        let der = CertificateParams::default().serialize_request(&pair)?.der().to_vec();
        Ok(Self { pair, der })
    }

    /// What is asked (PKCS#10, DER).
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The text of the next `identity.pem`, when these certificates (DER, the own one first) answer the request and are of the
    /// same role, count, and are of a CA that `old` trusts.
    ///
    /// # Errors
    /// When they are not.
    pub fn answered(&self, certificates: &[&[u8]], old: &Identity) -> Result<String, CertificateError> {
        let text = text(certificates, &self.pair);
        let new = Identity::of_text(&text, Arc::clone(&old.roots)).map_err(CertificateError::Renewed)?;
        if new.role != old.role {
            return Err(CertificateError::Renewed(format!("it is of {}, not of {}", new.role, old.role)));
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&old.roots), provider()).build();
        let verifier = verifier.map_err(|error| CertificateError::Renewed(error.to_string()))?;
        let (own, others) = new.certified.cert.split_first().expect("an identity has a certificate");
        let verified = verifier.verify_client_cert(own, others, UnixTime::now());
        verified.map_err(|error| CertificateError::Renewed(error.to_string()))?;
        Ok(text)
    }
}

/// The text of an `identity.pem` (RFC 7468): certificates, the own one first, and the key.
pub(crate) fn text(certificates: &[&[u8]], pair: &KeyPair) -> String {
    // Lines end as ours do.
    let configuration = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let certificate = |der: &&[u8]| pem::encode_config(&pem::Pem::new("CERTIFICATE", *der), configuration);
    let mut text: String = certificates.iter().map(certificate).collect();
    text += &pair.serialize_pem().replace('\r', "");
    text
}

/// All certificates in a text; there is one.
pub(crate) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|error| format!("a certificate in it is not whole: {error}"))?;
    if found.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(found) }
}

/// All certificates in a text, to be trusted.
pub(crate) fn roots(text: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text)? {
        roots.add(certificate).map_err(|error| format!("a certificate in it is not understood: {error}"))?;
    }
    Ok(roots)
}
