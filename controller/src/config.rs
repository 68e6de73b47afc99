//! The command line, and what each flag must be.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use thiserror::Error;

/// Tells every node what it needs: reads cluster intent, serves agents.
#[derive(Clone, Debug, Parser)]
#[command(name = "ferrant-controller", version)]
pub struct Flags {
    /// Directory of YAML or JSON manifests (*.yaml, *.yml, *.json, in folders of any depth), watched for changes
    #[arg(long, value_name = "DIR")]
    pub source: PathBuf,
    /// Directory for what the controller says of the source: errors.json, and the last good versions of its objects
    /// [default: `status` beside the source directory]
    #[arg(long, value_name = "DIR")]
    pub status: Option<PathBuf>,
    /// Address and port on which agents are served (gRPC), and antctl is answered (HTTP/1.1), over TLS
    #[arg(long, value_name = "IP:PORT")]
    pub listen: String,
    /// Folder of the CA that this cluster's controllers share (`ferrant-controller certificates create`): whoever connects to
    /// --listen shows a certificate that it has issued, and so does the controller
    #[arg(long, value_name = "DIR")]
    pub certificates: Option<PathBuf>,
    /// How long the controller's own certificate counts, and those that it renews for nodes, as in 30d, 12h or 90s; all are
    /// renewed once two thirds of it have passed
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = certificates::lifetime)]
    pub certificate_lifetime: Duration,
    /// Instead of --certificates: agents are served without TLS, whoever they say they are. For a lab on one machine
    #[arg(long)]
    pub insecure: bool,
    /// Unix socket on which questions are answered (HTTP/1.1, JSON)
    #[arg(long, value_name = "PATH")]
    pub serve: PathBuf,
    /// What is logged, as in `info` or `controller=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "FERRANT_LOG")]
    pub log: String,
    /// How lines of the log are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Address and port on which GET /metrics is answered over TCP, beside the socket
    #[arg(long, value_name = "IP:PORT")]
    pub metrics: Option<SocketAddr>,
    /// After each change compute the whole plan anew and compare (for tests; slow)
    #[arg(long, hide = true)]
    pub check_plan: bool,
}

/// How lines of the log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What the controller is to do, known to be possible.
#[derive(Clone, Debug)]
pub struct Config {
    /// The source directory, absolute. It need not exist yet.
    pub source: PathBuf,
    /// The status directory, absolute; it exists.
    pub status: PathBuf,
    /// Where agents are served.
    pub listen: SocketAddr,
    /// Who is served there.
    pub access: Access,
    /// Where questions are answered.
    pub serve: PathBuf,
    /// Where metrics are answered over TCP.
    pub metrics: Option<SocketAddr>,
    /// Whether each plan is compared with one computed anew.
    pub check_plan: bool,
}

/// Who is served over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever shows a certificate.
    Certificates {
        /// Of the CA in this folder.
        folder: PathBuf,
        /// New ones count this long.
        lifetime: Duration,
    },
    /// Whoever comes.
    Insecure,
}

/// A flag that cannot be obeyed.
#[derive(Debug, Error)]
#[error("{flag} {value}: {what}; {what_to_do}")]
pub struct FlagError {
    flag: &'static str,
    value: String,
    what: String,
    what_to_do: &'static str,
}

