//! The arguments of the tools as types. The published schemas in `definitions`
//! say the same; a test holds both to it.

use nla_domain::role::Tool;
use serde::Deserialize;

use crate::{mcp::call::ToolCall, pipeline::Failure};

/// Names of PostgreSQL have 63 bytes; room for a mistaken longer one, which then
/// simply is not found.
pub(super) const MAX_NAME_CHARS: usize = 200;
/// The most that any role can be given.
pub(super) const MAX_ROWS: u32 = 1_000_000;

/// `list_databases`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListDatabases {}

/// `get_schema`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GetSchema {
    #[serde(default)]
    pub(super) database: Option<Name>,
    #[serde(default)]
    pub(super) schema: Option<Name>,
    #[serde(default)]
    pub(super) table: Option<Name>,
}

/// `query_database`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryDatabase {
    pub(super) sql: String,
    #[serde(default)]
    pub(super) database: Option<Name>,
    #[serde(default)]
    pub(super) max_rows: Option<Rows>,
}

/// `explain_query`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    pub(super) sql: String,
    #[serde(default)]
    pub(super) database: Option<Name>,
    #[serde(default)]
    pub(super) analyze: Option<bool>,
}

/// A name of bounded length.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(pub(super) String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if (1..=MAX_NAME_CHARS).contains(&text.chars().count()) {
            Ok(Self(text))
        } else {
            Err(format!("must have 1 to {MAX_NAME_CHARS} characters"))
        }
    }
}

/// A number of rows.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "serde_json::Number")]
pub(super) struct Rows(pub(super) u32);

impl TryFrom<serde_json::Number> for Rows {
    type Error = String;

    fn try_from(number: serde_json::Number) -> Result<Self, String> {
        // JSON has one kind of number: 10.0 is an integer for JSON Schema.
        let whole = number.as_u64().or_else(|| {
            let float = number
                .as_f64()
                .filter(|float| float.fract() == 0.0 && *float >= 0.0 && *float <= f64::from(MAX_ROWS))?;
            format!("{float:.0}").parse().ok()
        });
        match whole.and_then(|rows| u32::try_from(rows).ok()) {
            Some(rows) if (1..=MAX_ROWS).contains(&rows) => Ok(Self(rows)),
            _ => Err(format!("must be a whole number from 1 to {MAX_ROWS}")),
        }
    }
}

/// Takes the arguments, or says what is wrong with them.
pub(super) fn take<T: serde::de::DeserializeOwned>(tool: Tool, call: &mut ToolCall) -> Result<T, Failure> {
    call.take_arguments().map_err(|error| Failure::invalid_argument(format!("{tool}: {error}")))
}

/// The text of an optional name.
pub(super) fn text(name: &Option<Name>) -> Option<&str> {
    name.as_ref().map(|Name(text)| text.as_str())
}
