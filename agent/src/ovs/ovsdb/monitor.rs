//! The client's copy of the database, and what changed in it.
//!
//! The server sends all rows once and then every change (`ovsdb-server(7)`, sections 4.1.12 to 4.1.16). A row leaves out columns that
//! hold their default; `modify` carries the new value of plain columns but the symmetric difference of sets and maps.
//! The [`Cache`] turns both into whole rows. A stand-alone server knows no session after a reconnect, so a new connection
//! brings a new cache, and [`Cache::replace`] tells what became different in between.
//!
//! A [`Changes`] feed joins the changes of a row until its reader takes them: its memory is bounded by the number of rows,
//! never by the number of changes.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::datum::{Atom, Datum, DatumError, NotUuid, Uuid};
use super::row::{Row, TABLES, Table};
use super::schema::{ColumnType, Schema};

/// What a row was when the reader last looked, and is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub table: &'static str,
    pub uuid: Uuid,
    /// `None`: the row is new.
    pub before: Option<Arc<Row>>,
    /// `None`: the row is gone.
    pub after: Option<Arc<Row>>,
}

/// An update that does not fit the rows before it.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error("the server's update of {table} has a row id that is none: {source}")]
    RowId { table: String, source: NotUuid },
    #[error("the server's update of {table}.{column}: {source}")]
    Column { table: &'static str, column: &'static str, source: DatumError },
    #[error("the server's update cannot be read: {0}")]
    Malformed(String),
}

/// Every monitored row.
#[derive(Debug, Default)]
pub struct Cache {
    tables: BTreeMap<&'static str, TableCache>,
}

#[derive(Debug, Default)]
struct TableCache {
    columns: Vec<(&'static str, ColumnType)>,
    rows: BTreeMap<Uuid, Arc<Row>>,
    by_name: BTreeMap<String, Uuid>,
}

/// The `<monitor-cond-requests>` for every table the agent touches.
pub(super) fn requests() -> Value {
    let request = |columns: &[(&'static str, ColumnType)]| {
        let names: Vec<_> = columns.iter().map(|(column, _)| *column).collect();
        json!([{"columns": names}])
    };
    Value::Object(TABLES.iter().map(|(table, columns)| ((*table).to_owned(), request(columns))).collect::<Map<_, _>>())
}

impl Change {
    /// The change as typed rows, if it is in this table: (before, after).
    pub fn of<T: Table>(&self) -> Option<(Option<T>, Option<T>)> {
        let read = |row: &Option<Arc<Row>>| row.as_deref().map(T::read);
        (self.table == T::NAME).then(|| (read(&self.before), read(&self.after)))
    }
}

impl Cache {
    /// An empty cache that reads columns as this schema says; the schema has passed [`super::row::check`].
    pub(super) fn new(schema: &Schema) -> Self {
        let table = |(name, columns): &(&'static str, &[(&'static str, ColumnType)])| {
            let columns =
                columns.iter().filter_map(|(column, _)| Some((*column, schema.column(name, column)?))).collect();
            (*name, TableCache { columns, ..TableCache::default() })
        };
        Self { tables: TABLES.iter().map(table).collect() }
    }

    /// All rows of a table.
    pub fn rows<T: Table>(&self) -> impl Iterator<Item = (Uuid, T)> {
        self.tables
            .get(T::NAME)
            .into_iter()
            .flat_map(|table| table.rows.iter().map(|(uuid, row)| (*uuid, T::read(row))))
    }

    /// One row.
    pub fn row<T: Table>(&self, uuid: Uuid) -> Option<T> {
        Some(T::read(self.tables.get(T::NAME)?.rows.get(&uuid)?))
    }

    /// The row with this name, in a table that has names.
    pub fn named<T: Table>(&self, name: &str) -> Option<(Uuid, T)> {
        let uuid = *self.tables.get(T::NAME)?.by_name.get(name)?;
        Some((uuid, self.row(uuid)?))
    }

    /// Applies `<table-updates2>` and returns what changed.
    pub(super) fn apply(&mut self, updates: &Value) -> Result<Vec<Change>, UpdateError> {
        let mut changes = Vec::new();
        for (table, rows) in updates.as_object().ok_or_else(|| malformed(updates))? {
            let Some((name, _)) = TABLES.iter().find(|(name, _)| name == table) else { continue };
            let Some(table) = self.tables.get_mut(name) else { continue };
            for (uuid, update) in rows.as_object().ok_or_else(|| malformed(rows))? {
                let uuid = uuid.parse().map_err(|source| UpdateError::RowId { table: (*name).into(), source })?;
                let before = table.rows.get(&uuid).cloned();
                let after = table.updated(name, before.as_deref(), update)?.map(Arc::new);
                table.put(uuid, after.clone());
                changes.push(Change { table: name, uuid, before, after });
            }
        }
        Ok(changes)
    }

