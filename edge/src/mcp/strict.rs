//! Objects in which no member stands twice. Used by `params` for whatever a handler gets as an object.
//!
//! JSON leaves open which of two members of the same name counts: who checks a request on its way could
//! read one and the tool the other. Invariant: at no depth does a value come from a repeated name.

use std::fmt;

use rmcp::model::JsonObject;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// Names in an error are for finding the place, not for repeating what was sent.
const LONGEST_PATH_BYTES: usize = 100;

/// Reads an object whose text is known to be JSON.
///
/// # Errors
/// Where it stands and what is wrong: a member that repeats, a number or a string that no value can
/// hold, or nesting beyond what the parser follows.
pub(super) fn object(json: &str) -> Result<JsonObject, String> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    match serde_path_to_error::deserialize::<_, Strict>(&mut deserializer) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        Ok(_) => Err(" must be an object".to_owned()),
        Err(error) => {
            let what = what(error.inner());
            let path = error.path().to_string();
            let short = path != "." && path.len() <= LONGEST_PATH_BYTES && !path.contains(char::is_control);
            Err(if short { format!(".{path} {what}") } else { format!(" {what}") })
        }
    }
}

/// The parser tells these apart by their texts alone.
fn what(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let known = [
        (REPEATED, "stands there twice; send each argument once"),
        ("number out of range", "is a number out of range"),
        ("recursion limit exceeded", "is nested too deeply"),
        ("lone leading surrogate", "is text with half of a surrogate pair (\\ud800 to \\udfff)"),
        ("unexpected end of hex escape", "is text with half of a surrogate pair (\\ud800 to \\udfff)"),
    ];
    let found = known.iter().find(|(begins, _)| text.starts_with(begins));
    found.map_or_else(|| "cannot be read".to_owned(), |(_, what)| (*what).to_owned())
}

const REPEATED: &str = "repeated member";

/// A value all of whose objects have each member once.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = JsonObject::new();
        while let Some(name) = members.next_key::<String>()? {
            // Asked within the member's value, so that the error's path names the member.
            let first = !object.contains_key(&name);
            let value = members.next_value_seed(Once { first })?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

/// The value of a member, refused where the object has the member already.
struct Once {
    first: bool,
}

impl<'de> serde::de::DeserializeSeed<'de> for Once {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if !self.first {
            return Err(D::Error::custom(REPEATED));
        }
        deserializer.deserialize_any(StrictVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_read_is_what_was_sent() {
        let sent = json!({
            "sql": "SELECT 'a'", "n": [1, -1, 1.5, 18446744073709551615_u64, null, true, "é\n"], "o": { "a": { "a": 1 } },
        });
        assert_eq!(Value::Object(object(&sent.to_string()).unwrap()), sent);
        assert_eq!(object("{}").unwrap(), JsonObject::new());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
        let long = format!(r#"{{"{0}":1,"{0}":2}}"#, "x".repeat(500));
        let cases = [
            (r#"{"sql":"SELECT 1","sql":"SELECT 2"}"#, ".sql stands there twice"),
            (r#"{"sql":1,"s\u0071l":1}"#, ".sql stands there twice"),
            (r#"{"a":[{"b":{"c":1,"c":1}}]}"#, ".a[0].b.c stands there twice"),
            (r#"{"max_rows":1e400}"#, ".max_rows is a number out of range"),
            (r#"{"max_rows":-1e400}"#, ".max_rows is a number out of range"),
            (r#"{"sql":"\ud800"}"#, ".sql is text with half of a surrogate pair"),
            (r#"{"sql":"\ud800\u0041"}"#, ".sql is text with half of a surrogate pair"),
            (&deep, "is nested too deeply"),
            (&long, " stands there twice"),
            ("[]", " must be an object"),
        ];
        for (json, expected) in cases {
            let error = object(json).unwrap_err();
            assert!(error.contains(expected) && error.len() < 300, "{json}: {error}");
        }
    }
}
