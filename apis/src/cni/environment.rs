//! The environment variables a runtime sets for the plugin.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::{CniError, ErrorCode, MacAddress, SpecVersion};

/// What the runtime asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `CNI_COMMAND=ADD`.
    Add(Attach),
    /// `CNI_COMMAND=DEL`.
    Delete(Detach),
    /// `CNI_COMMAND=CHECK`.
    Check(Check),
    /// `CNI_COMMAND=GC`.
    Collect,
    /// `CNI_COMMAND=STATUS`.
    Status,
    /// `CNI_COMMAND=VERSION`.
    Version,
}

impl Command {
    /// As the runtime writes it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Command::Add(_) => "ADD",
            Command::Delete(_) => "DEL",
            Command::Check(_) => "CHECK",
            Command::Collect => "GC",
            Command::Status => "STATUS",
            Command::Version => "VERSION",
        }
    }

    /// A configuration of an older version of the specification knows no such command.
    pub fn refuse_before(&self, version: SpecVersion) -> Result<(), CniError> {
        if version >= SpecVersion::V1_1_0 || !matches!(self, Command::Collect | Command::Status) {
            return Ok(());
        }
        Err(CniError::new(
            ErrorCode::INCOMPATIBLE_VERSION,
            format!("CNI version {version} has no {}", self.as_str()),
            "write 1.1.0 as \"cniVersion\" in the network configuration",
        ))
    }
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

/// Is it as ADD made it?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`.
    pub network_namespace: PathBuf,
    /// `CNI_IFNAME`.
    pub interface: String,
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

/// `CNI_ARGS`: which pod it is (`K8S_POD_NAMESPACE`, `K8S_POD_NAME`, `K8S_POD_UID`), and what it would like to have (`IP`, `MAC`, as
/// the conventions of CNI have them).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodArguments {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID; not every runtime says it.
    pub uid: Option<String>,
    /// Addresses of `IP`, with commas.
    pub addresses: Vec<IpAddr>,
    /// `MAC`.
    pub mac: Option<MacAddress>,
}

impl Command {
    /// Reads the environment through `variable`; an error names every variable that is missing or wrong.
    pub fn parse(variable: impl Fn(&str) -> Option<OsString>) -> Result<Command, CniError> {
        let mut reader = Reader { variable, wrong: Vec::new() };
        match reader.text("CNI_COMMAND").as_deref() {
            Some("ADD") => reader.attach().map(Command::Add),
            Some("DEL") => reader.detach().map(Command::Delete),
            Some("CHECK") => reader.check().map(Command::Check),
            Some("GC") => Ok(Command::Collect),
            Some("STATUS") => Ok(Command::Status),
            Some("VERSION") => Ok(Command::Version),
            Some(other) => Err(CniError::new(
                ErrorCode::INVALID_ENVIRONMENT,
                format!("CNI_COMMAND={other:?} is not supported"),
                "this plugin answers ADD, DEL, CHECK, GC, STATUS and VERSION",
            )),
            None => Err(CniError::new(
                ErrorCode::INVALID_ENVIRONMENT,
                "CNI_COMMAND is not set",
                "this is a CNI plugin: a container runtime starts it, with ADD, DEL, CHECK, GC, STATUS or VERSION as CNI_COMMAND",
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

    fn check(mut self) -> Result<Check, CniError> {
        let container_id = self.container_id();
        let path = self.text("CNI_NETNS");
        let network_namespace = self.network_namespace(path);
        let interface = self.interface();
        self.no_wrong()?;
        match (container_id, network_namespace, interface) {
            (Some(container_id), Some(network_namespace), Some(interface)) => {
                Ok(Check { container_id, network_namespace, interface })
            }
            _ => Err(invalid_environment("CNI_CONTAINERID, CNI_NETNS and CNI_IFNAME are needed")),
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

    /// `CNI_ARGS` is `KEY=value;KEY=value`. Keys that nobody here knows are refused unless `IgnoreUnknown` says otherwise.
    fn pod(&mut self) -> Option<PodArguments> {
        let text = self.text("CNI_ARGS").unwrap_or_default();
        let arguments = Arguments::split(&text, &mut self.wrong)?;
        let label = |text: &String| is_dns_label(text);
        let subdomain = |text: &String| text.len() <= 253 && text.split('.').all(is_dns_label_of_any_length);
        let namespace = arguments.namespace.map(str::to_owned);
        let namespace =
            self.checked("CNI_ARGS K8S_POD_NAMESPACE", namespace, label, "a namespace's name (RFC 1123 label)");
        let name = arguments.name.map(str::to_owned);
        let name = self.checked("CNI_ARGS K8S_POD_NAME", name, subdomain, "a pod's name (RFC 1123 subdomain)");
        let addresses = arguments.addresses.map_or(Some(Vec::new()), |list| list.split(',').map(address).collect());
        let mac = arguments.mac.map_or(Some(None), |mac| mac.parse().ok().map(Some));
        if addresses.is_none() {
            self.wrong.push(format!("CNI_ARGS IP: {:?} is not a list of addresses with commas", arguments.addresses));
        }
        if mac.is_none() {
            self.wrong.push(format!("CNI_ARGS MAC: {:?} is not a MAC address", arguments.mac));
        }
        let uid = arguments.uid.filter(|uid| !uid.is_empty()).map(str::to_owned);
        Some(PodArguments { namespace: namespace?, name: name?, uid, addresses: addresses?, mac: mac? })
    }
}

/// `CNI_ARGS` taken apart.
#[derive(Default)]
struct Arguments<'text> {
    namespace: Option<&'text str>,
    name: Option<&'text str>,
    uid: Option<&'text str>,
    addresses: Option<&'text str>,
    mac: Option<&'text str>,
}

impl<'text> Arguments<'text> {
    fn split(text: &'text str, wrong: &mut Vec<String>) -> Option<Arguments<'text>> {
        let mut arguments = Arguments::default();
        let (mut unknown, mut ignore) = (Vec::new(), false);
        for pair in text.split(';').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                wrong.push(format!("CNI_ARGS: {pair:?} is not KEY=value"));
                return None;
            };
            match key {
                "K8S_POD_NAMESPACE" => arguments.namespace = Some(value),
                "K8S_POD_NAME" => arguments.name = Some(value),
                "K8S_POD_UID" => arguments.uid = Some(value),
                "IP" => arguments.addresses = Some(value),
                "MAC" => arguments.mac = Some(value),
                // The sandbox's id again, which CNI_CONTAINERID says.
                "K8S_POD_INFRA_CONTAINER_ID" => {}
                "IgnoreUnknown" => match value.to_ascii_lowercase().as_str() {
                    "1" | "true" => ignore = true,
                    "0" | "false" => ignore = false,
                    _ => wrong.push(format!("CNI_ARGS IgnoreUnknown: {value:?} is not 1, true, 0 or false")),
                },
                other => unknown.push(other),
            }
        }
        if !ignore && !unknown.is_empty() {
            let unknown = unknown.join(", ");
            wrong.push(format!("CNI_ARGS: {unknown} is not known, and IgnoreUnknown=1 is not said"));
        }
        Some(arguments)
    }
}

/// With or without a prefix length: the pod gets a host prefix whatever it says.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<IpNet>().ok().map(|prefix| prefix.addr()))
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
