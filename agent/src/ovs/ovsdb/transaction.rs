//! Transactions (RFC 7047 section 4.1.3): a list of operations that all happen or none does.
//!
//! Building only; [`super::client::Client::transact`] sends. The RPC can succeed while an operation in it failed, so the
//! result is read element by element here, and an [`Outcome`] exists only if every one of them succeeded.

use serde_json::{Map, Value, json};

use super::datum::{Atom, Datum, Uuid};
use super::row::{Column, Table};

/// Operations in the order in which the server runs them.
#[derive(Debug, Default, Clone)]
pub struct Transaction {
    operations: Vec<Operation>,
}

#[derive(Debug, Clone)]
struct Operation {
    json: Value,
    /// What it does, for an error message: `insert into Port`.
    about: String,
}

/// A row that the transaction inserts, to be named by later operations of the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inserted {
    operation: usize,
}

/// An operation whose count of rows the outcome tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    operation: usize,
}

/// Column values of a row to write.
#[derive(Debug, Default, Clone)]
pub struct Values(Map<String, Value>);

/// Which rows an operation is about: all conditions hold.
#[derive(Debug, Clone)]
pub struct Where(Vec<Value>);

/// Why nothing of a transaction happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    #[error("{operation} failed: {error} ({details}); nothing of the transaction was done")]
    Operation { operation: String, error: String, details: String },
    #[error("the server answered the transaction with {0}, which is no list of results")]
    Malformed(String),
}

/// What a committed transaction gave.
#[derive(Debug, Clone)]
pub struct Outcome(Vec<Value>);

impl Values {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a column.
    pub fn with<C: Column>(self, column: &str, value: &C) -> Self {
        self.with_datum(column, &value.to_datum())
    }

    /// Sets a column that refers to a row of the same transaction.
    pub fn with_inserted(self, column: &str, row: &Inserted) -> Self {
        self.with_datum(column, &Datum::Set([row.atom()].into()))
    }

