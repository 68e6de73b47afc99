//! The side that is connected to: a controller, which wants to see a certificate of its CA.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Authority, CertificateError, Refused, Role, Validity, identity, provider};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long who is refused may take to hear why.
const FAREWELL: Duration = Duration::from_secs(1);

/// Accepts as a controller.
#[derive(Clone)]
pub struct Acceptor {
    authority: Arc<Authority>,
    own: Arc<Own>,
    tls: TlsAcceptor,
    lifetime: Duration,
}

/// The own certificate, which changes while the process runs.
#[derive(Debug)]
struct Own(RwLock<(Arc<CertifiedKey>, Validity)>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).0))
    }
}

impl Acceptor {
    /// A controller of this CA; its own certificate, and those that it renews, count this long.
    ///
    /// # Errors
    /// When the CA's certificate is no CA's.
    pub fn new(authority: Authority, lifetime: Duration) -> Result<Self, CertificateError> {
        let own = Arc::new(Own(RwLock::new(certified(&authority, lifetime)?)));
        let roots = identity::roots(authority.pem()).map_err(rustls::Error::General)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&own) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Certificates are shown and looked at with every connection.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let tls = TlsAcceptor::from(Arc::new(config));
        Ok(Self { authority: Arc::new(authority), own, tls, lifetime })
    }

    /// Makes a TLS connection of a TCP connection.
    ///
    /// # Errors
    /// When the other end shows no certificate of the CA that counts, or takes too long.
    pub async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Refused> {
        match tokio::time::timeout(HANDSHAKE, self.tls.accept(stream).into_fallible()).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err((error, mut stream))) => {
                // What it is told is lost when the connection is closed before it has been read.
                let farewell = async {
                    stream.shutdown().await?;
                    while stream.read(&mut [0; 1024]).await? > 0 {}
                    Ok::<(), std::io::Error>(())
                };
                let _ = tokio::time::timeout(FAREWELL, farewell).await;
                Err(Refused::to_accept(&error))
            }
            Err(_) => Err(Refused::new("it took too long to say who it is", "is the network slow, or is it no agent?")),
        }
    }

    /// Who is at the other end of a connection.
    pub fn peer(stream: &TlsStream<TcpStream>) -> Option<Role> {
        Role::of_certificate(stream.get_ref().1.peer_certificates()?.first()?)
    }

    /// A new certificate, DER, for who has shown an old one of this role.
    ///
    /// # Errors
    /// When the request is not understood.
    pub fn renew(&self, request: &[u8], role: &Role) -> Result<Vec<u8>, CertificateError> {
        self.authority.sign(request, role, Validity::from_now(self.lifetime))
    }

    /// When the own certificate counts.
    pub fn validity(&self) -> Validity {
        self.own.0.read().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Renews the own certificate when it is time; whether it was.
    ///
    /// # Errors
    /// When none can be made: the old one stays.
    pub fn renew_own(&self) -> Result<bool, CertificateError> {
        if SystemTime::now() < self.validity().renew_at() {
            return Ok(false);
        }
        let new = certified(&self.authority, self.lifetime)?;
        *self.own.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(true)
    }
}

fn certified(authority: &Authority, lifetime: Duration) -> Result<(Arc<CertifiedKey>, Validity), CertificateError> {
    let text = authority.issue(&Role::Controller, Validity::from_now(lifetime))?;
    let unreadable = |error: String| CertificateError::Tls(rustls::Error::General(error));
    let chain = identity::certificates(&text).map_err(unreadable)?;
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| unreadable(error.to_string()))?;
    let validity = Validity::of(&chain[0]).ok_or_else(|| unreadable("no validity".to_owned()))?;
    Ok((Arc::new(CertifiedKey::from_der(chain, key, &provider())?), validity))
}
