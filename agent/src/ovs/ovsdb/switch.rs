//! What the agent wants of the database: its bridge, its ports, its settings.
//!
//! Every operation makes the database so from whatever it is, in one transaction, and writes nothing when nothing differs (but for
//! settings of the whole switch, which are written whatever they are).
//! Keys of `other_config`, `external_ids` and `options` that are not named in a wish are left alone, except the options
//! of a port, which are all ours.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::client::{CallError, Client};
use super::datum::Uuid;
use super::monitor::Cache;
use super::row::{Bridge, Interface, OpenVSwitch, Port, Table};
use super::transaction::{Inserted, Transaction, TransactionError, Values, Where};

/// How often a transaction is built again because somebody else changed what it was built on.
const ATTEMPTS: usize = 4;
/// How long the cache may take to show what somebody else did.
const CATCH_UP: Duration = Duration::from_millis(200);

/// Without flows a switch forwards nothing.
const FAIL_MODE: &str = "secure";
/// What the agent speaks.
const PROTOCOL: &str = "OpenFlow15";

/// A column of pairs.
pub type Pairs = BTreeMap<String, String>;

/// A bridge as it should be: always `fail_mode=secure`, so that a switch without flows forwards nothing, and never with a
/// controller of somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeSpec {
    pub name: String,
    /// `system`, `netdev` or, in tests, `dummy`.
    pub datapath_type: String,
    pub other_config: Pairs,
    pub external_ids: Pairs,
}

/// A port with one interface of the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortSpec {
    pub name: String,
    /// Empty for a device that exists, `internal`, `geneve`, `vxlan`, `gre`, `dummy`, …
    pub interface_type: String,
    pub options: Pairs,
    /// Of the interface.
    pub external_ids: Pairs,
    /// The OpenFlow port number to have, so that flows can be there before the port is.
    pub ofport_request: Option<u32>,
    /// Bytes.
    pub mtu_request: Option<u32>,
    /// The MAC address of an internal interface.
    pub mac: Option<String>,
}

/// Why the database is not as wanted.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    #[error("{what}: {source}")]
    Call { what: String, source: CallError },
    #[error("{what}: somebody else keeps changing the same rows; is a second agent running?")]
    Contended { what: String },
    #[error("port {port}: there is no bridge {bridge}; create it first")]
    NoBridge { bridge: String, port: String },
    #[error("interface {interface}: Open vSwitch cannot make it: {error}")]
    Interface { interface: String, error: String },
    #[error("interface {interface}: Open vSwitch gave it no port number within {within:?}; is ovs-vswitchd running?")]
    NoPortNumber { interface: String, within: Duration },
    #[error("ovs-vswitchd did not take the configuration within {within:?}; is it running?")]
    NotTaken { within: Duration },
}

impl Client {
    /// Creates the bridge, or corrects what differs. Returns its row.
    pub async fn ensure_bridge(&self, bridge: &BridgeSpec) -> Result<Uuid, SwitchError> {
        self.settle(&format!("bridge {}", bridge.name), |cache| Ok(bridge_transaction(cache, bridge))).await?;
        let found = self.wait_for(|cache| cache.named::<Bridge>(&bridge.name), CATCH_UP).await;
        found.map(|(uuid, _)| uuid).ok_or_else(|| SwitchError::Contended { what: format!("bridge {}", bridge.name) })
    }

    /// Sets keys of a bridge's `external_ids`; there must be such a bridge.
    pub async fn set_bridge_ids(&self, bridge: &str, pairs: &Pairs) -> Result<(), SwitchError> {
        let what = format!("external_ids of bridge {bridge}");
        let build = |cache: &Cache| {
            let mut transaction = Transaction::new();
            let Some((uuid, row)) = cache.named::<Bridge>(bridge) else {
                return Err(SwitchError::Contended { what: what.clone() });
            };
            merge::<Bridge>(&mut transaction, || Where::uuid(uuid), "external_ids", &row.external_ids, pairs);
            Ok(transaction)
        };
        self.settle(&what, build).await
    }

    /// Removes the bridge and its ports.
    pub async fn remove_bridge(&self, name: &str) -> Result<(), SwitchError> {
        let build = |cache: &Cache| {
            let mut transaction = Transaction::new();
            if let Some((uuid, _)) = cache.named::<Bridge>(name) {
                transaction.remove_members::<OpenVSwitch, _>(Where::all(), "bridges", &BTreeSet::from([uuid]));
            }
            Ok(transaction)
        };
        self.settle(&format!("removal of bridge {name}"), build).await
    }

