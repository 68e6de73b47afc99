//! The command line. What does not fit is refused here, with what to write instead; nothing later asks whether a flag makes
//! sense.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use ovs_pipeline::{Datapath, PolicyMode};

/// The agent of one node: makes the node's Open vSwitch, links, routes and NAT what the controller says they should be.
#[derive(Clone, Debug, Parser)]
#[command(name = "ferrant-agent", version)]
pub struct Config {
    /// This node's name in the cluster
    #[arg(long, value_parser = node_name)]
    pub node: String,
    /// Where a controller listens: https://ADDRESS:PORT; once for every controller
    #[arg(long = "controller", value_name = "URL", required = true, value_parser = controller)]
    pub controllers: Vec<String>,
    /// This node's folder with ca.crt and identity.pem, as `ferrant-controller certificates issue` writes it; it must be writable:
    /// the certificate is renewed there
    #[arg(long, value_name = "DIR")]
    pub certificates: Option<PathBuf>,
    /// Instead of --certificates: controllers are spoken to without TLS (http://), whoever answers. For a lab on one machine
    #[arg(long)]
    pub insecure: bool,
    /// Where state is kept between runs, and where cni.sock and agent.sock are
    #[arg(long, value_name = "DIR")]
    pub run_dir: PathBuf,
    /// The socket of ovsdb-server
    #[arg(long, value_name = "SOCKET")]
    pub ovsdb: PathBuf,
    /// The folder in which ovs-vswitchd keeps the bridges' .mgmt sockets
    #[arg(long, value_name = "DIR")]
    pub ovs_run_dir: PathBuf,
    /// The unixctl socket of ovs-vswitchd
    #[arg(long, value_name = "SOCKET")]
    pub vswitchd_ctl: PathBuf,
    /// The bridge's datapath: the kernel's (system) or the userspace one (netdev)
    #[arg(long, value_enum)]
    pub datapath: DatapathType,
    /// The bridge
    #[arg(long, default_value = "br-int", value_parser = bridge)]
    pub bridge: String,
    /// How packets travel between nodes
    #[arg(long, value_enum, default_value_t = TunnelType::Geneve)]
    pub tunnel: TunnelType,
    /// What to log, as in RUST_LOG: info, agent=debug, …
    #[arg(long, default_value = "info", env = "FERRANT_LOG")]
    pub log: String,
    /// How lines of the log are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Address and port on which GET /metrics is answered over TCP, beside agent.sock
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<std::net::SocketAddr>,
    /// Seconds between two comparisons of all flows with what the switch has; 0: only at start and reconnection
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub resync: u64,
    /// For tests only: policy lets everything pass, or drops everything but what the node itself sends
    #[arg(long, value_enum, value_name = "MODE")]
    pub debug_verdict: Option<DebugVerdict>,
}

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// `datapath_type` of the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DatapathType {
    /// The kernel's.
    System,
    /// The userspace one.
    Netdev,
}

impl DatapathType {
    /// As the database has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Netdev => "netdev",
        }
    }
}

impl From<DatapathType> for Datapath {
    fn from(datapath: DatapathType) -> Self {
        match datapath {
            DatapathType::System => Datapath::System,
            DatapathType::Netdev => Datapath::Netdev,
        }
    }
}

/// The tunnel's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TunnelType {
    /// RFC 8926.
    Geneve,
    /// RFC 7348.
    Vxlan,
    /// RFC 2890.
    Gre,
}

impl TunnelType {
    /// The interface's type in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Geneve => "geneve",
            Self::Vxlan => "vxlan",
            Self::Gre => "gre",
        }
    }
}

/// A mode for tests that ask whether they would notice a pipeline without policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DebugVerdict {
    /// Every packet that reaches policy is allowed.
    AllowAll,
    /// Every packet that reaches policy is denied.
    DropAll,
}

/// Flags that do not go together.
#[derive(Debug, thiserror::Error)]
pub enum FlagsError {
    /// Neither --certificates nor --insecure.
    #[error(
        "--certificates DIR is not given, and agent and controller know each other by certificates; where the CA is, run `ferrant-controller \
         certificates issue --certificates CA-DIR --node {0} --out DIR`, carry the folder here and name it (or, for a lab on one machine, write \
         --insecure)"
    )]
    NoCertificates(String),
    /// Both.
    #[error("--certificates {} contradicts --insecure, with which nobody shows a certificate; leave one of them out", .0.display())]
    Both(PathBuf),
    /// One of both, and a URL for the other.
    #[error("--controller {0}: {1}")]
    Scheme(String, &'static str),
}

