//! Typed rows of the tables the agent touches, made by one macro from the list of their columns.
//!
//! A column's Rust type says what the schema must say; [`check`] compares the two once a connection, so that reading a
//! row cannot fail later. Not here: where rows come from ([`super::monitor`]) and how they are written
//! ([`super::transaction`]).

use std::collections::{BTreeMap, BTreeSet};

use super::datum::{Atom, AtomKind, Datum, Uuid};
use super::schema::{ColumnType, Schema, SchemaError};

/// A row as the database has it: every monitored column by name.
pub type Row = BTreeMap<&'static str, Datum>;

/// A table with typed rows.
pub trait Table: Sized {
    /// The table's name in the schema.
    const NAME: &'static str;
    /// Name and type of each column read.
    const COLUMNS: &'static [(&'static str, ColumnType)];

    /// The typed form of a row that has every column of [`Table::COLUMNS`] with its type.
    fn read(row: &Row) -> Self;
}

/// A Rust type that a column can have.
pub trait Column: Sized {
    /// What the schema must say.
    const TYPE: ColumnType;
    /// Reads a value of that type; `None` for any other.
    fn from_datum(datum: &Datum) -> Option<Self>;
    /// The value to write.
    fn to_datum(&self) -> Datum;
}

/// A Rust type that an atom can have.
pub trait AtomColumn: Ord + Sized {
    const KIND: AtomKind;
    fn from_atom(atom: &Atom) -> Option<Self>;
    fn to_atom(&self) -> Atom;
}

macro_rules! atoms {
    ($($rust:ty => $kind:ident),* $(,)?) => {$(
        impl AtomColumn for $rust {
            const KIND: AtomKind = AtomKind::$kind;
            fn from_atom(atom: &Atom) -> Option<Self> {
                match atom {
                    Atom::$kind(value) => Some(value.clone()),
                    _ => None,
                }
            }
            fn to_atom(&self) -> Atom {
                Atom::$kind(self.clone())
            }
        }

        impl Column for $rust {
            const TYPE: ColumnType = ColumnType { key: AtomKind::$kind, value: None, min: 1, max: 1 };
            fn from_datum(datum: &Datum) -> Option<Self> {
                Option::<$rust>::from_datum(datum)?
            }
            fn to_datum(&self) -> Datum {
                Datum::Set([self.to_atom()].into())
            }
        }
    )*};
}

atoms! { String => String, i64 => Integer, bool => Boolean, Uuid => Uuid }

impl<T: AtomColumn> Column for Option<T> {
    const TYPE: ColumnType = ColumnType { key: T::KIND, value: None, min: 0, max: 1 };
    fn from_datum(datum: &Datum) -> Option<Self> {
        match datum {
            Datum::Set(members) => match members.first() {
                Some(atom) => T::from_atom(atom).map(Some),
                None => Some(None),
            },
            Datum::Map(_) => None,
        }
    }
    fn to_datum(&self) -> Datum {
        Datum::Set(self.iter().map(T::to_atom).collect())
    }
}

impl<T: AtomColumn> Column for BTreeSet<T> {
    const TYPE: ColumnType = ColumnType { key: T::KIND, value: None, min: 0, max: u64::MAX };
    fn from_datum(datum: &Datum) -> Option<Self> {
        match datum {
            Datum::Set(members) => members.iter().map(T::from_atom).collect(),
            Datum::Map(_) => None,
        }
    }
    fn to_datum(&self) -> Datum {
        Datum::Set(self.iter().map(T::to_atom).collect())
    }
}

impl<K: AtomColumn, V: AtomColumn> Column for BTreeMap<K, V> {
    const TYPE: ColumnType = ColumnType { key: K::KIND, value: Some(V::KIND), min: 0, max: u64::MAX };
    fn from_datum(datum: &Datum) -> Option<Self> {
        match datum {
            Datum::Map(map) => {
                map.iter().map(|(key, value)| Some((K::from_atom(key)?, V::from_atom(value)?))).collect()
            }
            Datum::Set(_) => None,
        }
    }
    fn to_datum(&self) -> Datum {
        Datum::Map(self.iter().map(|(key, value)| (key.to_atom(), value.to_atom())).collect())
    }
}