    /// Makes these ports of the bridge exist as described and the others named go, in one transaction.
    ///
    /// # Errors
    /// What the database says, and where there is no such bridge.
    pub async fn change_ports(&self, bridge: &str, ensure: &[PortSpec], remove: &[String]) -> Result<(), SwitchError> {
        let what = format!("ports of bridge {bridge}: {} to have, {} to remove", ensure.len(), remove.len());
        self.settle(&what, |cache| ports_transaction(cache, bridge, ensure, remove)).await
    }

    /// Makes the ports named go, and sets keys of the bridge's `external_ids` as they follow from what they are, in one
    /// transaction; with them, makes these exist as described.
    ///
    /// # Errors
    /// As [`Client::change_ports`].
    pub async fn exchange_ports(
        &self,
        bridge: &str,
        ensure: &[PortSpec],
        remove: &[String],
        ids: impl Fn(&Pairs) -> Pairs,
    ) -> Result<(), SwitchError> {
        let what = format!("ports of bridge {bridge}: {} to have, {} to remove", ensure.len(), remove.len());
        let build = |cache: &Cache| {
            let mut transaction = ports_transaction(cache, bridge, ensure, remove)?;
            if let Some((uuid, row)) = cache.named::<Bridge>(bridge) {
                let current = &row.external_ids;
                merge::<Bridge>(&mut transaction, || Where::uuid(uuid), "external_ids", current, &ids(current));
            }
            Ok(transaction)
        };
        self.settle(&what, build).await
    }

    /// [`Client::change_ports`] of one port to have.
    pub async fn ensure_port(&self, bridge: &str, port: &PortSpec) -> Result<(), SwitchError> {
        self.change_ports(bridge, std::slice::from_ref(port), &[]).await
    }

    /// [`Client::change_ports`] of one port to remove; none there is success.
    pub async fn remove_port(&self, bridge: &str, name: &str) -> Result<(), SwitchError> {
        self.change_ports(bridge, &[], &[name.to_owned()]).await
    }

    /// Waits for the OpenFlow port number of an interface, or for vswitchd's word that there will be none.
    pub async fn port_number(&self, interface: &str, within: Duration) -> Result<u32, SwitchError> {
        let find = |cache: &Cache| {
            let (_, row) = cache.named::<Interface>(interface)?;
            match (row.ofport, row.error) {
                (Some(number @ 1..), _) => u32::try_from(number).ok().map(Ok),
                (_, Some(error)) => Some(Err(SwitchError::Interface { interface: interface.to_owned(), error })),
                (Some(_), None) => Some(Err(SwitchError::Interface {
                    interface: interface.to_owned(),
                    error: "no reason given; see the log of ovs-vswitchd".into(),
                })),
                (None, None) => None,
            }
        };
        let timed_out = || SwitchError::NoPortNumber { interface: interface.to_owned(), within };
        self.wait_for(find, within).await.ok_or_else(timed_out)?
    }

    /// Sets keys of `other_config` of the whole switch (table Open_vSwitch, whose row is there once a bridge is), whatever this client
    /// knows of them: that may be less than it has itself written.
    pub async fn set_other_config(&self, pairs: &Pairs) -> Result<(), SwitchError> {
        let mut transaction = Transaction::new();
        put::<OpenVSwitch>(&mut transaction, Where::all, "other_config", pairs);
        let done = self.transact(&transaction).await;
        done.map(drop).map_err(|source| SwitchError::Call { what: "other_config of the switch".into(), source })
    }

    /// Waits until vswitchd has taken everything that was in the database when this was called, as `ovs-vsctl` does.
    pub async fn configured(&self, within: Duration) -> Result<(), SwitchError> {
        let mut transaction = Transaction::new();
        transaction.increment::<OpenVSwitch>(Where::all(), "next_cfg", 1);
        let number = transaction.select::<OpenVSwitch>(Where::all(), "next_cfg");
        let call = self.transact(&transaction).await;
        let outcome = call.map_err(|source| SwitchError::Call { what: "next_cfg".into(), source })?;
        let wanted = outcome.integers(number, "next_cfg").first().copied().unwrap_or(0);
        let taken = |cache: &Cache| cache.rows::<OpenVSwitch>().any(|(_, row)| row.cur_cfg >= wanted).then_some(());
        self.wait_for(taken, within).await.ok_or(SwitchError::NotTaken { within })
    }