impl Config {
    /// Holds the flags to what they must be.
    pub fn new(flags: Flags) -> Result<Self, FlagError> {
        let source = absolute("--source", &flags.source)?;
        if source.exists() && !source.is_dir() {
            let what = "it is not a directory".to_owned();
            return Err(refuse("--source", &source, what, "name the directory that holds the manifests"));
        }
        let status = match &flags.status {
            Some(status) => absolute("--status", status)?,
            None => match source.parent() {
                Some(parent) => parent.join("status"),
                None => {
                    let what = "the file system's root has no folder beside it for the status".to_owned();
                    return Err(refuse("--source", &source, what, "name a folder, or add --status DIR"));
                }
            },
        };
        if status == source {
            let what = "it is the source directory too".to_owned();
            return Err(refuse("--status", &status, what, "name another directory"));
        }
        std::fs::create_dir_all(&status).map_err(|error| {
            refuse("--status", &status, error.to_string(), "name a directory that this user can create and write")
        })?;
        let listen = flags.listen.parse::<SocketAddr>().map_err(|_| FlagError {
            flag: "--listen",
            value: flags.listen.clone(),
            what: "it is not an address and a port".to_owned(),
            what_to_do: "write it as 192.0.2.1:10350 or [2001:db8::1]:10350",
        })?;
        let access = access(&flags)?;
        let serve = absolute("--serve", &flags.serve)?;
        Ok(Self { source, status, listen, access, serve, metrics: flags.metrics, check_plan: flags.check_plan })
    }
}

fn access(flags: &Flags) -> Result<Access, FlagError> {
    let refuse = |value: &str, what: &str, what_to_do| {
        Err(FlagError { flag: "--certificates", value: value.to_owned(), what: what.to_owned(), what_to_do })
    };
    match (&flags.certificates, flags.insecure) {
        (Some(folder), false) => {
            let folder = absolute("--certificates", folder)?;
            Ok(Access::Certificates { folder, lifetime: flags.certificate_lifetime })
        }
        (None, true) => Ok(Access::Insecure),
        (None, false) => refuse(
            "DIR",
            "is not given, and controller and agents know each other by certificates",
            "make a CA with `ferrant-controller certificates create --certificates DIR` and name its folder (or, for a lab on one \
             machine, write --insecure)",
        ),
        (Some(folder), true) => {
            let what = "it contradicts --insecure, with which nobody shows a certificate";
            refuse(&folder.display().to_string(), what, "leave one of them out")
        }
    }
}

fn absolute(flag: &'static str, path: &Path) -> Result<PathBuf, FlagError> {
    std::path::absolute(path).map_err(|error| refuse(flag, path, error.to_string(), "write an absolute path"))
}

fn refuse(flag: &'static str, value: &Path, what: String, what_to_do: &'static str) -> FlagError {
    FlagError { flag, value: value.display().to_string(), what, what_to_do }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(arguments: &[&str]) -> Flags {
        Flags::try_parse_from(["ferrant-controller"].iter().chain(arguments)).unwrap()
    }

    #[test]
    fn status_is_beside_the_source_unless_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("cluster");
        let arguments = ["--source", source.to_str().unwrap(), "--listen", "127.0.0.1:1", "--serve", "s", "--insecure"];
        let config = Config::new(flags(&arguments)).unwrap();
        assert_eq!(config.status, folder.path().join("status"));
        assert!(config.status.is_dir());
    }

    #[test]
    fn what_cannot_be_obeyed_names_flag_value_and_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let (folder, file) = (folder.path().to_str().unwrap(), file.to_str().unwrap());
        let cases: [(&[&str], &str); 6] = [
            (&["--source", file, "--listen", "127.0.0.1:1"], "--source"),
            (
                &["--source", folder, "--listen", "localhost"],
                "--listen localhost: it is not an address and a port; write it as",
            ),
            (&["--source", folder, "--status", folder, "--listen", "127.0.0.1:1"], "--status"),
            (&["--source", folder, "--status", file, "--listen", "127.0.0.1:1"], "--status"),
            (
                &["--source", folder, "--listen", "127.0.0.1:1"],
                "--certificates DIR: is not given, and controller and agents know each other by certificates; make a CA with \
                 `ferrant-controller certificates create",
            ),
            (
                &["--source", folder, "--listen", "127.0.0.1:1", "--certificates", "ca", "--insecure"],
                "--certificates ca",
            ),
        ];
        for (arguments, expected) in cases {
            let arguments: Vec<&str> = arguments.iter().copied().chain(["--serve", "s"]).collect();
            let error = Config::new(flags(&arguments)).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
            assert!(error.contains("; "), "{error} says what to do");
        }
    }
}