    fn with_datum(mut self, column: &str, value: &Datum) -> Self {
        self.0.insert(column.to_owned(), value.to_json());
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Where {
    /// Every row.
    pub fn all() -> Self {
        Self(Vec::new())
    }

    /// The one row of this id.
    pub fn uuid(uuid: Uuid) -> Self {
        Self(vec![json!(["_uuid", "==", Atom::Uuid(uuid).to_json()])])
    }

    /// Rows in which a column has exactly this value.
    pub fn equal<C: Column>(column: &str, value: &C) -> Self {
        Self(vec![json!([column, "==", value.to_datum().to_json()])])
    }

    /// Rows in which a set or map has all of these members.
    pub fn includes<C: Column>(column: &str, members: &C) -> Self {
        Self(vec![json!([column, "includes", members.to_datum().to_json()])])
    }
}

impl Inserted {
    fn name(&self) -> String {
        format!("row{}", self.operation)
    }

    pub(super) fn atom(&self) -> Atom {
        Atom::NamedUuid(self.name())
    }
}

impl Transaction {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Inserts a row; columns not given have their default.
    pub fn insert<T: Table>(&mut self, values: Values) -> Inserted {
        let row = Inserted { operation: self.operations.len() };
        let json = json!({"op": "insert", "table": T::NAME, "row": values.0, "uuid-name": row.name()});
        self.push(json, format!("insert into {}", T::NAME));
        row
    }

    /// Sets columns of the rows found.
    pub fn update<T: Table>(&mut self, rows: Where, values: Values) -> Counted {
        self.push(
            json!({"op": "update", "table": T::NAME, "where": rows.0, "row": values.0}),
            format!("update of {}", T::NAME),
        )
    }

    /// Deletes the rows found.
    pub fn delete<T: Table>(&mut self, rows: Where) -> Counted {
        self.push(json!({"op": "delete", "table": T::NAME, "where": rows.0}), format!("delete from {}", T::NAME))
    }

    /// Adds members to a set, or pairs to a map (a key that is there already keeps its value: remove it first).
    pub fn add_members<T: Table, C: Column>(&mut self, rows: Where, column: &str, members: &C) -> Counted {
        self.mutate::<T>(rows, column, "insert", members.to_datum().to_json())
    }

    /// Adds the rows that this transaction inserts to a set of references.
    pub fn add_inserted<T: Table>(&mut self, rows: Where, column: &str, inserted: &[Inserted]) -> Counted {
        let members = Datum::Set(inserted.iter().map(Inserted::atom).collect());
        self.mutate::<T>(rows, column, "insert", members.to_json())
    }

    /// Removes members from a set. For a map the members are keys.
    pub fn remove_members<T: Table, C: Column>(&mut self, rows: Where, column: &str, members: &C) -> Counted {
        self.mutate::<T>(rows, column, "delete", members.to_datum().to_json())
    }

    /// Adds to an integer column.
    pub fn increment<T: Table>(&mut self, rows: Where, column: &str, by: i64) -> Counted {
        self.mutate::<T>(rows, column, "+=", json!(by))
    }

    /// Reads one column of the rows found, as it is after the operations before this one.
    pub fn select<T: Table>(&mut self, rows: Where, column: &str) -> Counted {
        let json = json!({"op": "select", "table": T::NAME, "where": rows.0, "columns": [column]});
        self.push(json, format!("select from {}", T::NAME))
    }

    /// Refuses the whole transaction unless some row has this value in a column now.
    pub fn require<T: Table, C: Column>(&mut self, rows: Where, column: &str, value: &C) -> Counted {
        let json = json!({"op": "wait", "timeout": 0, "table": T::NAME, "where": rows.0, "columns": [column],
            "until": "==", "rows": [{column: value.to_datum().to_json()}]});
        self.push(json, format!("the requirement on {}.{column}", T::NAME))
    }

    /// A note in the database's log of transactions.
    pub fn comment(&mut self, text: &str) {
        self.push(json!({"op": "comment", "comment": text}), "comment".into());
    }

    fn mutate<T: Table>(&mut self, rows: Where, column: &str, mutator: &str, value: Value) -> Counted {
        let json = json!({"op": "mutate", "table": T::NAME, "where": rows.0, "mutations": [[column, mutator, value]]});
        self.push(json, format!("change of {}.{column}", T::NAME))
    }

    fn push(&mut self, json: Value, about: String) -> Counted {
        self.operations.push(Operation { json, about });
        Counted { operation: self.operations.len() - 1 }
    }

    /// The parameters of `transact`.
    pub(super) fn parameters(&self, database: &str) -> Value {
        Value::Array(
            std::iter::once(json!(database))
                .chain(self.operations.iter().map(|operation| operation.json.clone()))
                .collect(),
        )
    }

    /// Reads the answer. Operations after a failed one have the result null; a failure at commit time (a constraint, a
    /// dangling reference) is one more element at the end.
    pub(super) fn outcome(&self, answer: Value) -> Result<Outcome, TransactionError> {
        let Value::Array(results) = answer else {
            return Err(TransactionError::Malformed(answer.to_string().chars().take(80).collect()));
        };
        for (index, result) in results.iter().enumerate() {
            if let Some(error) = result.get("error").and_then(Value::as_str) {
                return Err(TransactionError::Operation {
                    operation: self
                        .operations
                        .get(index)
                        .map_or_else(|| "the commit".into(), |operation| operation.about.clone()),
                    error: error.to_owned(),
                    details: result["details"].as_str().unwrap_or("no details").to_owned(),
                });
            }
        }
        if results.len() < self.operations.len() {
            return Err(TransactionError::Malformed(format!(
                "{} results for {} operations",
                results.len(),
                self.operations.len()
            )));
        }
        Ok(Outcome(results))
    }
}

impl Outcome {
    /// The id the database gave to a row that the transaction inserted.
    pub fn uuid(&self, row: &Inserted) -> Option<Uuid> {
        self.0.get(row.operation)?["uuid"][1].as_str()?.parse().ok()
    }

    /// How many rows an update, a mutation or a deletion touched.
    pub fn count(&self, operation: Counted) -> u64 {
        self.0.get(operation.operation).and_then(|result| result["count"].as_u64()).unwrap_or(0)
    }

    /// The integers that a `select` of one column found.
    pub fn integers(&self, operation: Counted, column: &str) -> Vec<i64> {
        let rows = self.0.get(operation.operation).and_then(|result| result["rows"].as_array());
        rows.into_iter().flatten().filter_map(|row| row[column].as_i64()).collect()
    }
}
