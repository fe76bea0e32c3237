//! The proof that a statement was judged, which the next gate of the edge's
//! pipeline needs. Made only inside this crate; its fields never change after.

use std::fmt;
use std::sync::Arc;

use crate::catalog::Catalog;

/// What a checked statement answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatementKind {
    /// SELECT, VALUES, TABLE or WITH: rows of the caller's own shape.
    Rows,
    /// EXPLAIN: the plan, one row a line (or one row in all for JSON).
    Explain,
    /// SHOW of one setting.
    Show,
}

/// A relation as the statement names it; CTE names are not among them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelationName {
    /// `None` when the text leaves the schema to the search path.
    pub schema: Option<String>,
    pub name: String,
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A function as the statement names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName {
    /// `None` when the text leaves the schema to the search path.
    pub schema: Option<String>,
    pub name: String,
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// One statement that only reads, by the rules that it was checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedSql {
    pub(crate) sql: String,
    pub(crate) kind: StatementKind,
    pub(crate) analyze: bool,
    pub(crate) relations: Vec<RelationName>,
    pub(crate) functions: Vec<FunctionName>,
    pub(crate) fingerprint: String,
    pub(crate) may_analyze: bool,
    pub(crate) catalog: Option<Arc<Catalog>>,
}

impl CheckedSql {
    /// Exactly the one statement: no semicolon, and nothing before or after it.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    #[must_use]
    pub fn kind(&self) -> StatementKind {
        self.kind
    }

    /// Whether this is an EXPLAIN that runs the statement which it explains.
    #[must_use]
    pub fn is_analyze(&self) -> bool {
        self.analyze
    }

    /// Every relation that the text names, sorted, each once, CTEs left out.
    #[must_use]
    pub fn relations(&self) -> &[RelationName] {
        &self.relations
    }

    /// Every function that the text calls by name, sorted, each once.
    #[must_use]
    pub fn functions(&self) -> &[FunctionName] {
        &self.functions
    }

    /// What the database holds, if the verdict rests on it.
    #[must_use]
    pub fn catalog(&self) -> Option<&Arc<Catalog>> {
        self.catalog.as_ref()
    }

    /// The search path under which the statement must run for the verdict to hold.
    #[must_use]
    pub fn search_path(&self) -> Option<&str> {
        self.catalog.as_deref().map(Catalog::search_path)
    }

    /// Sixteen hex digits, equal for statements that differ in constants only.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}
