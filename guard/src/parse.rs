//! Runs PostgreSQL's own grammar and cuts the one statement out of its text.
//! Called by `check` and `explain` on a thread with a large stack.
//! Invariant: what comes out is one statement, its text begins with its first
//! token and ends with its last, and nothing else stood around it but blanks,
//! comments and semicolons.

use pg_query::protobuf::{RawStmt, Token};
use pg_query::{Error, NodeEnum, ParserOptions};

use crate::prescan::prescan;
use crate::refusal::{Position, Refusal, Rule};
use crate::rules::Rules;

/// One statement: its tree and its own text.
pub(crate) struct Statement<'a> {
    pub(crate) node: NodeEnum,
    pub(crate) text: &'a str,
}

/// Parses a text that holds one statement.
pub(crate) fn parse<'a>(sql: &'a str, rules: &Rules) -> Result<Statement<'a>, Refusal> {
    prescan(sql, rules)?;
    // Without the option, libpg_query prints a line to our stderr per odd escape.
    let parsed = pg_query::parse(sql, ParserOptions::DISABLE_ESCAPE_STRING_WARNING).map_err(refuse)?;
    let mut statements = parsed.protobuf.stmts;
    if let Some(second) = statements.get(1) {
        return Err(many(sql, second));
    }
    let node = statements
        .pop()
        .ok_or_else(|| {
            Refusal::new(
                Rule::TextEmpty,
                "the SQL text holds no statement",
                "Send one SELECT statement.",
            )
        })?
        .stmt
        .and_then(|node| node.node)
        .ok_or_else(crate::walk::unreadable)?;
    Ok(Statement { node, text: cut(sql)? })
}

fn many(sql: &str, second: &RawStmt) -> Refusal {
    let start = usize::try_from(second.stmt_location).unwrap_or(0);
    // The parser counts the blanks before a statement to it.
    let blanks = sql.get(start..).map_or(0, |rest| rest.len() - rest.trim_start().len());
    let at = i32::try_from(start + blanks).unwrap_or(-1);
    Refusal::new(
        Rule::StatementMany,
        "the SQL text holds more than one statement",
        "Send one statement at a time, without a semicolon in the middle; combine queries with WITH or UNION ALL.",
    )
    .at(Position::at(sql, at))
}

/// From the first token to the last one that is neither comment nor semicolon.
fn cut(sql: &str) -> Result<&str, Refusal> {
    let tokens = pg_query::scan_tokens(sql).map_err(refuse)?;
    let mut own = tokens.iter().filter(|token| {
        ![Token::SqlComment, Token::CComment, Token::Ascii59].map(|t| t as i32).contains(&token.token)
    });
    let first = own.next();
    let last = own.next_back().or(first);
    first
        .zip(last)
        .and_then(|(first, last)| sql.get(usize::try_from(first.start).ok()?..usize::try_from(last.end).ok()?))
        .ok_or_else(crate::walk::unreadable)
}

fn refuse(error: Error) -> Refusal {
    match error {
        Error::Parse(message) | Error::Scan(message) if is_depth(&message) => Refusal::new(
            Rule::TextComplexity,
            "the statement is nested too deeply",
            "Flatten the statement: use a WITH clause, IN (...) or a join with VALUES instead of long chains.",
        ),
        Error::Parse(message) | Error::Scan(message) => Refusal::new(
            Rule::TextSyntax,
            format!("PostgreSQL cannot parse the statement: {message}"),
            "Correct the syntax. Only PostgreSQL's own SQL is understood, without psql commands such as \\d.",
        ),
        other => Refusal::new(
            Rule::TextComplexity,
            format!("the statement's tree cannot be read: {other}"),
            "Make the statement shorter and flatter.",
        ),
    }
}

/// The errors of the grammar and of the tree's writer that mean "too deep".
fn is_depth(message: &str) -> bool {
    ["memory exhausted", "stack depth", "nest", "encode", "too deep", "depth"]
        .iter()
        .any(|word| message.contains(word))
        && !message.contains(" at or near \"")
        || message.contains("memory exhausted at or near")
}
