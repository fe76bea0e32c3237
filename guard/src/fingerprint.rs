//! Tells statements apart for the audit log, from the tokens of a scan that was
//! needed anyway: a fingerprint of libpg_query would parse the text once more,
//! which took a third of a check and time quadratic in the tables of a FROM.
//! Called by `check` and `explain` for what they accepted.
//! Invariant: blanks, comments, the case of words and constants do not count, nor
//! how many constants stand in a list; every other token does.

use pg_query::protobuf::{ScanToken, Token};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Constant,
    Comma,
    Open,
    Close,
    Word(&'a str),
    Operator(&'a str),
}

/// An open bracket: where it stands, and whether constants in it are a list.
#[derive(Clone, Copy)]
struct Bracket {
    at: usize,
    list: bool,
}

/// The tokens that count, lists shortened.
#[derive(Default)]
struct Pieces<'a> {
    all: Vec<Piece<'a>>,
    open: Vec<Bracket>,
    /// Where the last bracket that was closed began and ended.
    closed: (usize, usize),
}

/// Sixteen hex digits for the tokens of these texts, one after the other.
pub(crate) fn of(parts: &[(&str, &[ScanToken])]) -> String {
    let mut pieces = Pieces::default();
    for (sql, tokens) in parts {
        for token in *tokens {
            let text = usize::try_from(token.start).ok().zip(usize::try_from(token.end).ok());
            pieces.add(token.token, text.and_then(|(start, end)| sql.get(start..end)).unwrap_or_default());
        }
    }
    format!("{:016x}", hash(&pieces.all))
}

impl<'a> Pieces<'a> {
    fn add(&mut self, token: i32, text: &'a str) {
        let is = |wanted: &[Token]| wanted.iter().any(|wanted| *wanted as i32 == token);
        if is(&[Token::SqlComment, Token::CComment, Token::Ascii59]) {
            return;
        }
        if is(&[
            Token::Iconst,
            Token::Fconst,
            Token::Sconst,
            Token::Bconst,
            Token::Xconst,
            Token::Usconst,
            Token::Param,
        ]) {
            self.constant();
        } else if is(&[Token::Ascii44]) {
            self.all.push(Piece::Comma);
        } else if is(&[Token::Ascii40, Token::Ascii91]) {
            let list =
                text == "[" || matches!(self.all.last(), Some(Piece::Word(word)) if word.eq_ignore_ascii_case("in"));
            self.open.push(Bracket { at: self.all.len(), list });
            self.all.push(Piece::Open);
        } else if is(&[Token::Ascii41, Token::Ascii93]) {
            self.close();
        } else if text.starts_with(|first: char| first.is_alphanumeric() || matches!(first, '_' | '"')) {
            self.all.push(Piece::Word(text));
        } else {
            self.all.push(Piece::Operator(text));
        }
    }

    fn constant(&mut self) {
        // The grammar makes one constant of a sign and a number.
        if let [.., Piece::Open | Piece::Comma | Piece::Operator(_), Piece::Operator("-" | "+")] = self.all[..] {
            self.all.pop();
        }
        let list = self.open.last().is_some_and(|bracket| bracket.list);
        if list && matches!(self.all[..], [.., Piece::Constant, Piece::Comma]) {
            self.all.pop();
        } else {
            self.all.push(Piece::Constant);
        }
    }

    /// A row of constants beside one of its kind, as in VALUES, is left out.
    fn close(&mut self) {
        self.all.push(Piece::Close);
        let Some(Bracket { at, .. }) = self.open.pop() else { return };
        let (first, end) = self.closed;
        let row = &self.all[at..];
        let constant = row[1..row.len() - 1].iter().all(|piece| matches!(piece, Piece::Constant | Piece::Comma));
        if constant && end + 1 == at && self.all[end] == Piece::Comma && self.all[first..end] == *row {
            self.all.truncate(end);
        } else {
            self.closed = (at, self.all.len());
        }
    }
}

/// FNV-1a, whose values stay the same for as long as audit logs are kept.
fn hash(pieces: &[Piece<'_>]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for piece in pieces {
        match piece {
            Piece::Constant => add(1),
            Piece::Comma => add(2),
            Piece::Open => add(3),
            Piece::Close => add(4),
            Piece::Word(word) if word.starts_with(['"', 'U', 'u']) && word.contains('"') => {
                word.bytes().for_each(&mut add)
            }
            Piece::Word(text) | Piece::Operator(text) => text.bytes().for_each(|byte| add(byte.to_ascii_lowercase())),
        }
        // No byte of UTF-8.
        add(0xff);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(sql: &str) -> String {
        of(&[(sql, &pg_query::scan(sql).unwrap().tokens)])
    }

    #[test]
    fn equal_but_for_what_does_not_count() {
        for (one, other) in [
            ("select a from t where b = 1", "SELECT  A /* x */ FROM t -- y\n WHERE b=-2.5;"),
            ("select 'a' || E'\\n'", "select $$b$$ || U&'\\0061'"),
            ("select a in (1)", "select a in (1, -2, 3)"),
            ("select array[1, 2]", "select array['x']"),
            ("values (1, 'a')", "values (2, 'b'), (3, 'c'), (4, null_), (5, 'd')"),
            ("select x'1f', b'1', 1e9", "select x'2f', b'0', 2e9"),
        ] {
            let equal = !other.contains("null_");
            assert_eq!(print(one) == print(other), equal, "{one} | {other}");
        }
    }

    #[test]
    fn different_in_all_else() {
        let all = [
            "select a from t",
            "select b from t",
            "select a from t where b = 1",
            "select a from t where b <> 1",
            "select \"A\" from t",
            "select a, 1 from t",
            "select lpad(a, 1)",
            "select lpad(a, 1, 'x')",
            "select (a), 1",
            "select (a, 1)",
            "select a - 1",
            "select a in (1, b)",
            "values (1), (2, 3)",
            "values (1, 2)",
            "ab c",
            "a bc",
        ];
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                assert_ne!(print(one), print(other), "{one} | {other}");
            }
        }
    }

    #[test]
    fn stays_the_same_for_ever() {
        assert_eq!(print("select 1"), "16fa1b1e8f05f87e");
    }
}
