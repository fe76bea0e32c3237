//! Names of PostgreSQL's objects as people type them: taken as they are, without
//! folding, so that what is typed is what the catalog holds.

use std::str::FromStr;

/// PostgreSQL's `NAMEDATALEN` less its terminator. It cuts longer names without
/// an error, and the rest may be another object's name.
const MAX_NAME_BYTES: usize = 63;

/// Checks one name.
///
/// # Errors
/// A text that says what is accepted.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES {
        return Err(format!("a name has 1 to {MAX_NAME_BYTES} bytes"));
    }
    Ok(text.to_owned())
}

/// A table or view, as `schema.name`. A part that holds a dot stands in double
/// quotes, and a double quote in it is doubled, as in SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RelationName {
    pub(crate) schema: String,
    pub(crate) name: String,
}

impl FromStr for RelationName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed =
            || format!("{text:?} is not schema.table; a part that holds a dot stands in double quotes: \"a.b\".c");
        let (schema, rest) = part(text).ok_or_else(malformed)?;
        let (name, rest) = rest.strip_prefix('.').and_then(part).ok_or_else(malformed)?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        Ok(Self { schema: parse_name(&schema)?, name: parse_name(&name)? })
    }
}

/// The first part and what follows it.
fn part(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return (!name.contains('"')).then(|| (name.to_owned(), rest));
    };
    let mut name = String::new();
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations() {
        let long = "x".repeat(64);
        let cases = [
            ("shop.orders", Some(("shop", "orders"))),
            ("Shop.Order Items", Some(("Shop", "Order Items"))),
            ("\"we.ird\".\"ta\"\"ble\"", Some(("we.ird", "ta\"ble"))),
            ("\"a\nb\".c", Some(("a\nb", "c"))),
            ("orders", None),
            ("a.b.c", None),
            (".b", None),
            ("a.", None),
            ("\"a.b", None),
            ("\"a\"x.b", None),
            ("a\"b.c", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let read = text.parse::<RelationName>().ok();
            let read = read.as_ref().map(|name| (name.schema.as_str(), name.name.as_str()));
            assert_eq!(read, expected, "{text:?}");
        }
        assert!(format!("a.{long}").parse::<RelationName>().is_err());
        assert!(parse_name(&long).is_err() && parse_name("").is_err() && parse_name(&long[1..]).is_ok());
    }
}
