//! Why a statement was refused, in words that a model can mend its query with
//! and a code that audit can count. Made by every stage; shown by the edge.
//! Invariant: a code never changes its meaning once released.

use std::fmt;

/// Where in the caller's text, counted in both units that clients use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Offset in bytes from the start of the text.
    pub byte: usize,
    /// Characters from the start of the text, the first being 1, as in
    /// PostgreSQL's own error positions.
    pub character: usize,
}

impl Position {
    /// The position of a byte offset; `None` where it does not point into `sql`
    /// (the parser marks "unknown" by -1).
    pub(crate) fn at(sql: &str, byte: i32) -> Option<Self> {
        let byte = usize::try_from(byte).ok().filter(|&b| b <= sql.len())?;
        let character = starts(&sql.as_bytes()[..byte]);
        Some(Self { byte, character: character + 1 })
    }
}

/// The positions of a text that many nodes of a tree point into: counting its
/// characters anew for each of them would take time quadratic in its length.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    sql: &'a str,
    /// Characters before each block of bytes; empty when each byte is one.
    before: Vec<usize>,
}

const BLOCK_BYTES: usize = 256;

impl<'a> Places<'a> {
    pub(crate) fn of(sql: &'a str) -> Self {
        let mut before = Vec::new();
        if !sql.is_ascii() {
            let mut characters = 0;
            for block in sql.as_bytes().chunks(BLOCK_BYTES) {
                before.push(characters);
                characters += starts(block);
            }
        }
        Self { sql, before }
    }

    /// As [`Position::at`].
    pub(crate) fn at(&self, byte: i32) -> Option<Position> {
        let byte = usize::try_from(byte).ok().filter(|&b| b <= self.sql.len())?;
        let block = byte / BLOCK_BYTES;
        let character = match self.before.get(block) {
            Some(before) => before + starts(&self.sql.as_bytes()[block * BLOCK_BYTES..byte]),
            // The end of the text, where a block would begin.
            None if !self.before.is_empty() => return Position::at(self.sql, i32::try_from(byte).ok()?),
            None => byte,
        };
        Some(Position { byte, character: character + 1 })
    }
}

/// How many characters start in these bytes.
fn starts(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&b| b & 0xC0 != 0x80).count()
}

/// A refused statement: which rule, where, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub rule: Rule,
    pub position: Option<Position>,
    /// What was refused, one sentence.
    pub message: String,
    /// What to do instead, one sentence or two.
    pub hint: String,
}

impl Refusal {
    pub(crate) fn new(rule: Rule, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { rule, position: None, message: message.into(), hint: hint.into() }
    }

    pub(crate) fn at(mut self, position: Option<Position>) -> Self {
        self.position = self.position.or(position);
        self
    }

    /// The stable code of the rule, such as `guard.statement.insert`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.rule.code()
    }

    /// Whether it rests on something that the catalog does not have, which may
    /// have been made since: worth loading the catalog anew and judging again.
    #[must_use]
    pub fn may_be_stale(&self) -> bool {
        matches!(self.rule, Rule::RelationUnknown | Rule::FunctionUnknown | Rule::OperatorUnknown)
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)+) => {
        /// The rule that refused a statement.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[$doc])* $name,)+
        }

        impl Rule {
            /// Every rule, for documents and metrics.
            pub const ALL: &[Rule] = &[$(Rule::$name,)+];

            /// Stable code for audit and metrics.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self {
                    $(Rule::$name => $code,)+
                }
            }
        }
    };
}