    /// Builds a transaction on the cache and runs it; builds it again when what it was built on has changed.
    async fn settle(
        &self,
        what: &str,
        build: impl Fn(&Cache) -> Result<Transaction, SwitchError>,
    ) -> Result<(), SwitchError> {
        for _ in 0..ATTEMPTS {
            let revision = self.watch().borrow().revision;
            let transaction = self.read(&build)?;
            if transaction.is_empty() {
                return Ok(());
            }
            match self.transact(&transaction).await {
                Ok(_) => return Ok(()),
                Err(CallError::Transaction(error)) if is_stale(&error) => {
                    tracing::debug!(what, %error, "built on rows that have changed, building again");
                    let mut status = self.watch();
                    let newer = status.wait_for(|status| status.revision != revision);
                    let _ = tokio::time::timeout(CATCH_UP, newer).await; // if nothing changed, the next attempt tells the error
                    if self.watch().borrow().revision == revision {
                        return Err(SwitchError::Call { what: what.to_owned(), source: error.into() });
                    }
                }
                Err(source) => return Err(SwitchError::Call { what: what.to_owned(), source }),
            }
        }
        Err(SwitchError::Contended { what: what.to_owned() })
    }
}

/// Whether the transaction may fit once the cache shows what somebody else did: a name that is taken, a requirement that
/// no longer holds, a row that is gone.
fn is_stale(error: &TransactionError) -> bool {
    let stale = ["constraint violation", "timed out", "referential integrity violation"];
    matches!(error, TransactionError::Operation { error, .. } if stale.contains(&error.as_str()))
}

/// The root row, which is inserted if this database has none yet.
fn root(transaction: &mut Transaction, cache: &Cache) {
    if cache.rows::<OpenVSwitch>().next().is_none() {
        transaction.insert::<OpenVSwitch>(Values::new());
    }
}

/// What of a bridge is not as wanted, by column; `None`: there is no such bridge.
pub fn bridge_differences(cache: &Cache, wanted: &BridgeSpec) -> Option<Vec<&'static str>> {
    let (_, bridge) = cache.named::<Bridge>(&wanted.name)?;
    let lacks = |has: &Pairs, wanted: &Pairs| wanted.iter().any(|(key, value)| has.get(key) != Some(value));
    let columns = [
        ("datapath_type", bridge.datapath_type != wanted.datapath_type),
        ("fail_mode", bridge.fail_mode.as_deref() != Some(FAIL_MODE)),
        ("protocols", !bridge.protocols.iter().eq([PROTOCOL])),
        ("controller", !bridge.controller.is_empty()),
        ("other_config", lacks(&bridge.other_config, &wanted.other_config)),
        ("external_ids", lacks(&bridge.external_ids, &wanted.external_ids)),
    ];
    Some(columns.into_iter().filter(|(_, differs)| *differs).map(|(column, _)| column).collect())
}

fn bridge_transaction(cache: &Cache, wanted: &BridgeSpec) -> Transaction {
    let mut transaction = Transaction::new();
    let settings = Values::new()
        .with("datapath_type", &wanted.datapath_type)
        .with("fail_mode", &Some(FAIL_MODE.to_owned()))
        .with("protocols", &BTreeSet::from([PROTOCOL.to_owned()]))
        .with("controller", &BTreeSet::<Uuid>::new());
    if let Some((uuid, bridge)) = cache.named::<Bridge>(&wanted.name) {
        let row = || Where::uuid(uuid);
        let different = bridge_differences(cache, wanted).unwrap_or_default();
        if different.iter().any(|column| ["datapath_type", "fail_mode", "protocols", "controller"].contains(column)) {
            transaction.update::<Bridge>(row(), settings);
        }
        merge::<Bridge>(&mut transaction, row, "other_config", &bridge.other_config, &wanted.other_config);
        merge::<Bridge>(&mut transaction, row, "external_ids", &bridge.external_ids, &wanted.external_ids);
    } else {
        root(&mut transaction, cache);
        // Every bridge has an internal port of its own name.
        let local = PortSpec { name: wanted.name.clone(), interface_type: "internal".into(), ..PortSpec::default() };
        let port = insert_port(&mut transaction, &local);
        let row = settings
            .with("name", &wanted.name)
            .with_inserted("ports", &port)
            .with("other_config", &wanted.other_config)
            .with("external_ids", &wanted.external_ids);
        let bridge = transaction.insert::<Bridge>(row);
        transaction.add_inserted::<OpenVSwitch>(Where::all(), "bridges", &[bridge]);
    }
    transaction
}

