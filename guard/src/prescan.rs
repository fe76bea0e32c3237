//! Bounds the text in one linear pass before any parser sees it, because a
//! parser in C cannot be interrupted. `check` calls it first.
//! Invariant: a text that passes costs the lexer and the grammar time linear in
//! its size and a recursion that the stack of the parsing thread holds.
//!
//! The two limits that guard time (size and runs) look at raw bytes, so that no
//! disagreement about quoting can hide anything from them. The limits on nesting
//! follow PostgreSQL's quoting to spare harmless strings; were that ever wrong,
//! the grammar's own stack limit and the thread's stack still hold.

use crate::refusal::{Position, Refusal, Rule};
use crate::rules::Rules;

/// PostgreSQL's lexer reads the rest of a run of operator characters again for
/// each token in it, which makes `/**//**/...` and `+++++...` quadratic. Longer
/// than any banner that people draw in comments.
const MAX_OPERATOR_RUN: usize = 256;
/// Deeper than anything written by hand; sub-selects and calls nest by ten.
const MAX_BRACKETS: usize = 256;
const MAX_COMMENT_NESTING: usize = 16;
/// Chained operators and casts make the tree one level deeper each.
const MAX_OPERATORS: usize = 4096;

pub(crate) fn prescan(sql: &str, rules: &Rules) -> Result<(), Refusal> {
    let limit = rules.effective_max_sql_bytes();
    if sql.len() > limit {
        return Err(Refusal::new(
            Rule::TextSize,
            format!("the SQL text has {} bytes, more than the limit of {limit}", sql.len()),
            "Shorten the statement: replace long lists of values by a join, a range or a sub-select.",
        ));
    }
    if let Some(nul) = sql.bytes().position(|b| b == 0) {
        return Err(Refusal::new(
            Rule::TextNul,
            "the SQL text contains a NUL character",
            "Remove the NUL character; text in PostgreSQL cannot hold one.",
        )
        .at(Position::at(sql, nul as i32)));
    }
    runs(sql)?;
    Nesting::new(sql).scan()
}

fn runs(sql: &str) -> Result<(), Refusal> {
    let mut run = 0;
    for (at, byte) in sql.bytes().enumerate() {
        run = if is_operator(byte) { run + 1 } else { 0 };
        if run > MAX_OPERATOR_RUN {
            return Err(complexity(
                sql,
                at,
                format!("more than {MAX_OPERATOR_RUN} operator characters stand in a row"),
                "Break the row of characters such as - * / + = with a blank or a word, also in comments and literals.",
            ));
        }
    }
    Ok(())
}

/// The characters that PostgreSQL's lexer gathers into one operator.
fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

fn complexity(sql: &str, at: usize, message: String, hint: &str) -> Refusal {
    Refusal::new(Rule::TextComplexity, message, hint).at(Position::at(sql, at as i32))
}

/// Follows quotes, comments and brackets.
struct Nesting<'a> {
    sql: &'a str,
    bytes: &'a [u8],
    at: usize,
    brackets: usize,
    operators: usize,
}

