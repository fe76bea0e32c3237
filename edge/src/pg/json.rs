//! Values as JSON, written from PostgreSQL's own text without a tree between.
//! `rows` calls it for each cell; `tools::schema` of query_database states the
//! convention to callers. Invariant: no value is rounded, refused or guessed;
//! what JSON cannot hold exactly is a string with PostgreSQL's text.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use tokio_postgres::types::Type;

/// How values of a type are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `true` and `false`.
    Boolean,
    /// Text that is a JSON number as it stands.
    Integer,
    /// A number, except NaN and the infinities.
    Float,
    /// A number while a double holds it exactly.
    BigInteger,
    /// JSON itself.
    Json,
    /// A string.
    Text,
}

/// The largest integer up to which every one has its own double (ECMA-262,
/// `Number.MAX_SAFE_INTEGER`): beyond it common JSON parsers round.
const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// Nesting of embedded JSON. Common parsers stop at 128 levels, and the answer
/// around a cell takes some of them.
const MAX_DEPTH: usize = 64;

impl Shape {
    /// The shape of a type. The server sends a domain as its base type.
    pub(crate) fn of(kind: &Type) -> Self {
        match *kind {
            Type::BOOL => Self::Boolean,
            Type::INT2 | Type::INT4 => Self::Integer,
            Type::INT8 | Type::OID => Self::BigInteger,
            Type::FLOAT4 | Type::FLOAT8 => Self::Float,
            Type::JSON | Type::JSONB => Self::Json,
            _ => Self::Text,
        }
    }
}

/// Appends one value; `None` is NULL.
pub(crate) fn write_value(out: &mut Vec<u8>, shape: Shape, value: Option<&str>) {
    let Some(text) = value else {
        out.extend_from_slice(b"null");
        return;
    };
    let as_it_stands = match shape {
        Shape::Boolean => {
            match text {
                "t" => out.extend_from_slice(b"true"),
                "f" => out.extend_from_slice(b"false"),
                other => write_string(out, other),
            }
            return;
        }
        Shape::Integer => text.parse::<i32>().is_ok(),
        Shape::BigInteger => {
            text.parse::<i64>().is_ok_and(|number| (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&number))
        }
        Shape::Float => !text.ends_with(|last: char| last.is_ascii_alphabetic()),
        Shape::Json => is_embeddable(text),
        Shape::Text => false,
    };
    if as_it_stands {
        out.extend_from_slice(text.as_bytes());
    } else {
        write_string(out, text);
    }
}

/// Appends a JSON string.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => &[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]],
            _ => continue,
        };
        out.extend_from_slice(&bytes[written..at]);
        out.extend_from_slice(escape);
        written = at + 1;
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

/// True for JSON that any client's parser takes: PostgreSQL's `json` also holds
/// lone surrogates, numbers beyond every double and a thousand levels.
fn is_embeddable(text: &str) -> bool {
    let mut parser = serde_json::Deserializer::from_str(text);
    Acceptable { depth: MAX_DEPTH }.deserialize(&mut parser).is_ok() && parser.end().is_ok()
}

/// Walks a JSON text and keeps nothing.
#[derive(Clone, Copy)]
struct Acceptable {
    depth: usize,
}

impl Acceptable {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Acceptable {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Acceptable {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while entries.next_key_seed(inner)?.is_some() {
            entries.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(shape: Shape, value: Option<&str>) -> String {
        let mut out = Vec::new();
        write_value(&mut out, shape, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values() {
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        let deep_string = format!("\"{deep}\"");
        let cases = [
            (Shape::Text, None, "null"),
            (Shape::Text, Some(""), r#""""#),
            (Shape::Text, Some("a\"b\\c\nd\te\u{1}é"), r#""a\"b\\c\nd\te\u0001é""#),
            (Shape::Boolean, Some("t"), "true"),
            (Shape::Boolean, Some("f"), "false"),
            (Shape::Integer, Some("-2147483648"), "-2147483648"),
            (Shape::BigInteger, Some("9007199254740991"), "9007199254740991"),
            (Shape::BigInteger, Some("9007199254740992"), r#""9007199254740992""#),
            (Shape::BigInteger, Some("-9223372036854775808"), r#""-9223372036854775808""#),
            (Shape::Float, Some("1e+300"), "1e+300"),
            (Shape::Float, Some("-0"), "-0"),
            (Shape::Float, Some("NaN"), r#""NaN""#),
            (Shape::Float, Some("-Infinity"), r#""-Infinity""#),
            (Shape::Json, Some(r#"{"a": [1, 12345678901234567890.5]}"#), r#"{"a": [1, 12345678901234567890.5]}"#),
            (Shape::Json, Some("null"), "null"),
            (Shape::Json, Some(r#"{"a":"\ud800"}"#), r#""{\"a\":\"\\ud800\"}""#),
            (Shape::Json, Some("1e999"), r#""1e999""#),
            (Shape::Json, Some(&deep), &deep_string),
        ];
        for (shape, value, expected) in cases {
            assert_eq!(written(shape, value), expected, "{shape:?} {value:?}");
        }
    }

    proptest! {
        #[test]
        fn strings_read_back_as_they_were(text in "\\PC*|[\\x00-\\x7f]*") {
            let read: String = serde_json::from_str(&written(Shape::Text, Some(&text))).unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn every_integer_reads_back(number: i64) {
            let text = number.to_string();
            let read: serde_json::Value = serde_json::from_str(&written(Shape::BigInteger, Some(&text))).unwrap();
            let same = read.as_i64() == Some(number) || read.as_str() == Some(&text);
            prop_assert!(same);
        }

        #[test]
        fn embedded_json_is_always_json(text in "[\\[\\]{}:,\"0-9eE.+\\\\ua-f -]{0,40}") {
            let out = written(Shape::Json, Some(&text));
            prop_assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok());
        }
    }
}
