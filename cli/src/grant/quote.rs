//! Names of any kind as parts of an SQL script: identifiers, literals, bodies of
//! DO blocks and comments. `grant` builds its script from these alone.
//! Invariant: no name, whatever characters it holds, ends the part that it
//! stands in.

use crate::output::escape;

/// A double-quoted identifier. PostgreSQL reads what stands between the quotes
/// as it is but for doubled quotes (manual, 4.1.1).
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal that means the same whatever `standard_conforming_strings`
/// says, as PostgreSQL's own `quote_literal` makes it.
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A list of names as an array literal's expression.
pub(crate) fn names(list: &[String]) -> String {
    let items: Vec<_> = list.iter().map(|name| literal(name)).collect();
    format!("ARRAY[{}]::name[]", items.join(", "))
}

/// A DO block; the dollar quote's tag is one that the body does not hold.
pub(crate) fn block(body: &str) -> String {
    let tag = (0_u32..)
        .map(|n| if n == 0 { "$nla$".to_owned() } else { format!("$nla{n}$") })
        .find(|tag| !body.contains(tag.as_str()))
        .expect("a body is finite and the tags are not");
    format!("DO {tag}\n{}\n{tag};\n", body.trim_matches('\n'))
}

/// A name inside of a comment, on one line.
pub(crate) fn remark(name: &str) -> String {
    escape(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_and_literals() {
        let cases = [
            ("shop", "\"shop\"", "'shop'"),
            ("a\"; DROP", "\"a\"\"; DROP\"", "'a\"; DROP'"),
            ("O'Brien", "\"O'Brien\"", "'O''Brien'"),
            ("a\\'b", "\"a\\'b\"", "E'a\\\\''b'"),
            ("läden\n表", "\"läden\n表\"", "'läden\n表'"),
        ];
        for (name, quoted, string) in cases {
            assert_eq!((identifier(name).as_str(), literal(name).as_str()), (quoted, string));
        }
        assert_eq!(names(&["a".into(), "b'".into()]), "ARRAY['a', 'b''']::name[]");
    }

    #[test]
    fn a_block_ends_where_it_should() {
        assert_eq!(block("BEGIN END"), "DO $nla$\nBEGIN END\n$nla$;\n");
        let hostile = block("'x $nla$ y $nla1$'");
        assert!(hostile.starts_with("DO $nla2$\n") && hostile.ends_with("\n$nla2$;\n"), "{hostile}");
    }

    #[test]
    fn a_remark_is_one_line() {
        assert_eq!(remark("a\n-- b\r\u{2028}"), "a\\n-- b\\r\\u{2028}");
    }
}