impl<'a> Nesting<'a> {
    fn new(sql: &'a str) -> Self {
        Self { sql, bytes: sql.as_bytes(), at: 0, brackets: 0, operators: 0 }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn scan(mut self) -> Result<(), Refusal> {
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b'\'' => self.quoted(b'\'', false),
                b'"' => self.quoted(b'"', false),
                b'-' if self.peek(1) == b'-' => self.line_comment(),
                b'/' if self.peek(1) == b'*' => self.block_comment()?,
                b'$' => self.dollar(),
                b'(' | b'[' => self.open()?,
                b')' | b']' => {
                    self.brackets = self.brackets.saturating_sub(1);
                    self.at += 1;
                }
                b':' if self.peek(1) == b':' => self.operator(2)?,
                byte if is_operator(byte) => self.operator(1)?,
                byte if is_word_start(byte) => self.word(),
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    /// A word, and the literal that an `E` in front of a quote opens: only there
    /// does a backslash escape the quote.
    fn word(&mut self) {
        let start = self.at;
        while is_word(self.peek(0)) {
            self.at += 1;
        }
        if self.peek(0) == b'\'' && self.at == start + 1 && matches!(self.bytes[start], b'e' | b'E') {
            self.quoted(b'\'', true);
        }
    }

    fn quoted(&mut self, quote: u8, backslash: bool) {
        self.at += 1;
        while self.at < self.bytes.len() {
            let byte = self.peek(0);
            let escaped = backslash && byte == b'\\' || byte == quote && self.peek(1) == quote;
            self.at += if escaped { 2 } else { 1 };
            if byte == quote && !escaped {
                return;
            }
        }
    }

    fn line_comment(&mut self) {
        while self.at < self.bytes.len() && !matches!(self.peek(0), b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn block_comment(&mut self) -> Result<(), Refusal> {
        let mut depth = 0usize;
        while self.at < self.bytes.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                    if depth > MAX_COMMENT_NESTING {
                        return Err(complexity(
                            self.sql,
                            self.at,
                            format!("comments are nested more than {MAX_COMMENT_NESTING} deep"),
                            "Remove the comments.",
                        ));
                    }
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => self.at += 1,
            }
        }
        Ok(())
    }

    /// `$tag$ ... $tag$`, or a lone `$`.
    fn dollar(&mut self) {
        let mut end = self.at + 1;
        while end < self.bytes.len() && is_word(self.bytes[end]) && self.bytes[end] != b'$' {
            end += 1;
        }
        let tag_is_name = end == self.at + 1 || is_word_start(self.bytes[self.at + 1]);
        if self.bytes.get(end) != Some(&b'$') || !tag_is_name {
            self.at += 1;
            return;
        }
        let tag = &self.sql[self.at..=end];
        let body = end + 1;
        self.at = self.sql[body..].find(tag).map_or(self.bytes.len(), |found| body + found + tag.len());
    }

    fn open(&mut self) -> Result<(), Refusal> {
        self.brackets += 1;
        self.at += 1;
        if self.brackets > MAX_BRACKETS {
            return Err(complexity(
                self.sql,
                self.at - 1,
                format!("brackets are nested more than {MAX_BRACKETS} deep"),
                "Flatten the statement: use a WITH clause for the inner parts.",
            ));
        }
        Ok(())
    }

    fn operator(&mut self, len: usize) -> Result<(), Refusal> {
        self.operators += 1;
        self.at += len;
        if self.operators > MAX_OPERATORS {
            return Err(complexity(
                self.sql,
                self.at - len,
                format!("the statement has more than {MAX_OPERATORS} operator characters and casts"),
                "Replace long chains of operators: use IN (...), = ANY (...), concat() or a join with VALUES.",
            ));
        }
        Ok(())
    }
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(sql: &str) -> Option<Rule> {
        prescan(sql, &Rules::default()).err().map(|refusal| refusal.rule)
    }

    #[test]
    fn bounds_what_costs_a_parser_too_much() {
        let complex = Some(Rule::TextComplexity);
        let cases: &[(String, Option<Rule>)] = &[
            ("x".repeat(32 * 1024), None),
            ("x".repeat(32 * 1024 + 1), Some(Rule::TextSize)),
            ("select 1\0".into(), Some(Rule::TextNul)),
            ("+".repeat(256), None),
            ("+".repeat(257), complex),
            ("/**/".repeat(65), complex),
            (format!("-- {}", "=".repeat(200)), None),
            ("(".repeat(256), None),
            ("(".repeat(257), complex),
            (format!("select '{}'", "(".repeat(300)), None),
            (format!("select e'\\'{}'", "(".repeat(300)), None),
            (format!("select '\\'{}", "(".repeat(300)), complex),
            (format!("select $x${}$x$", "(".repeat(300)), None),
            (format!("select $x$ $x${}", "(".repeat(300)), complex),
            (format!("select a$x${}", "(".repeat(300)), complex),
            (format!("select \"{}\"", "(".repeat(300)), None),
            (format!("-- {}", "(".repeat(300)), None),
            (format!("/* {} */", "(".repeat(300)), None),
            (format!("/* '\n*/{}'", "(".repeat(300)), complex),
            ("/* ".repeat(16), None),
            ("/* ".repeat(17), complex),
            ("::a".repeat(4096), None),
            ("::a".repeat(4097), complex),
            ("- ".repeat(4097), complex),
        ];
        for (sql, expected) in cases {
            assert_eq!(rule(sql), *expected, "{}", &sql[..sql.len().min(60)]);
        }
    }

    #[test]
    fn counts_characters_in_positions() {
        let refusal = prescan("é\0", &Rules::default()).unwrap_err();
        assert_eq!(refusal.position, Some(Position { byte: 2, character: 2 }));
    }
}