    /// Takes the place of an older cache; returns what differs.
    pub(super) fn replace(&mut self, fresh: Self) -> Vec<Change> {
        let stale = mem::replace(self, fresh);
        let mut changes = Vec::new();
        for (name, _) in TABLES {
            let rows = |cache: &Self| cache.tables.get(name).map(|table| table.rows.clone()).unwrap_or_default();
            let (before, after) = (rows(&stale), rows(self));
            let uuids: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
            for uuid in uuids {
                let (before, after) = (before.get(&uuid).cloned(), after.get(&uuid).cloned());
                if before != after {
                    changes.push(Change { table: name, uuid, before, after });
                }
            }
        }
        changes
    }
}

impl TableCache {
    /// The whole row after one `<row-update2>`.
    fn updated(&self, table: &'static str, before: Option<&Row>, update: &Value) -> Result<Option<Row>, UpdateError> {
        let update = update.as_object().ok_or_else(|| malformed(update))?;
        if update.contains_key("delete") {
            return Ok(None);
        }
        let (new, modified) = (update.get("initial").or_else(|| update.get("insert")), update.get("modify"));
        let mut row = match (new, modified, before) {
            (Some(_), _, _) => self.columns.iter().map(|(column, kind)| (*column, kind.default())).collect(),
            (None, Some(_), Some(before)) => before.clone(),
            _ => return Err(UpdateError::Malformed(format!("{table}: {}", Value::Object(update.clone())))),
        };
        let changed =
            new.or(modified).and_then(Value::as_object).ok_or_else(|| UpdateError::Malformed(table.into()))?;
        for (column, kind) in &self.columns {
            let Some(value) = changed.get(*column) else { continue };
            let value = kind.read(value).map_err(|source| UpdateError::Column { table, column, source })?;
            match row.get_mut(column) {
                Some(old) if new.is_none() && kind.changes_by_difference() => old.apply_difference(value),
                _ => drop(row.insert(column, value)),
            }
        }
        Ok(Some(row))
    }

    fn put(&mut self, uuid: Uuid, row: Option<Arc<Row>>) {
        let old = match row {
            Some(row) => {
                if let Some(name) = name_of(&row) {
                    self.by_name.insert(name.to_owned(), uuid);
                }
                self.rows.insert(uuid, row)
            }
            None => self.rows.remove(&uuid),
        };
        // A row that took another's name in the same update may already own the entry.
        let Some(name) = old.as_deref().and_then(name_of) else { return };
        let still_named = self.rows.get(&uuid).and_then(|row| name_of(row)) == Some(name);
        if !still_named && self.by_name.get(name) == Some(&uuid) {
            self.by_name.remove(name);
        }
    }
}

fn name_of(row: &Row) -> Option<&str> {
    match row.get("name")? {
        Datum::Set(members) => match members.first()? {
            Atom::String(name) => Some(name),
            _ => None,
        },
        Datum::Map(_) => None,
    }
}

fn malformed(value: &Value) -> UpdateError {
    UpdateError::Malformed(value.to_string().chars().take(120).collect())
}

/// Changes of rows since they were last taken. Dropping it ends the feed.
#[derive(Debug)]
pub struct Changes(Arc<Feed>);

#[derive(Debug, Default)]
struct Feed {
    pending: Mutex<BTreeMap<(&'static str, Uuid), Change>>,
    filled: Notify,
}

/// The feeds of one client.
#[derive(Debug, Default)]
pub(super) struct Feeds(Vec<Weak<Feed>>);

impl Changes {
    /// Waits until something is different from what was last taken, and takes it. May be dropped while waiting.
    pub async fn next(&mut self) -> Vec<Change> {
        loop {
            let taken = mem::take(&mut *self.0.pending.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken.into_values().collect();
            }
            self.0.filled.notified().await;
        }
    }
}

impl Feeds {
    pub(super) fn subscribe(&mut self) -> Changes {
        let feed = Arc::new(Feed::default());
        self.0.push(Arc::downgrade(&feed));
        Changes(feed)
    }

    pub(super) fn publish(&mut self, changes: &[Change]) {
        self.0.retain(|feed| feed.upgrade().map(|feed| feed.add(changes)).is_some());
    }
}

impl Feed {
    fn add(&self, changes: &[Change]) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let key = (change.table, change.uuid);
            let before = match pending.remove(&key) {
                Some(earlier) => earlier.before,
                None => change.before.clone(),
            };
            if before != change.after {
                pending.insert(key, Change { before, ..change.clone() });
            }
        }
        self.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ovs::ovsdb::row::{Bridge, check};

