//! Roles: what a token may do. A PostgreSQL role is always called a database
//! role, never just a role.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::{DatabaseName, RoleName};

pub mod exceptions;

/// The tools that an edge offers to agents.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// Names the databases that the token may use.
    ListDatabases,
    /// Describes tables.
    GetSchema,
    /// Runs a read-only statement.
    QueryDatabase,
    /// Shows a statement's plan.
    ExplainQuery,
}

impl Tool {
    /// All tools, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::ListDatabases, Self::GetSchema, Self::QueryDatabase, Self::ExplainQuery];

    /// The name in MCP, in roles and in audit events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ListDatabases => "list_databases",
            Self::GetSchema => "get_schema",
            Self::QueryDatabase => "query_database",
            Self::ExplainQuery => "explain_query",
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tool must be list_databases, get_schema, query_database or explain_query")]
pub struct UnknownTool;

impl FromStr for Tool {
    type Err = UnknownTool;

    fn from_str(text: &str) -> Result<Self, UnknownTool> {
        Self::ALL.into_iter().find(|tool| tool.as_str() == text).ok_or(UnknownTool)
    }
}

/// How much of a statement the audit log keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SqlAudit {
    /// The whole text.
    #[default]
    Full,
    /// The parser's fingerprint: equal for statements that differ in literals only.
    Fingerprint,
    /// SHA-256 of the text.
    Hash,
}

impl SqlAudit {
    /// All choices.
    pub const ALL: [Self; 3] = [Self::Full, Self::Fingerprint, Self::Hash];

    /// The name on the wire and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Fingerprint => "fingerprint",
            Self::Hash => "hash",
        }
    }
}

/// What a token may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// For people.
    pub description: String,
    /// Databases that it opens. Empty opens none.
    pub databases: Vec<DatabaseName>,
    /// Tools that it allows. Empty allows none.
    pub tools: Vec<Tool>,
    /// `EXPLAIN ANALYZE` runs the statement, so it is a right of its own.
    pub allow_explain_analyze: bool,
    /// Rows in one answer; the database's own limit applies as well.
    pub max_rows: Option<u32>,
    /// How much of a statement is kept.
    pub sql_audit: SqlAudit,
    /// Functions that the guard refuses otherwise, as `schema.name` in the
    /// catalog's spelling. See [`exceptions`] for the form of all four lists.
    pub functions: Vec<String>,
    /// Relations that the guard refuses otherwise, as `schema.name`.
    pub relations: Vec<String>,
    /// Operators that the guard refuses otherwise, as plain names such as `<%`.
    pub operators: Vec<String>,
    /// Settings that SHOW may tell beyond the harmless ones, in lower case.
    pub settings: Vec<String>,
}

impl Role {
    /// True when the role opens the database.
    pub fn opens(&self, database: &DatabaseName) -> bool {
        self.databases.contains(database)
    }

    /// True when the role allows the tool.
    pub fn allows(&self, tool: Tool) -> bool {
        self.tools.contains(&tool)
    }
}
