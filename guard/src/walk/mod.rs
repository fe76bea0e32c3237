//! Visits the whole tree against an allow-list. Called by `check` and `explain`.
//! Invariant: each allowed node is taken apart field by field, so that a field
//! which a newer grammar adds does not compile until somebody judged it; every
//! node that no function here names is refused.

mod call;
mod expression;
mod json;
mod made;
mod modify;
mod own;
mod relation;
mod scope;
mod select;
mod source;
mod statement;
mod xml;

use std::collections::BTreeSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{List, Node, String as PgString};

use crate::checked::{FunctionName, RelationName, StatementKind};
use crate::refusal::{Places, Position, Refusal, Rule};
use crate::rules::Rules;

use made::Made;
use relation::Partly;
use scope::{Cte, Scope};

/// Levels of the tree. 300 chained operators or 200 joins are that many; the
/// server's own stack holds some thousands.
const MAX_DEPTH: usize = 1500;

/// Items in FROM, all sub-selects together. The planner would not end with more,
/// and the fingerprint takes time quadratic in them.
const MAX_SOURCES: usize = 1000;

/// What will happen to the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It runs, and may be an EXPLAIN or a SHOW itself.
    Run,
    /// It runs under EXPLAIN ANALYZE.
    Explained,
    /// It is planned only, so that it may also modify.
    Planned,
}

/// What a tree that passed told about its statement.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) kind: StatementKind,
    pub(crate) analyze: bool,
    pub(crate) relations: Vec<RelationName>,
    pub(crate) functions: Vec<FunctionName>,
}

type Verdict = Result<(), Refusal>;

/// Judges the tree of the statement in `sql`, which positions refer to.
pub(crate) fn walk(sql: &str, statement: &NodeEnum, rules: &Rules, mode: Mode) -> Result<Facts, Refusal> {
    let mut walk = Walk {
        places: Places::of(sql),
        rules,
        modifies: mode == Mode::Planned,
        depth: 0,
        sources: 0,
        relations: BTreeSet::new(),
        functions: BTreeSet::new(),
        ctes: Vec::new(),
        scopes: Vec::new(),
        partly: Partly::default(),
        made: Made::default(),
        shows_row: false,
        unknown: None,
        functions_in_from: BTreeSet::new(),
        xml_rows: BTreeSet::new(),
    };
    walk.casts_everywhere()?;
    let (kind, analyze) = walk.top(statement, mode)?;
    walk.partly_allowed()?;
    walk.xml_rows_allowed()?;
    walk.made_values()?;
    if let Some(refusal) = walk.unknown {
        return Err(refusal);
    }
    Ok(Facts {
        kind,
        analyze,
        relations: walk.relations.into_iter().collect(),
        functions: walk.functions.into_iter().collect(),
    })
}

struct Walk<'a> {
    places: Places<'a>,
    rules: &'a Rules,
    /// Whether INSERT, UPDATE, DELETE and MERGE may stand in the tree.
    modifies: bool,
    depth: usize,
    sources: usize,
    relations: BTreeSet<RelationName>,
    functions: BTreeSet<FunctionName>,
    /// The WITH queries in sight, the innermost last.
    ctes: Vec<Cte>,
    /// The aliases in sight, for each query, the innermost last.
    scopes: Vec<Scope<'a>>,
    partly: Partly,
    made: Made<'a>,
    /// The next reference is only shown.
    shows_row: bool,
    /// A relation that the catalog does not have: told when nothing else is
    /// wrong with the statement.
    unknown: Option<Refusal>,
    /// Aliases of functions in FROM, whose whole row may be one text.
    functions_in_from: BTreeSet<String>,
    /// What stands before `.xml`.
    xml_rows: BTreeSet<String>,
}

impl Walk<'_> {
    fn position(&self, location: i32) -> Option<Position> {
        self.places.at(location)
    }

    /// Runs `visit` one level deeper.
    fn deeper(&mut self, visit: impl FnOnce(&mut Self) -> Verdict) -> Verdict {
        if self.depth == MAX_DEPTH {
            return Err(Refusal::new(
                Rule::TextComplexity,
                format!("the statement is nested more than {MAX_DEPTH} levels deep"),
                "Flatten the statement: use IN (...), concat(), VALUES or a WITH clause instead of long chains.",
            ));
        }
        self.depth += 1;
        visit(self)?;
        self.depth -= 1;
        Ok(())
    }
}

/// The refusal of a node that no function here names.
fn unknown() -> Refusal {
    Refusal::new(
        Rule::ExpressionUnknown,
        "a part of the statement is not on the list of what may be used here",
        "Write the statement with plain SELECT syntax: expressions, joins, sub-selects, WITH, grouping and window functions.",
    )
}

/// The refusal of a tree that does not have the expected shape.
pub(crate) fn unreadable() -> Refusal {
    Refusal::new(
        Rule::Internal,
        "the statement's tree has an unexpected shape; the statement was not run",
        "Try a simpler form of the statement.",
    )
}

/// What stands in a node; an empty one is a tree that we cannot read.
fn inner(node: &Node) -> Result<&NodeEnum, Refusal> {
    node.node.as_ref().ok_or_else(unreadable)
}

fn string(node: &Node) -> Result<&str, Refusal> {
    match inner(node)? {
        NodeEnum::String(PgString { sval }) => Ok(sval),
        _ => Err(unreadable()),
    }
}

fn strings(nodes: &[Node]) -> Result<Vec<&str>, Refusal> {
    nodes.iter().map(string).collect()
}

fn list(node: &Node) -> Result<&[Node], Refusal> {
    match inner(node)? {
        NodeEnum::List(List { items }) => Ok(items),
        _ => Err(unreadable()),
    }
}
