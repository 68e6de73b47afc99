//! The side that connects: it shows its certificate, and wants to see one of the role that it expects.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{CertificateError, Identity, Refused, Role, provider};

/// What the other side has said against the own certificate: it comes after the connection is made (RFC 8446), with the first
/// bytes that are read, and whoever reads may say no more than that reading failed.
#[derive(Clone, Debug, Default)]
pub struct Refusal(Arc<OnceLock<Refused>>);

impl Refusal {
    /// What was said.
    pub fn said(&self) -> Option<Refused> {
        self.0.get().cloned()
    }
}

/// A connection.
pub struct Connected {
    stream: TlsStream<TcpStream>,
    refusal: Refusal,
}

/// The one certificate there is.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesClientCert for Own {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Identity {
    /// Makes a TLS connection of a TCP connection; `protocol` as ALPN has it (`h2`, `http/1.1`). Why it failed, also later, is
    /// in `refusal`.
    ///
    /// # Errors
    /// When the own certificate has expired, or the other end is not who it should be.
    pub async fn connect(
        &self,
        stream: TcpStream,
        to: &Role,
        protocol: &str,
        refusal: Refusal,
    ) -> Result<Connected, CertificateError> {
        let refused = |refused: Refused| {
            let _ = refusal.0.set(refused.clone());
            CertificateError::Refused(refused)
        };
        if self.validity().is_over() {
            let what = format!("the certificate of {} has expired on {}", self.role(), self.validity().until_text());
            return Err(refused(Refused::new(
                what,
                "issue another where the CA is (`ferrant-controller certificates issue --help`) and carry the folder here",
            )));
        }
        let own = Arc::new(Own(Arc::clone(self.certified())));
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(Arc::clone(self.roots()))
            .with_client_cert_resolver(own);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        config.resumption = Resumption::disabled();
        let name = to.dns_name()?;
        let name = ServerName::try_from(name.clone()).map_err(|_| CertificateError::Name(name))?;
        match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
            Ok(stream) => Ok(Connected { stream, refusal }),
            Err(error) => Err(refused(Refused::to_connect(&error))),
        }
    }
}

impl AsyncRead for Connected {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &read
            && error.get_ref().is_some_and(|error| error.is::<rustls::Error>())
        {
            let _ = self.refusal.0.set(Refused::to_connect(error));
        }
        read
    }
}

impl AsyncWrite for Connected {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