impl Config {
    /// Whether the flags go together.
    ///
    /// # Errors
    /// When they do not.
    pub fn check(&self) -> Result<(), FlagsError> {
        let (scheme, advice) = match (&self.certificates, self.insecure) {
            (None, false) => return Err(FlagsError::NoCertificates(self.node.clone())),
            (Some(folder), true) => return Err(FlagsError::Both(folder.clone())),
            (Some(_), false) => {
                ("https://", "with --certificates write https:// (plain http:// needs --insecure instead)")
            }
            (None, true) => ("http://", "with --insecure write http:// (https:// needs --certificates instead)"),
        };
        match self.controllers.iter().find(|url| !url.starts_with(scheme)) {
            Some(url) => Err(FlagsError::Scheme(url.clone(), advice)),
            None => Ok(()),
        }
    }

    /// Whether policy is enforced.
    pub fn policy_mode(&self) -> PolicyMode {
        match self.debug_verdict {
            None => PolicyMode::Enforce,
            Some(DebugVerdict::AllowAll) => PolicyMode::AllowAll,
            Some(DebugVerdict::DropAll) => PolicyMode::DropAll,
        }
    }
}

/// A Kubernetes node name: an RFC 1123 subdomain.
fn node_name(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err("a node's name has lower-case letters, digits, '-' and '.' only, as in `kubectl get nodes`".to_owned())
    }
}

fn controller(text: &str) -> Result<String, String> {
    let advice = "write https://ADDRESS:PORT, as in https://172.18.0.1:10350 (IPv6 addresses in brackets)";
    let uri: tonic::codegen::http::Uri = text.parse().map_err(|error| format!("{error}; {advice}"))?;
    if !text.starts_with("https://") && !text.starts_with("http://") {
        return Err(format!("only https:// is spoken (and http:// with --insecure); {advice}"));
    }
    match (uri.host(), uri.port_u16()) {
        (Some(host), Some(1..)) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("the address or the port is missing; {advice}")),
    }
}

/// The name of a bridge is the name of an interface too: at most 15 bytes (IFNAMSIZ).
fn bridge(text: &str) -> Result<String, String> {
    let fits = (1..=15).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') {
        Ok(text.to_owned())
    } else {
        Err("a bridge's name has 1 to 15 printable characters and no '/'".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Config, String> {
        let required = [
            "ferrant-agent",
            "--node=node-a",
            "--controller=https://172.18.0.1:10350",
            "--certificates=/etc/ferrant",
            "--run-dir=/run/f",
            "--ovsdb=/run/db.sock",
            "--ovs-run-dir=/run/ovs",
            "--vswitchd-ctl=/run/v.ctl",
            "--datapath=netdev",
        ];
        let kept = required.iter().filter(|flag| {
            let name = flag.split('=').next().unwrap();
            !arguments.iter().any(|argument| argument.starts_with(name))
        });
        let config = Config::try_parse_from(kept.chain(arguments)).map_err(|error| error.to_string())?;
        config.check().map(|()| config).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_sample_clusters() {
        let config = parse(&[]).unwrap();
        assert_eq!(
            (config.bridge.as_str(), config.tunnel, config.policy_mode()),
            ("br-int", TunnelType::Geneve, PolicyMode::Enforce)
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_with_advice() {
        for (argument, advice) in [
            ("--node=Node_A", "lower-case"),
            ("--controller=172.18.0.1:10350", "https://ADDRESS:PORT"),
            ("--controller=ftp://172.18.0.1:10350", "only https://"),
            ("--controller=http://172.18.0.1:10350", "needs --insecure"),
            ("--controller=https://172.18.0.1", "port is missing"),
            ("--insecure", "contradicts"),
            ("--datapath=kernel", "system"),
            ("--log-format=xml", "json"),
            ("--metrics=9100", "invalid socket address"),
            ("--bridge=a-name-that-is-too-long", "15"),
            ("--debug-verdict=maybe", "allow-all"),
        ] {
            let error = parse(&[argument]).unwrap_err();
            assert!(error.contains(advice), "{argument}: {error}");
        }
    }

    #[test]
    fn without_certificates_it_says_how_to_get_them() {
        let mut config = parse(&[]).unwrap();
        config.certificates = None;
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains("ferrant-controller certificates issue") && error.contains("--node node-a"), "{error}");
        config.insecure = true;
        let error = config.check().unwrap_err().to_string();
        assert!(
            error.starts_with("--controller https://172.18.0.1:10350") && error.contains("--certificates"),
            "{error}"
        );
        config.controllers = vec!["http://[fd00::1]:10350".to_owned()];
        config.check().unwrap();
    }
}
