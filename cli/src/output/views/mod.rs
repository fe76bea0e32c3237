//! Results as JSON and as tables, one file for each kind of object. The JSON's
//! field names are an interface: snake_case, times in RFC 3339, enum values in
//! lower case, null for what is absent.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod ca;
pub(crate) mod check;
pub(crate) mod credential_rotation;
pub(crate) mod database;
pub(crate) mod edge;
pub(crate) mod key;
pub(crate) mod operator;
pub(crate) mod receipt;
pub(crate) mod role;
pub(crate) mod rotation;
pub(crate) mod system;
pub(crate) mod token;
mod wire;

use serde::Serialize;

use super::{Cell, Show, Table};

/// A change that leaves no object behind.
#[derive(Debug, Serialize)]
pub(crate) struct Removed {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) removed: bool,
    pub(crate) revision: u64,
}

impl Show for Removed {
    fn table(&self) -> Table {
        Table::fields().line(format_args!("{} {} removed at revision {}", self.kind, self.name, self.revision))
    }

    fn essence(&self) -> Vec<String> {
        vec![self.name.clone()]
    }
}

/// A list whose items are shown as rows.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

/// An object that can stand in a list.
pub(crate) trait Listed: Serialize {
    /// The list as a table.
    fn list(items: &[Self]) -> Table
    where
        Self: Sized;

    /// What people call it.
    fn name(&self) -> &str;
}

impl<T: Listed> Show for List<T> {
    fn table(&self) -> Table {
        T::list(&self.0)
    }

    fn essence(&self) -> Vec<String> {
        self.0.iter().map(|item| item.name().to_owned()).collect()
    }
}

/// A dash for no text, so that columns stay visible.
fn or_dash(text: &str) -> Cell {
    Cell::text(if text.is_empty() { "-" } else { text })
}