rules! {
    /// Nothing but blanks and comments.
    TextEmpty = "guard.text.empty",
    /// Longer than the limit.
    TextSize = "guard.text.size",
    /// A NUL byte, which ends a statement for PostgreSQL but not for others.
    TextNul = "guard.text.nul",
    /// Runs of characters or nesting that cost a parser too much.
    TextComplexity = "guard.text.complexity",
    /// PostgreSQL's grammar does not accept it.
    TextSyntax = "guard.text.syntax",
    /// More than one statement.
    StatementMany = "guard.statement.many",
    StatementInsert = "guard.statement.insert",
    StatementUpdate = "guard.statement.update",
    StatementDelete = "guard.statement.delete",
    StatementMerge = "guard.statement.merge",
    /// SELECT INTO or CREATE TABLE AS.
    StatementInto = "guard.statement.into",
    /// FOR UPDATE and its kin.
    StatementRowLock = "guard.statement.row_lock",
    /// BEGIN, COMMIT, SAVEPOINT, SET TRANSACTION ...
    StatementTransaction = "guard.statement.transaction",
    /// SET, RESET, DISCARD, ALTER SYSTEM.
    StatementSetting = "guard.statement.setting",
    StatementCopy = "guard.statement.copy",
    /// DO and CALL.
    StatementRoutine = "guard.statement.routine",
    /// CREATE, ALTER, DROP, TRUNCATE, COMMENT ...
    StatementDdl = "guard.statement.ddl",
    /// GRANT, REVOKE and roles.
    StatementGrant = "guard.statement.grant",
    /// PREPARE, EXECUTE, DEALLOCATE, DECLARE, FETCH, CLOSE.
    StatementPrepared = "guard.statement.prepared",
    /// LISTEN, NOTIFY, UNLISTEN.
    StatementNotify = "guard.statement.notify",
    /// LOCK TABLE.
    StatementLock = "guard.statement.lock",
    /// Any other statement that is not on the list of allowed ones.
    StatementOther = "guard.statement.other",
    /// EXPLAIN of something that may not be explained.
    ExplainStatement = "guard.explain.statement",
    /// EXPLAIN ANALYZE where the rules do not allow it.
    ExplainAnalyze = "guard.explain.analyze",
    ExplainOption = "guard.explain.option",
    /// SHOW of a setting that may hold a secret or describe the server.
    ShowSetting = "guard.show.setting",
    /// A function of PostgreSQL's own that does more than compute.
    FunctionRefused = "guard.function.refused",
    /// A function that is not on the list of built-ins.
    FunctionUnknown = "guard.function.unknown",
    /// A function of the database's own that may change data.
    FunctionVolatile = "guard.function.volatile",
    /// A function of the database's own that runs with its owner's rights.
    FunctionDefiner = "guard.function.definer",
    OperatorUnknown = "guard.operator.unknown",
    /// An operator of the database's own that runs such a function.
    OperatorRefused = "guard.operator.refused",
    /// Not there, or not for this database role.
    RelationUnknown = "guard.relation.unknown",
    /// A view or a policy that runs code which does more than read.
    RelationCode = "guard.relation.code",
    /// A catalog that shows sessions, secrets or configuration.
    RelationSensitive = "guard.relation.sensitive",
    /// A relation of a temporary schema.
    RelationTemporary = "guard.relation.temporary",
    /// A relation qualified by the name of a database.
    RelationDatabase = "guard.relation.database",
    /// A type that is not allowed in a cast.
    TypeRefused = "guard.type.refused",
    /// A type whose checks or casts run code which does more than read.
    TypeCode = "guard.type.code",
    /// $1 without a value to bind.
    ExpressionParameter = "guard.expression.parameter",
    /// Syntax that the server of this version reads in another way.
    ExpressionVersion = "guard.expression.version",
    /// A part of the statement that is not on the list of allowed ones.
    ExpressionUnknown = "guard.expression.unknown",
    /// The guard itself failed; nothing is known about the statement.
    Internal = "guard.internal",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_positions() {
        for sql in
            [String::new(), "a".repeat(1000), "é".repeat(512), format!("{}ü漢{}", "x".repeat(255), "é".repeat(300))]
        {
            let places = Places::of(&sql);
            for byte in -1..=i32::try_from(sql.len()).unwrap() + 1 {
                assert_eq!(places.at(byte), Position::at(&sql, byte), "{byte} of {}", sql.len());
            }
        }
    }
}
