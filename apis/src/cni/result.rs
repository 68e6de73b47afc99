//! The success answer of ADD.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{MacAddress, SpecVersion};

/// What was attached, in the shape of CNI 1.1; `document` writes it for any version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddResult {
    /// Interfaces made, the pod's first.
    pub interfaces: Vec<ResultInterface>,
    /// Addresses of them.
    pub ips: Vec<ResultAddress>,
    /// Routes in the pod.
    pub routes: Vec<ResultRoute>,
}

/// An interface that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultInterface {
    /// Its name.
    pub name: String,
    /// Its link-layer address, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Its MTU in bytes (from CNI 1.1 on).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The network namespace it is in; none on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
}

/// An address that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultAddress {
    /// The address with its prefix length.
    pub address: IpNet,
    /// The gateway of its subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Index into `interfaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

/// A route that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRoute {
    /// Its destination.
    #[serde(rename = "dst")]
    pub destination: IpNet,
    /// The next hop.
    #[serde(rename = "gw", default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// What a runtime says that ADD answered: of this plugin and of those after it in its chain, in the shape of any version. Only what
/// CHECK compares is read, and what is not there is no error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct PreviousResult {
    /// Interfaces of the chain.
    #[serde(default)]
    pub interfaces: Vec<PreviousInterface>,
    /// Addresses of them.
    #[serde(default)]
    pub ips: Vec<PreviousAddress>,
    /// Routes in the pod.
    #[serde(default)]
    pub routes: Vec<ResultRoute>,
}

/// An interface of a chain's result.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PreviousInterface {
    /// Its name.
    pub name: String,
    /// Its link-layer address as it was written: another plugin's interface may have any kind.
    #[serde(default)]
    pub mac: String,
    /// The network namespace it is in; empty on the host.
    #[serde(default)]
    pub sandbox: String,
}

/// An address of a chain's result.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PreviousAddress {
    /// The address with its prefix length.
    pub address: IpNet,
    /// Index into `interfaces`; some plugins say −1 for none.
    #[serde(default)]
    pub interface: Option<i64>,
}

impl PreviousResult {
    /// Where in `interfaces` the pod's interface of that name is.
    pub fn pod_interface(&self, name: &str) -> Option<usize> {
        self.interfaces.iter().position(|interface| interface.name == name && !interface.sandbox.is_empty())
    }

    /// The addresses of that interface; one that names no interface is the pod's.
    pub fn addresses_of(&self, interface: usize) -> impl Iterator<Item = IpNet> {
        let of = move |found: &&PreviousAddress| {
            found.interface.is_none_or(|index| index < 0 || usize::try_from(index) == Ok(interface))
        };
        self.ips.iter().filter(of).map(|found| found.address)
    }
}

impl AddResult {
    /// The document a plugin prints for ADD.
    pub fn document(&self, version: SpecVersion) -> Value {
        let interfaces = self.interfaces.iter().map(|interface| interface.value(version)).collect::<Vec<_>>();
        let ips = self.ips.iter().map(|address| address.value(version)).collect::<Vec<_>>();
        let routes = self.routes.iter().map(ResultRoute::value).collect::<Vec<_>>();
        json!({ "cniVersion": version.as_str(), "interfaces": interfaces, "ips": ips, "routes": routes })
    }
}

impl ResultInterface {
    fn value(&self, version: SpecVersion) -> Value {
        let mut value = Map::new();
        value.insert("name".into(), self.name.as_str().into());
        if let Some(mac) = self.mac {
            value.insert("mac".into(), mac.to_string().into());
        }
        if let (Some(mtu), true) = (self.mtu, version >= SpecVersion::V1_1_0) {
            value.insert("mtu".into(), mtu.into());
        }
        if let Some(sandbox) = &self.sandbox {
            value.insert("sandbox".into(), sandbox.as_str().into());
        }
        Value::Object(value)
    }
}

impl ResultAddress {
    fn value(&self, version: SpecVersion) -> Value {
        let mut value = Map::new();
        if version < SpecVersion::V1_0_0 {
            value.insert("version".into(), if self.address.addr().is_ipv4() { "4" } else { "6" }.into());
        }
        value.insert("address".into(), self.address.to_string().into());
        if let Some(gateway) = self.gateway {
            value.insert("gateway".into(), gateway.to_string().into());
        }
        if let Some(interface) = self.interface {
            value.insert("interface".into(), interface.into());
        }
        Value::Object(value)
    }
}

impl ResultRoute {
    fn value(&self) -> Value {
        let mut value = Map::new();
        value.insert("dst".into(), self.destination.to_string().into());
        if let Some(gateway) = self.gateway {
            value.insert("gw".into(), gateway.to_string().into());
        }
        Value::Object(value)
    }
}
