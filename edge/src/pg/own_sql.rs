//! Statements of the edge's own, for the tools that describe a database's
//! catalog. Invariant: what a caller said is in them as literals only.

/// A statement of the edge's own: constant SQL with `$1` to `$9` in it, which
/// are replaced by quoted literals.
#[derive(Debug, Clone)]
pub struct OwnSql(String);

impl OwnSql {
    /// Fills in the arguments.
    pub fn new(sql: &'static str, arguments: &[&str]) -> Self {
        let mut text = String::with_capacity(sql.len());
        let mut rest = sql;
        while let Some(at) = rest.find('$') {
            text.push_str(&rest[..at]);
            let number = rest[at + 1..].chars().next().and_then(|digit| digit.to_digit(10));
            let argument = number.and_then(|n| arguments.get(usize::try_from(n).ok()?.checked_sub(1)?));
            match argument {
                Some(argument) => {
                    push_literal(&mut text, argument);
                    rest = &rest[at + 2..];
                }
                None => {
                    text.push('$');
                    rest = &rest[at + 1..];
                }
            }
        }
        text.push_str(rest);
        Self(text)
    }

    pub(super) fn sql(&self) -> &str {
        &self.0
    }
}

/// A literal that reads the same whatever `standard_conforming_strings` says.
fn push_literal(out: &mut String, value: &str) {
    let quoted = value.replace('\0', "").replace('\'', "''");
    if quoted.contains('\\') {
        out.push_str(" E'");
        out.push_str(&quoted.replace('\\', "\\\\"));
    } else {
        out.push('\'');
        out.push_str(&quoted);
    }
    out.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_statements_quote_their_arguments() {
        let own = OwnSql::new("SELECT $1, $2, '$9', $$", &["it's", "$1"]);
        assert_eq!(own.0, "SELECT 'it''s', '$1', '$9', $$");
        assert_eq!(OwnSql::new("SELECT $1", &["\\'; x"]).0, "SELECT  E'\\\\''; x'");
    }
}
