//! The CA: a certificate and a key in a folder that the controllers of a cluster share.

use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CA_CERTIFICATE, CA_KEY, CertificateError, IDENTITY, Identity, Role, Validity, file, identity};

/// How long the CA counts: it is renewed by hand, by making another and issuing all certificates again.
const LIFETIME: Duration = Duration::from_secs(3650 * 24 * 3600);
/// Nobody but its owner does anything with the CA's key.
const OTHERS: u32 = 0o077;

/// A CA.
pub struct Authority {
    pem: String,
    validity: Validity,
    issuer: Issuer<'static, KeyPair>,
}

/// What [`Authority::create`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// There is a CA now.
    Made,
    /// There was one, and it is as it was.
    WasThere,
}

impl Authority {
    /// Makes the CA of a folder, where there is none. Of several that do so at once all find the same. One that stopped halfway
    /// has left a key, from which the next goes on.
    ///
    /// # Errors
    /// When a file cannot be read, written or understood.
    pub fn create(folder: &Path) -> Result<Created, CertificateError> {
        let (certificate, key) = (folder.join(CA_CERTIFICATE), folder.join(CA_KEY));
        file::make_folder(folder)?;
        if certificate.exists() {
            return Self::open(folder).map(|_| Created::WasThere);
        }
        file::create(&key, &KeyPair::generate()?.serialize_pem())?;
        let mend = format!("remove it and {} to begin anew", certificate.display());
        let text = file::read_private(&key, OTHERS, &mend)?;
        let pair = KeyPair::from_pem(&text).map_err(|error| CertificateError::file(&key, error, &mend))?;
        let made = file::create(&certificate, &certificate_of(&pair)?)?;
        Ok(if made { Created::Made } else { Created::WasThere })
    }

    /// The CA of a folder.
    ///
    /// # Errors
    /// When there is none, or a file of it is not what it should be.
    pub fn open(folder: &Path) -> Result<Self, CertificateError> {
        let (certificate, key) = (folder.join(CA_CERTIFICATE), folder.join(CA_KEY));
        let create = format!("ferrant-controller certificates create --certificates {}", folder.display());
        if !certificate.exists() {
            let what = "there is no CA in this folder";
            return Err(CertificateError::file(folder, what, format!("make one with `{create}`, or name its folder")));
        }
        let mend = format!(
            "put ca.crt and ca.key back as they were; or, to begin anew, remove both, run `{create}`, and issue all certificates again"
        );
        let pem = file::read(&certificate, &mend)?;
        let not_one = |what: String| CertificateError::file(&certificate, what, &mend);
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| not_one(error.to_string()))?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| not_one(error.to_string()))?;
        let validity = Validity::of(&der).ok_or_else(|| not_one("it is no certificate".to_owned()))?;
        if validity.is_over() {
            return Err(not_one(format!("the CA has expired on {}", validity.until_text())));
        }
        let text = file::read_private(&key, OTHERS, &mend)?;
        let pair = KeyPair::from_pem(&text).map_err(|error| CertificateError::file(&key, error, &mend))?;
        if pair.public_key_raw() != &parsed.public_key().subject_public_key.data[..] {
            return Err(CertificateError::file(&key, "it is not the key of ca.crt beside it", &mend));
        }
        let issuer = Issuer::from_ca_cert_der(&der, pair).map_err(|error| not_one(error.to_string()))?;
        Ok(Self { pem, validity, issuer })
    }

    /// The CA's own certificate, as PEM; others that are trusted beside it may follow it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// When the CA counts.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// A certificate with a new key: the text of an `identity.pem`.
    ///
    /// # Errors
    /// When the name does not fit.
    pub fn issue(&self, role: &Role, validity: Validity) -> Result<String, CertificateError> {
        let pair = KeyPair::generate()?;
        let certificate = self.parameters(role, validity)?.signed_by(&pair, &self.issuer)?;
        Ok(identity::text(&[certificate.der().as_ref()], &pair))
    }

    /// A certificate for the key of a request (PKCS#10, DER); whatever else the request says does not count. As DER.
    ///
    /// # Errors
    /// When the request is not understood, or is not signed with its key.
    pub fn sign(&self, request: &[u8], role: &Role, validity: Validity) -> Result<Vec<u8>, CertificateError> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
            .map_err(|error| CertificateError::Request(error.to_string()))?;
        let certificate = self.parameters(role, validity)?.signed_by(&request.public_key, &self.issuer)?;
        Ok(certificate.der().to_vec())
    }

    /// Writes what someone needs to connect: `ca.crt` and `identity.pem`.
    ///
    /// # Errors
    /// When a file cannot be written, or the folder is the CA's own.
    pub fn issue_to(&self, folder: &Path, role: &Role, validity: Validity) -> Result<Identity, CertificateError> {
        let text = self.issue(role, validity)?;
        if folder.join(CA_KEY).exists() {
            let what = "the CA's key is in this folder, and nobody else should get it";
            return Err(CertificateError::file(folder, what, "name another folder"));
        }
        file::make_folder(folder)?;
        file::replace(&folder.join(CA_CERTIFICATE), &self.pem)?;
        file::replace(&folder.join(IDENTITY), &text)?;
        Identity::read(folder)
    }

    fn parameters(&self, role: &Role, validity: Validity) -> Result<CertificateParams, CertificateError> {
        let mut parameters = CertificateParams::default();
        let name = role.dns_name()?;
        parameters.distinguished_name.push(DnType::CommonName, role.to_string());
        let dns = name.clone().try_into().map_err(|_| CertificateError::Name(name))?;
        parameters.subject_alt_names = vec![SanType::DnsName(dns)];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        parameters.extended_key_usages = vec![match role {
            Role::Controller => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Node(_) | Role::Client(_) => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        // Nobody counts longer than who vouches for them.
        let validity = Validity { until: validity.until.min(self.validity.until), ..validity };
        (parameters.not_before, parameters.not_after) = validity.times();
        Ok(parameters)
    }
}

/// The certificate of a CA with this key. Each CA has a name of its own, so that one is not taken for another.
fn certificate_of(pair: &KeyPair) -> Result<String, CertificateError> {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let hash: String = parameters.key_identifier(pair).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    parameters.distinguished_name.push(DnType::CommonName, format!("Ferrant CA {hash}"));
    (parameters.not_before, parameters.not_after) = Validity::from_now(LIFETIME).times();
    Ok(parameters.self_signed(pair)?.pem())
}
