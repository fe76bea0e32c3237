//! A second opinion on calls, from the tokens alone: a refused name with an open
//! bracket behind it, where the grammar would read a call. Called for what the
//! guard accepted.
//! Invariant: knows nothing of the tree that the guard walked.

use std::collections::HashSet;
use std::sync::LazyLock;

use nla_guard::CheckedSql;
use pg_query::protobuf::{KeywordKind, ScanToken, Token};

static REFUSED: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    include_str!("../../src/functions/refused.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect()
});

/// The first refused function that the statement calls.
pub(crate) fn refused(sql: &str, checked: &CheckedSql) -> Option<String> {
    let told = checked.functions().iter().map(|function| function.name.clone()).find(|name| REFUSED.contains(&**name));
    told.or_else(|| {
        let tokens = pg_query::scan(sql).ok()?.tokens;
        let code: Vec<&ScanToken> =
            tokens.iter().filter(|t| !is(t, Token::SqlComment) && !is(t, Token::CComment)).collect();
        (1..code.len().saturating_sub(1)).find_map(|at| {
            let name = name(sql, code[at])?;
            (REFUSED.contains(&*name) && is(code[at + 1], Token::Ascii40) && calls(&code, at)).then_some(name)
        })
    })
}

fn is(token: &ScanToken, wanted: Token) -> bool {
    token.token == wanted as i32
}

/// The name that an identifier stands for; `U&"..."` is left to the guard.
fn name(sql: &str, token: &ScanToken) -> Option<String> {
    if !is(token, Token::Ident) {
        return None;
    }
    let text = sql.get(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?)?;
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(quoted) => Some(quoted.replace("\"\"", "\"")),
        None => Some(text.to_ascii_lowercase()),
    }
}

/// Whether a name with a bracket behind it is in the place of a call, and not an
/// alias with columns, a WITH query's name or a type.
fn calls(code: &[&ScanToken], at: usize) -> bool {
    let before = code[at - 1];
    let alias = [Token::As, Token::Ident, Token::Ascii41, Token::Ascii93, Token::Typecast, Token::With, Token::Sconst];
    let unreserved = before.keyword_kind == KeywordKind::UnreservedKeyword as i32
        || before.keyword_kind == KeywordKind::ColNameKeyword as i32;
    if alias.iter().any(|token| is(before, *token)) || unreserved && !is(before, Token::By) {
        return false;
    }
    let mut depth = 0;
    let end = code[at + 1..].iter().position(|token| {
        depth += i32::from(is(token, Token::Ascii40)) - i32::from(is(token, Token::Ascii41));
        depth == 0
    });
    let behind = end.and_then(|end| code.get(at + 1 + end + 1));
    // `name(a) AS (`: a WITH query; `name(1) 'x'`: a literal of a type.
    !behind.is_some_and(|token| is(token, Token::As) || is(token, Token::Sconst))
}