macro_rules! tables {
    ($($(#[$about:meta])* $table:ident = $name:literal { $($(#[$column_about:meta])* $column:ident $(as $column_name:literal)? : $rust:ty,)* })*) => {
        $(
            $(#[$about])*
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $table { $($(#[$column_about])* pub $column: $rust,)* }

            impl Table for $table {
                const NAME: &'static str = $name;
                const COLUMNS: &'static [(&'static str, ColumnType)] =
                    &[$((tables!(@name $column $($column_name)?), <$rust as Column>::TYPE),)*];

                fn read(row: &Row) -> Self {
                    Self { $($column: read_column(row, tables!(@name $column $($column_name)?)),)* }
                }
            }
        )*

        /// Every table that is monitored, with its columns.
        pub(super) const TABLES: &[(&str, &[(&str, ColumnType)])] = &[$((<$table as Table>::NAME, <$table as Table>::COLUMNS),)*];
    };
    (@name $column:ident $column_name:literal) => { $column_name };
    (@name $column:ident) => { stringify!($column) };
}

tables! {
    /// The one row that everything hangs on (`ovs-vswitchd.conf.db(5)`, table Open_vSwitch).
    OpenVSwitch = "Open_vSwitch" {
        bridges: BTreeSet<Uuid>,
        other_config: BTreeMap<String, String>,
        external_ids: BTreeMap<String, String>,
        /// Counted up by whoever wants to know when vswitchd has taken a change in …
        next_cfg: i64,
        /// … and followed by vswitchd once it has.
        cur_cfg: i64,
        /// Set by vswitchd's start scripts; absent on a bare database.
        ovs_version: Option<String>,
        /// What vswitchd supports, filled in when it runs: `netdev`, `system`, …
        datapath_types: BTreeSet<String>,
        /// What vswitchd supports: `geneve`, `internal`, …
        iface_types: BTreeSet<String>,
    }

    /// A virtual switch.
    Bridge = "Bridge" {
        name: String,
        /// `system` (also when empty), `netdev` or, in tests, `dummy`.
        datapath_type: String,
        /// Sixteen hexadecimal digits, once vswitchd has made the bridge.
        datapath_id: Option<String>,
        /// `secure`: without a controller the switch forwards nothing of its own accord.
        fail_mode: Option<String>,
        protocols: BTreeSet<String>,
        /// Whom vswitchd lets change flows beside those who connect to its socket.
        controller: BTreeSet<Uuid>,
        ports: BTreeSet<Uuid>,
        other_config: BTreeMap<String, String>,
        external_ids: BTreeMap<String, String>,
    }

    /// A port of a bridge; it has one interface unless it is a bond.
    Port = "Port" {
        name: String,
        interfaces: BTreeSet<Uuid>,
        /// The VLAN of an access port.
        tag: Option<i64>,
        other_config: BTreeMap<String, String>,
        external_ids: BTreeMap<String, String>,
    }

    /// The device behind a port.
    Interface = "Interface" {
        name: String,
        /// Empty for a system device, `internal`, `geneve`, `vxlan`, `gre`, …
        interface_type as "type": String,
        options: BTreeMap<String, String>,
        /// The OpenFlow port number that vswitchd gave; −1 when it could not make the interface.
        ofport: Option<i64>,
        ofport_request: Option<i64>,
        /// Why vswitchd could not make the interface.
        error: Option<String>,
        /// The MAC address asked for (internal interfaces only).
        mac: Option<String>,
        /// The MAC address the device has.
        mac_in_use: Option<String>,
        /// Bytes.
        mtu: Option<i64>,
        /// Bytes.
        mtu_request: Option<i64>,
        /// The kernel's number of the device.
        ifindex: Option<i64>,
        /// `up` or `down`.
        admin_state: Option<String>,
        /// `up` or `down`.
        link_state: Option<String>,
        external_ids: BTreeMap<String, String>,
    }
}

fn read_column<C: Column>(row: &Row, column: &'static str) -> C {
    row.get(column)
        .and_then(C::from_datum)
        .expect("the cache fills every column, with the type that the schema check compared")
}

/// Compares the columns above with the server's schema.
pub(super) fn check(schema: &Schema) -> Result<(), SchemaError> {
    for (table, columns) in TABLES {
        for (column, wanted) in *columns {
            let found = schema.column(table, column).ok_or(SchemaError::Missing { table, column })?;
            // One, none-or-one and many are read differently; how many exactly is the server's business.
            let plain =
                |column: &ColumnType| (column.key, column.value, column.max > 1, column.max > 1 || column.min == 1);
            if plain(&found) != plain(wanted) {
                return Err(SchemaError::OtherType { table, column, found });
            }
        }
    }
    Ok(())
}
