//! What a caller may ask for: limits of the text and the exceptions that a role
//! names. Built by the edge from the token's role; read by every stage.
//! Invariant: the default is the strictest set; each field only ever widens it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::Catalog;

/// Upper bound of [`Rules::max_sql_bytes`]; a larger value counts as this one.
/// The stack of the parsing threads is sized for it (see `parser`).
pub const HARD_MAX_SQL_BYTES: usize = 64 * 1024;

/// 32 KiB holds the longest queries that people write by hand with room to
/// spare, and keeps the worst parse under it within tens of milliseconds.
const DEFAULT_MAX_SQL_BYTES: usize = 32 * 1024;

/// The oldest server that is supported: the fewest built-ins and no SQL/JSON.
const OLDEST_SERVER_MAJOR: u16 = 14;

/// The rules for one statement. `Default` is the strictest set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Longest accepted text in bytes, at most [`HARD_MAX_SQL_BYTES`].
    pub max_sql_bytes: usize,
    /// Whether EXPLAIN may run the statement that it explains.
    pub allow_explain_analyze: bool,
    /// Major version of the server that will run the text, 14 to 18. It decides
    /// which names are built-in: what a newer server ships, an older one leaves
    /// free for anybody's function. Out of range counts as the nearest bound.
    pub server_major: u16,
    /// Functions outside the built-in allow-list that the role names, as
    /// `schema.name` in the server's own (folded) case.
    pub functions: BTreeSet<String>,
    /// Operator names beyond the built-in ones, such as `<%` of pg_trgm.
    pub operators: BTreeSet<String>,
    /// Sensitive relations that the role names nevertheless, as `schema.name`,
    /// such as `pg_catalog.pg_stat_activity`.
    pub relations: BTreeSet<String>,
    /// Settings that SHOW may tell beyond the harmless ones, lower case.
    pub settings: BTreeSet<String>,
    /// What the database holds of its own. Without it names alone decide, and
    /// whatever PostgreSQL does not ship is refused. Its server's version counts
    /// instead of `server_major`.
    pub catalog: Option<Arc<Catalog>>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            max_sql_bytes: DEFAULT_MAX_SQL_BYTES,
            allow_explain_analyze: false,
            server_major: OLDEST_SERVER_MAJOR,
            functions: BTreeSet::new(),
            operators: BTreeSet::new(),
            relations: BTreeSet::new(),
            settings: BTreeSet::new(),
            catalog: None,
        }
    }
}

impl Rules {
    pub(crate) fn major(&self) -> u16 {
        self.catalog.as_ref().map_or(self.server_major, |catalog| catalog.server_major())
    }

    pub(crate) fn effective_max_sql_bytes(&self) -> usize {
        self.max_sql_bytes.min(HARD_MAX_SQL_BYTES)
    }
}
