//! The command line. Names and abbreviations are those that Antrea's users type.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hyper::Uri;

/// Asks Ferrant's controller and agents, and prints what they say.
///
/// Exit codes: 0 when there is an answer; 1 when the answer is that something does not exist or cannot be told; 2 for a command line,
/// or a certificate that it names, that is not understood; 3 when nothing answers, or somebody's certificate is refused.
#[derive(Debug, Parser)]
#[command(name = "antctl", version)]
pub struct Arguments {
    /// Where to ask.
    #[command(flatten)]
    pub places: Places,
    /// How to print the answer
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// What to ask.
    #[command(subcommand)]
    pub command: Command,
}

/// Where to ask.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Where to ask")]
pub struct Places {
    /// The agent's socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "FERRANT_AGENT_SOCKET",
        hide_env_values = true,
        default_value = "/var/run/ferrant/agent.sock"
    )]
    pub agent_socket: PathBuf,
    /// The controller's socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "FERRANT_CONTROLLER_SOCKET",
        hide_env_values = true,
        default_value = "/var/run/ferrant/controller.sock"
    )]
    pub controller_socket: PathBuf,
    /// A controller's --listen over the network, as in https://172.18.0.1:10350, instead of its socket; needs --certificates
    #[arg(long, global = true, value_name = "URL", env = "FERRANT_SERVER", hide_env_values = true, value_parser = server)]
    pub server: Option<Uri>,
    /// Your folder with ca.crt and identity.pem, as `ferrant-controller certificates issue --client NAME` writes it
    #[arg(long, global = true, value_name = "DIR", env = "FERRANT_CERTIFICATES", hide_env_values = true)]
    pub certificates: Option<PathBuf>,
    /// Whom to ask where both could answer [default: the controller if --server or its socket is there, else the agent]
    #[arg(long, global = true, value_enum)]
    pub from: Option<Daemon>,
}

fn server(text: &str) -> Result<Uri, String> {
    let advice = "write https://ADDRESS:PORT, the controller's --listen, as in https://172.18.0.1:10350 (IPv6 addresses in brackets)";
    let uri: Uri = text.parse().map_err(|error| format!("{error}; {advice}"))?;
    if uri.scheme_str() != Some("https") {
        return Err(format!("controllers answer over TLS only; {advice}"));
    }
    match (uri.host(), uri.port_u16(), uri.path()) {
        (Some(host), Some(1..), "/") if !host.is_empty() => Ok(uri),
        _ => Err(format!("it is no address and port; {advice}")),
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Daemon {
    /// Knows its node.
    Agent,
    /// Knows the cluster.
    Controller,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// All of it.
    Json,
    /// All of it.
    Yaml,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print objects
    #[command(subcommand)]
    Get(Get),
    /// Print the versions of antctl and of the daemons that answer
    Version {
        /// Ask nobody
        #[arg(long)]
        client: bool,
    },
}

/// Objects.
#[derive(Debug, Subcommand)]
pub enum Get {
    /// The node's flows, with names, counters and what each comes from
    #[command(alias = "of")]
    Ovsflows(OvsFlows),
    /// The pods attached on the node
    #[command(visible_aliases = ["podinterfaces", "pi"])]
    Podinterface(Podinterface),
    /// How the agent is
    #[command(visible_aliases = ["agentinfos", "ai"])]
    Agentinfo,
    /// How the controller is
    #[command(visible_aliases = ["controllerinfos", "ci"])]
    Controllerinfo,
    /// Policies: all of the cluster (controller), or those that select a pod of the node (agent)
    #[command(visible_aliases = ["networkpolicies", "netpol"])]
    Networkpolicy(Policy),
    /// The groups that policies apply to
    #[command(visible_aliases = ["appliedtogroups", "atg"])]
    Appliedtogroup(Group),
    /// The groups at the other end of rules
    #[command(visible_aliases = ["addressgroups", "ag"])]
    Addressgroup(Group),
}

/// Which flows.
#[derive(Debug, Args)]
pub struct OvsFlows {
    /// Those of a pod of this node: its own, its addresses', and those of policies that apply to it
    #[arg(short, long, value_name = "NAME")]
    pub pod: Option<String>,
    /// The namespace of --pod or --networkpolicy [default: as written in namespace/name, else `default` for a pod, any for a policy]
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Those of a policy
    #[arg(short = 'N', long, value_name = "NAME")]
    pub networkpolicy: Option<String>,
    /// Those of a table, by its name
    #[arg(short = 'T', long)]
    pub table: Option<String>,
}

/// Which pods.
#[derive(Debug, Args)]
pub struct Podinterface {
    /// A pod's name, or namespace/name
    pub name: Option<String>,
    /// Only pods of this namespace
    #[arg(short, long)]
    pub namespace: Option<String>,
}

/// Which policies.
#[derive(Debug, Args)]
pub struct Policy {
    /// A policy's name, or namespace/name
    pub name: Option<String>,
    /// Only policies of this namespace
    #[arg(short, long)]
    pub namespace: Option<String>,
}

/// Which groups.
#[derive(Debug, Args)]
pub struct Group {
    /// A group's name, or the beginning of it
    pub name: Option<String>,
}
