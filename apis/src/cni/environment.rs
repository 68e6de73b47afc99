//! The environment variables a runtime sets for the plugin.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{CniError, ErrorCode};

/// What the runtime asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `CNI_COMMAND=ADD`.
    Add(Attach),
    /// `CNI_COMMAND=DEL`.
    Delete(Detach),
    /// `CNI_COMMAND=VERSION`.
    Version,
}

/// Give a container an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`: the file of the container's network namespace.
    pub network_namespace: PathBuf,
    /// `CNI_IFNAME`: the interface's name in the container.
    pub interface: String,
    /// From `CNI_ARGS`.
    pub pod: PodArguments,
}

/// Take it away. The namespace may be gone already, and the pod's name need not be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detach {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`.
    pub network_namespace: Option<PathBuf>,
    /// `CNI_IFNAME`.
    pub interface: String,
}

/// Which pod it is: `K8S_POD_NAMESPACE`, `K8S_POD_NAME` and `K8S_POD_UID` of `CNI_ARGS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodArguments {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID; not every runtime says it.
    pub uid: Option<String>,
}

impl Command {
    /// Reads the environment through `variable`; an error names every variable that is missing or wrong.
    pub fn parse(variable: impl Fn(&str) -> Option<OsString>) -> Result<Command, CniError> {
        let mut reader = Reader { variable, wrong: Vec::new() };
        match reader.text("CNI_COMMAND").as_deref() {
            Some("ADD") => reader.attach().map(Command::Add),
            Some("DEL") => reader.detach().map(Command::Delete),
            Some("VERSION") => Ok(Command::Version),
            Some(other) => Err(CniError::new(
                ErrorCode::INVALID_ENVIRONMENT,
                format!("CNI_COMMAND={other:?} is not supported"),
                "this plugin answers ADD, DEL and VERSION",
            )),
            None => Err(CniError::new(
                ErrorCode::INVALID_ENVIRONMENT,
                "CNI_COMMAND is not set",
                "this is a CNI plugin: a container runtime starts it, with ADD, DEL or VERSION as CNI_COMMAND",
            )),
        }
    }
}

struct Reader<Variable> {
    variable: Variable,
    /// "NAME: what is wrong with it", in the order asked.
    wrong: Vec<String>,
}

impl<Variable: Fn(&str) -> Option<OsString>> Reader<Variable> {
    fn attach(mut self) -> Result<Attach, CniError> {
        let container_id = self.container_id();
        let path = self.text("CNI_NETNS");
        let network_namespace = self.network_namespace(path);
        let interface = self.interface();
        let pod = self.pod();
        self.no_wrong()?;
        match (container_id, network_namespace, interface, pod) {
            (Some(container_id), Some(network_namespace), Some(interface), Some(pod)) => {
                Ok(Attach { container_id, network_namespace, interface, pod })
            }
            _ => Err(invalid_environment("CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME and CNI_ARGS are needed")),
        }
    }

    fn detach(mut self) -> Result<Detach, CniError> {
        let container_id = self.container_id();
        let path = self.text("CNI_NETNS");
        let network_namespace = path.and_then(|path| self.network_namespace(Some(path)));
        let interface = self.interface();
        self.no_wrong()?;
        match (container_id, interface) {
            (Some(container_id), Some(interface)) => Ok(Detach { container_id, network_namespace, interface }),
            _ => Err(invalid_environment("CNI_CONTAINERID and CNI_IFNAME are needed")),
        }
    }

    fn no_wrong(&self) -> Result<(), CniError> {
        if self.wrong.is_empty() { Ok(()) } else { Err(invalid_environment(&self.wrong.join("; "))) }
    }

    /// A variable's text; an empty one counts as not set.
    fn text(&mut self, name: &str) -> Option<String> {
        let value = (self.variable)(name).filter(|value| !value.is_empty())?;
        value.into_string().map_err(|raw| self.wrong.push(format!("{name}: {raw:?} is not UTF-8"))).ok()
    }

    fn container_id(&mut self) -> Option<String> {
        let id = self.text("CNI_CONTAINERID");
        let valid = |id: &String| {
            id.starts_with(|first: char| first.is_ascii_alphanumeric())
                && id.chars().all(|each| each.is_ascii_alphanumeric() || "_.-".contains(each))
        };
        self.checked("CNI_CONTAINERID", id, valid, "letters, digits, \"_\", \".\" and \"-\", a letter or digit first")
    }

    fn interface(&mut self) -> Option<String> {
        let name = self.text("CNI_IFNAME");
        // The rules of the kernel's dev_valid_name().
        let valid = |name: &String| {
            name.len() <= 15
                && name != "."
                && name != ".."
                && !name.chars().any(|each| each == '/' || each == ':' || each.is_whitespace() || each.is_control())
        };
        self.checked("CNI_IFNAME", name, valid, "an interface name of 1 to 15 bytes without \"/\", \":\" and spaces")
    }

    fn network_namespace(&mut self, path: Option<String>) -> Option<PathBuf> {
        let valid = |path: &String| path.starts_with('/') && !path.contains('\0');
        self.checked("CNI_NETNS", path, valid, "the absolute path of a network namespace").map(PathBuf::from)
    }

    fn checked(
        &mut self,
        name: &str,
        value: Option<String>,
        valid: impl Fn(&String) -> bool,
        wanted: &str,
    ) -> Option<String> {
        match value {
            Some(value) if valid(&value) => Some(value),
            Some(value) => {
                self.wrong.push(format!("{name}: {value:?} is not {wanted}"));
                None
            }
            None => {
                self.wrong.push(format!("{name}: not set, it has to be {wanted}"));
                None
            }
        }
    }

    /// `CNI_ARGS` is `KEY=value;KEY=value`; keys of others are theirs.
    fn pod(&mut self) -> Option<PodArguments> {
        let arguments = self.text("CNI_ARGS").unwrap_or_default();
        let (mut namespace, mut name, mut uid) = (None, None, None);
        for pair in arguments.split(';').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                self.wrong.push(format!("CNI_ARGS: {pair:?} is not KEY=value"));
                return None;
            };
            match key {
                "K8S_POD_NAMESPACE" => namespace = Some(value.to_owned()),
                "K8S_POD_NAME" => name = Some(value.to_owned()),
                "K8S_POD_UID" => uid = Some(value.to_owned()).filter(|uid| !uid.is_empty()),
                _ => {}
            }
        }
        let label = |text: &String| is_dns_label(text);
        let subdomain = |text: &String| text.len() <= 253 && text.split('.').all(is_dns_label_of_any_length);
        let namespace =
            self.checked("CNI_ARGS K8S_POD_NAMESPACE", namespace, label, "a namespace's name (RFC 1123 label)");
        let name = self.checked("CNI_ARGS K8S_POD_NAME", name, subdomain, "a pod's name (RFC 1123 subdomain)");
        Some(PodArguments { namespace: namespace?, name: name?, uid })
    }
}

fn invalid_environment(details: &str) -> CniError {
    let what_to_do = "the container runtime sets these variables (CNI specification, section 3); correct its configuration or its call";
    CniError::new(ErrorCode::INVALID_ENVIRONMENT, format!("invalid environment: {details}"), what_to_do)
}

/// RFC 1123, as Kubernetes applies it to namespaces: at most 63 of `[a-z0-9-]`, alphanumeric at both ends.
fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_label_of_any_length(text)
}

fn is_dns_label_of_any_length(text: &str) -> bool {
    let inner = |each: u8| each.is_ascii_lowercase() || each.is_ascii_digit() || each == b'-';
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(inner)
}
