//! `ferrant-controller certificates …`: the CA of a cluster outside Kubernetes, and what it issues. It is a command of the
//! controller's program because it belongs where the controller runs; a running controller has no part in it.

use std::path::PathBuf;
use std::time::Duration;

use certificates::{Authority, CA_CERTIFICATE, CA_KEY, CertificateError, Created, IDENTITY, Role, Validity};
use clap::{Args, Parser, Subcommand};

/// Makes the cluster's CA, and the certificates by which controllers, agents and people know each other
#[derive(Clone, Debug, Parser)]
#[command(name = "certificates", version)]
pub struct Certificates {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make a CA, once for a cluster: ca.crt and ca.key, in a folder that all its controllers have (a copy does)
    ///
    /// What is there is never overwritten. Nothing but the controllers needs ca.key: keep it where only they can read it.
    Create(Create),
    /// Issue a certificate to a node or a client: ca.crt and identity.pem, in a folder to be carried there
    ///
    /// An agent renews its certificate by itself as long as it reaches a controller in time. A client's is issued again.
    Issue(Issue),
}

/// Where.
#[derive(Clone, Debug, Args)]
pub struct Create {
    /// The CA's folder
    #[arg(long, value_name = "DIR")]
    certificates: PathBuf,
}

/// To whom.
#[derive(Clone, Debug, Args)]
pub struct Issue {
    /// The CA's folder
    #[arg(long, value_name = "DIR")]
    certificates: PathBuf,
    /// To the agent of this node, which may then report and get what is this node's
    #[arg(long, value_name = "NAME", required_unless_present = "client", conflicts_with = "client")]
    node: Option<String>,
    /// To someone who may ask a controller everything (antctl --server)
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// The folder that is written
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How long it counts, as in 30d, 12h or 90s
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = certificates::lifetime)]
    lifetime: Duration,
}

/// Does it; what is to be said about it, with the next step.
///
/// # Errors
/// When a file or a name is not what it should be.
pub fn run(command: &Command) -> Result<String, CertificateError> {
    match command {
        Command::Create(create) => {
            let folder = &create.certificates;
            let created = Authority::create(folder)?;
            let until = Authority::open(folder)?.validity().until_text();
            let folder = folder.display();
            Ok(match created {
                Created::Made => format!(
                    "The CA is in {folder} ({CA_CERTIFICATE}, {CA_KEY}), valid until {until}.\n\
                     Next: start controllers with --certificates {folder}, and issue a certificate to each node:\n  \
                     ferrant-controller certificates issue --certificates {folder} --node NAME --out NAME"
                ),
                Created::WasThere => {
                    format!("There is a CA in {folder} already, valid until {until}; it is as it was.")
                }
            })
        }
        Command::Issue(issue) => {
            let role = match (&issue.node, &issue.client) {
                (Some(node), _) => Role::Node(node.clone()),
                (None, client) => Role::Client(client.clone().unwrap_or_default()),
            };
            let authority = Authority::open(&issue.certificates)?;
            let identity = authority.issue_to(&issue.out, &role, Validity::from_now(issue.lifetime))?;
            let (out, until) = (issue.out.display(), identity.validity().until_text());
            let next = match role {
                Role::Node(name) => format!(
                    "carry the folder to the node, readable by its agent only, and start the agent with\n  \
                     ferrant-agent --node {name} --certificates DIR --controller https://ADDRESS:PORT …"
                ),
                _ => "carry the folder to its user, and ask with\n  \
                      antctl --server https://ADDRESS:PORT --certificates DIR get controllerinfo"
                    .to_owned(),
            };
            Ok(format!(
                "The certificate of {} is in {out} ({CA_CERTIFICATE}, {IDENTITY}), valid until {until}.\nNext: {next}",
                identity.role()
            ))
        }
    }
}
