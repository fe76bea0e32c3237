//! Runs PostgreSQL's own grammar and cuts the one statement out of its text.
//! Called by `check` and `explain` on a thread with a large stack.
//! Invariant: what comes out is one statement, its text begins with its first
//! token and ends with its last, and nothing else stood around it but blanks,
//! comments and semicolons.

use pg_query::protobuf::{RawStmt, ScanToken, Token};
use pg_query::{Error, NodeEnum, ParserOptions};

use crate::prescan::prescan;
use crate::refusal::{Position, Refusal, Rule};
use crate::rules::Rules;

/// One statement: its tree, its own text, and the tokens of the text around it.
pub(crate) struct Statement<'a> {
    pub(crate) node: NodeEnum,
    pub(crate) text: &'a str,
    pub(crate) tokens: Vec<ScanToken>,
}

/// Parses a text that holds one statement.
pub(crate) fn parse<'a>(sql: &'a str, rules: &Rules) -> Result<Statement<'a>, Refusal> {
    prescan(sql, rules)?;
    let tokens = scan(sql)?;
    shared_sources(sql, &tokens)?;
    // Without the option, libpg_query prints a line to our stderr per odd escape.
    let parsed = pg_query::parse(sql, ParserOptions::DISABLE_ESCAPE_STRING_WARNING).map_err(refuse)?;
    let mut statements = parsed.protobuf.stmts;
    if let Some(second) = statements.get(1) {
        return Err(many(sql, second));
    }
    let node = statements
        .pop()
        .ok_or_else(|| Refusal::new(Rule::TextEmpty, "the SQL text holds no statement", "Send one SELECT statement."))?
        .stmt
        .and_then(|node| node.node)
        .ok_or_else(crate::walk::unreadable)?;
    Ok(Statement { node, text: cut(sql, &tokens)?, tokens })
}

/// The tokens of a text, comments among them.
pub(crate) fn scan(sql: &str) -> Result<Vec<ScanToken>, Refusal> {
    // Not `scan_tokens`, which reads a null pointer when there is no token.
    Ok(pg_query::scan(sql).map_err(refuse)?.tokens)
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

/// How often the tree's writer may repeat a token; beyond, the tree of 32 KiB of
/// SQL could fill the memory.
const MAX_COPIES: usize = 500_000;

/// `SET (a, b, ...) = (source)` is the one place where the grammar shares a
/// subtree: the writer repeats the source for each column, and sources nest, so
/// that a short text can make a tree of any size. Bounded on the tokens.
fn shared_sources(sql: &str, tokens: &[ScanToken]) -> Result<(), Refusal> {
    let is = |token: &ScanToken, wanted: Token| token.token == wanted as i32;
    let code: Vec<&ScanToken> =
        tokens.iter().filter(|token| !is(token, Token::SqlComment) && !is(token, Token::CComment)).collect();
    let mut copies = code.len();
    for (at, pair) in code.windows(2).enumerate() {
        if !(is(pair[0], Token::Set) && is(pair[1], Token::Ascii40)) {
            continue;
        }
        let mut depth = 0usize;
        let mut columns = 1usize;
        for token in &code[at + 1..] {
            if is(token, Token::Ascii40) {
                depth += 1;
            } else if is(token, Token::Ascii41) {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            } else if depth == 1 && is(token, Token::Ascii44) {
                columns += 1;
            }
        }
        copies = copies.saturating_mul(columns);
        if copies > MAX_COPIES {
            return Err(Refusal::new(
                Rule::TextComplexity,
                "too many columns are set from one source",
                "Only reading is possible here; to explain an UPDATE set each column by itself.",
            )
            .at(Position::at(sql, pair[0].start)));
        }
    }
    Ok(())
}

/// From the first token to the last one that is neither comment nor semicolon.
fn cut<'a>(sql: &'a str, tokens: &[ScanToken]) -> Result<&'a str, Refusal> {
    let mut own = tokens
        .iter()
        .filter(|token| ![Token::SqlComment, Token::CComment, Token::Ascii59].map(|t| t as i32).contains(&token.token));
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
    ["memory exhausted", "stack depth", "nest", "encode", "too deep", "depth"].iter().any(|word| message.contains(word))
        && !message.contains(" at or near \"")
        || message.contains("memory exhausted at or near")
}