    /// The schema of exactly the columns read, as the server writes it.
    fn schema() -> Schema {
        let kind = |kind: &ColumnType| {
            let max = if kind.max == u64::MAX { json!("unlimited") } else { json!(kind.max) };
            let mut json = json!({"key": format!("{:?}", kind.key).to_lowercase(), "min": kind.min, "max": max});
            if let Some(value) = kind.value {
                json["value"] = json!(format!("{value:?}").to_lowercase());
            }
            json!({"type": json})
        };
        let table = |columns: &[(&str, ColumnType)]| json!({"columns": columns.iter().map(|(name, column)| ((*name).to_owned(), kind(column))).collect::<Map<_, _>>()});
        let tables: Map<_, _> = TABLES.iter().map(|(name, columns)| ((*name).to_owned(), table(columns))).collect();
        let schema = Schema::from_json(&json!({"version": "1", "tables": tables})).unwrap();
        check(&schema).unwrap();
        schema
    }

    const ROW: &str = "550e8400-e29b-41d4-a716-446655440000";

    #[test]
    fn defaults_are_filled_in_and_differences_applied() {
        let mut cache = Cache::new(&schema());
        cache.apply(&json!({"Bridge": {ROW: {"initial": {"name": "br"}}}})).unwrap();
        let (uuid, bridge) = cache.named::<Bridge>("br").unwrap();
        assert_eq!((bridge.fail_mode, bridge.external_ids.len(), bridge.datapath_type), (None, 0, String::new()));

        let update = json!({"fail_mode": "secure", "other_config": ["map", [["a", "1"], ["b", "2"]]]});
        cache.apply(&json!({"Bridge": {ROW: {"modify": update}}})).unwrap();
        let update = json!({"fail_mode": ["set", []], "other_config": ["map", [["a", "1"], ["b", "3"]]]});
        cache.apply(&json!({"Bridge": {ROW: {"modify": update}}})).unwrap();
        let bridge: Bridge = cache.row(uuid).unwrap();
        assert_eq!((bridge.fail_mode, bridge.other_config), (None, BTreeMap::from([("b".into(), "3".into())])));

        cache.apply(&json!({"Bridge": {ROW: {"delete": null}}})).unwrap();
        assert!(cache.named::<Bridge>("br").is_none());
    }

    #[test]
    fn a_change_of_a_row_that_is_not_there_is_an_error() {
        let mut cache = Cache::new(&schema());
        assert!(cache.apply(&json!({"Bridge": {ROW: {"modify": {"name": "br"}}}})).is_err());
        assert!(cache.apply(&json!({"Bridge": {"nonsense": {"insert": {"name": "br"}}}})).is_err());
        assert!(cache.apply(&json!({"Bridge": {ROW: {"insert": {"name": 3}}}})).is_err());
        assert!(cache.apply(&json!([])).is_err());
    }

    #[test]
    fn changes_of_one_row_are_joined_until_taken() {
        let mut cache = Cache::new(&schema());
        let mut feeds = Feeds::default();
        let changes = feeds.subscribe();
        for update in [
            json!({"insert": {"name": "br"}}),
            json!({"modify": {"fail_mode": "secure"}}),
            json!({"modify": {"fail_mode": "standalone"}}),
        ] {
            feeds.publish(&cache.apply(&json!({"Bridge": {ROW: update}})).unwrap());
        }
        let taken = mem::take(&mut *changes.0.pending.lock().unwrap());
        let change = taken.into_values().next().unwrap();
        let (before, after) = change.of::<Bridge>().unwrap();
        assert_eq!((before, after.unwrap().fail_mode.as_deref()), (None, Some("standalone")));

        let back_and_forth =
            [json!({"modify": {"fail_mode": "secure"}}), json!({"modify": {"fail_mode": "standalone"}})];
        for update in back_and_forth {
            feeds.publish(&cache.apply(&json!({"Bridge": {ROW: update}})).unwrap());
        }
        assert!(changes.0.pending.lock().unwrap().is_empty(), "a row that is as it was is no change");
    }

    #[test]
    fn a_new_connection_tells_what_became_different() {
        let mut cache = Cache::new(&schema());
        cache.apply(&json!({"Bridge": {ROW: {"initial": {"name": "old"}}}})).unwrap();
        let mut same = Cache::new(&schema());
        same.apply(&json!({"Bridge": {ROW: {"initial": {"name": "old"}}}})).unwrap();
        assert_eq!(cache.replace(same), []);
        let changes = cache.replace(Cache::new(&schema()));
        assert_eq!(changes.len(), 1);
        assert!(changes[0].before.is_some() && changes[0].after.is_none());
    }
}