fn ports_transaction(
    cache: &Cache,
    bridge: &str,
    ensure: &[PortSpec],
    remove: &[String],
) -> Result<Transaction, SwitchError> {
    let mut transaction = Transaction::new();
    let Some((uuid, row)) = cache.named::<Bridge>(bridge) else {
        return match ensure.first() {
            Some(port) => Err(SwitchError::NoBridge { bridge: bridge.to_owned(), port: port.name.clone() }),
            None => Ok(transaction),
        };
    };
    let gone = remove.iter().filter_map(|name| cache.named::<Port>(name)).map(|(port, _)| port);
    let gone: BTreeSet<Uuid> = gone.filter(|port| row.ports.contains(port)).collect();
    let (mut inserted, mut moved) = (Vec::new(), BTreeSet::new());
    for wanted in ensure {
        match cache.named::<Port>(&wanted.name) {
            None => inserted.push(insert_port(&mut transaction, wanted)),
            Some((port, _)) => {
                correct_interface(&mut transaction, cache, wanted);
                if !row.ports.contains(&port) {
                    // It hangs on another bridge; a port may be on one only.
                    let elsewhere = Where::includes("ports", &BTreeSet::from([port]));
                    transaction.remove_members::<Bridge, _>(elsewhere, "ports", &BTreeSet::from([port]));
                    moved.insert(port);
                }
            }
        }
    }
    if !gone.is_empty() {
        transaction.remove_members::<Bridge, _>(Where::uuid(uuid), "ports", &gone);
    }
    if !moved.is_empty() {
        transaction.add_members::<Bridge, _>(Where::uuid(uuid), "ports", &moved);
    }
    if !inserted.is_empty() {
        // Without this a bridge that has just gone would take the new rows with it, and the transaction would succeed.
        transaction.require::<Bridge, _>(Where::uuid(uuid), "name", &bridge.to_owned());
        transaction.add_inserted::<Bridge>(Where::uuid(uuid), "ports", &inserted);
    }
    Ok(transaction)
}

/// Whether a port of the bridge is as described, as far as the database goes.
pub fn port_differs(cache: &Cache, bridge: &str, wanted: &PortSpec) -> bool {
    ports_transaction(cache, bridge, std::slice::from_ref(wanted), &[]).is_ok_and(|changes| !changes.is_empty())
}

fn insert_port(transaction: &mut Transaction, port: &PortSpec) -> Inserted {
    let number = |number: Option<u32>| number.map(i64::from);
    let interface = Values::new()
        .with("name", &port.name)
        .with("type", &port.interface_type)
        .with("options", &port.options)
        .with("external_ids", &port.external_ids)
        .with("ofport_request", &number(port.ofport_request))
        .with("mtu_request", &number(port.mtu_request))
        .with("mac", &port.mac);
    let interface = transaction.insert::<Interface>(interface);
    transaction.insert::<Port>(Values::new().with("name", &port.name).with_inserted("interfaces", &interface))
}

/// Writes what differs of an interface that exists.
fn correct_interface(transaction: &mut Transaction, cache: &Cache, wanted: &PortSpec) {
    let Some((uuid, row)) = cache.named::<Interface>(&wanted.name) else { return };
    let (ofport_request, mtu_request) = (wanted.ofport_request.map(i64::from), wanted.mtu_request.map(i64::from));
    let mut values = Values::new();
    if row.interface_type != wanted.interface_type {
        values = values.with("type", &wanted.interface_type);
    }
    if row.options != wanted.options {
        values = values.with("options", &wanted.options);
    }
    if row.ofport_request != ofport_request {
        values = values.with("ofport_request", &ofport_request);
    }
    if row.mtu_request != mtu_request {
        values = values.with("mtu_request", &mtu_request);
    }
    if row.mac != wanted.mac {
        values = values.with("mac", &wanted.mac);
    }
    if !values.is_empty() {
        if row.error.is_some() {
            // What vswitchd said of the interface as it was says nothing of the one it will be.
            values = values.with("error", &None::<String>).with("ofport", &None::<i64>);
        }
        transaction.update::<Interface>(Where::uuid(uuid), values);
    }
    merge::<Interface>(transaction, || Where::uuid(uuid), "external_ids", &row.external_ids, &wanted.external_ids);
}

/// Sets the wanted keys of a column of pairs that are not as wanted.
fn merge<T: Table>(
    transaction: &mut Transaction,
    rows: impl Fn() -> Where,
    column: &str,
    current: &Pairs,
    wanted: &Pairs,
) {
    let different: Pairs = wanted
        .iter()
        .filter(|(key, value)| current.get(*key) != Some(*value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if !different.is_empty() {
        put::<T>(transaction, rows, column, &different);
    }
}

/// Sets keys of a column of pairs, whatever they are.
fn put<T: Table>(transaction: &mut Transaction, rows: impl Fn() -> Where, column: &str, pairs: &Pairs) {
    let keys: BTreeSet<String> = pairs.keys().cloned().collect();
    transaction.remove_members::<T, _>(rows(), column, &keys);
    transaction.add_members::<T, _>(rows(), column, pairs);
}
