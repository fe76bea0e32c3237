//! What a database holds of its own, as far as a verdict depends on it: which
//! relation, function, operator or type a name stands for, and whether using it
//! runs code that does more than read. The edge loads it with [`FACTS_SQL`] as
//! the database role and hands it to the guard in [`crate::Rules`].
//!
//! Invariant: immutable once read, so that verdicts may share it; what it does
//! not know is refused, unless PostgreSQL itself ships it.

mod facts;
mod judge;
mod lookup;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use facts::{Facts, Oid};
pub(crate) use judge::{Offence, Why};
pub(crate) use lookup::{Found, FunctionFacts, RelationFacts, Row};

/// The statements that read the facts; run them inside of `BEGIN READ ONLY`, as
/// the database role. Only the last one returns a row: one JSON text.
pub const FACTS_SQL: &str = include_str!("facts.sql");

/// Relations beyond these are not loaded.
const MOST_RELATIONS: usize = 100_000;
/// Functions beyond these are not loaded.
const MOST_FUNCTIONS: usize = 50_000;

/// The text is not what [`FACTS_SQL`] returns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a catalog as the statements for it return it: {0}")]
pub struct CatalogError(String);

/// One database as one database role sees it.
pub struct Catalog {
    server_major: u16,
    search_path: String,
    /// Searched after `pg_catalog`.
    path: Vec<Arc<str>>,
    complete: bool,
    catalog_relations: HashSet<String>,
    /// By schema and name.
    relations: HashMap<Arc<str>, HashMap<Arc<str>, RelationFacts>>,
    relation_count: usize,
    /// By name.
    functions: HashMap<Arc<str>, Vec<FunctionFacts>>,
    /// Names of functions that take a row and do more than read.
    row_offences: HashSet<String>,
    /// By name.
    operators: HashMap<String, Vec<lookup::OperatorFacts>>,
    /// By schema and name, with what naming them runs; a relation's row type only if that is something.
    types: HashMap<Arc<str>, HashMap<String, Vec<Offence>>>,
    /// By schema, the types of which naming runs something: those whose arrays matter.
    arrays: HashMap<Arc<str>, Vec<String>>,
    type_names: HashMap<Oid, TypeName>,
    /// A cast between PostgreSQL's own types that may run anywhere.
    everywhere: Vec<Offence>,
}

enum TypeName {
    Plain { schema: Arc<str>, name: Arc<str> },
    Array { element: Oid, name: Arc<str> },
}

impl Catalog {
    /// Reads the row of [`FACTS_SQL`] and judges what the database's own code
    /// may do.
    ///
    /// # Errors
    /// [`CatalogError`] when it is anything else.
    pub fn from_json(json: &[u8]) -> Result<Self, CatalogError> {
        let facts = Facts::read(json)?;
        let judged = judge::Judged::of(&facts);
        Ok(lookup::index(&facts, &judged))
    }

    /// The first part of the server's version.
    #[must_use]
    pub fn server_major(&self) -> u16 {
        self.server_major
    }

    /// The search path that verdicts rest on, as a value for `set_config`: a
    /// statement that was judged with this catalog must run under it.
    #[must_use]
    pub fn search_path(&self) -> &str {
        &self.search_path
    }

    /// The name of a type of the database's own, as the columns of an answer
    /// show it: `citext`, `shop.mood`, `mood[]`.
    #[must_use]
    pub fn type_name(&self, oid: u32) -> Option<String> {
        match self.type_names.get(&oid)? {
            TypeName::Plain { schema, name } if &**schema == "public" => Some(name.to_string()),
            TypeName::Plain { schema, name } => Some(format!("{schema}.{name}")),
            TypeName::Array { element, name } => {
                let element = self.type_name(*element).or_else(|| Some(name.strip_prefix('_')?.to_owned()))?;
                Some(format!("{element}[]"))
            }
        }
    }

    /// Relations that it knows.
    #[must_use]
    pub fn relation_count(&self) -> usize {
        self.relation_count
    }

    /// False when the database holds more than fits; unqualified relations are
    /// refused then.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("server_major", &self.server_major)
            .field("relations", &self.relation_count)
            .field("functions", &self.functions.len())
            .finish_non_exhaustive()
    }
}

/// A catalog equals itself only: comparing two would take as long as loading.
impl PartialEq for Catalog {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Catalog {}
