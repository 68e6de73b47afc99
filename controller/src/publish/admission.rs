//! Who may open a stream, and as which node's agent: what a certificate says counts, and what an agent says must agree.

use apis::stream as wire;
use certificates::{Acceptor, Role};
use tonic::Status;
use tonic::codegen::http::Extensions;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tracing::{info, warn};

/// Who may open a stream.
#[derive(Clone)]
pub enum Admission {
    /// The agent of a node, by its certificate.
    Certificates(Acceptor),
    /// Whoever comes, as whoever it says it is.
    Insecure,
}

/// Someone who may.
#[derive(Clone)]
pub(super) enum Admitted {
    /// The agent of this node, which may have its certificate renewed.
    Node(String, Acceptor),
    /// Anyone.
    Anyone,
}

impl Admission {
    /// Who opens a stream, by what the connection under it says.
    pub(super) fn admit(&self, connection: &Extensions) -> Result<Admitted, Status> {
        let Self::Certificates(acceptor) = self else { return Ok(Admitted::Anyone) };
        let certificates = connection.get::<TlsConnectInfo<TcpConnectInfo>>().and_then(TlsConnectInfo::peer_certs);
        let role = certificates.as_ref().and_then(|shown| Role::of_certificate(shown.first()?));
        match role {
            Some(Role::Node(name)) => Ok(Admitted::Node(name, acceptor.clone())),
            Some(other) => Err(Status::permission_denied(format!(
                "the certificate is of {other}, which is no node; issue one for the node: `ferrant-controller certificates issue \
                 --certificates DIR --node NAME --out DIR`"
            ))),
            None => Err(Status::unauthenticated(
                "the connection shows no certificate of a node; issue one: `ferrant-controller certificates issue --help`",
            )),
        }
    }
}

impl Admitted {
    /// Whether it may greet as this node's agent.
    pub fn may_greet(&self, node: &str) -> Result<(), Status> {
        match self {
            Self::Node(name, _) if name != node => Err(Status::permission_denied(format!(
                "the certificate is of node {name} and the agent says that it is node {node}'s; start it with --node {name}, or issue a \
                 certificate for {node}: `ferrant-controller certificates issue --certificates DIR --node {node} --out DIR`"
            ))),
            _ => Ok(()),
        }
    }

    /// The answer to a request for the next certificate.
    pub fn renew(&self, request: &[u8]) -> wire::Renewed {
        let refused = |refusal: String| wire::Renewed { certificates: Vec::new(), refusal };
        match self {
            Self::Anyone => {
                refused("this controller serves without certificates (--insecure) and has no CA".to_owned())
            }
            Self::Node(name, acceptor) => match acceptor.renew(request, &Role::Node(name.clone())) {
                Ok(certificate) => {
                    info!(node = %name, "an agent's certificate is renewed");
                    wire::Renewed { certificates: vec![certificate.into()], refusal: String::new() }
                }
                Err(error) => {
                    warn!(node = %name, %error, "an agent's request for a certificate is refused");
                    refused(error.to_string())
                }
            },
        }
    }
}
