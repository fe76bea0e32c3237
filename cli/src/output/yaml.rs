//! YAML for results. Written here rather than by the YAML library, because that
//! one lets characters through that reorder text on a terminal; strings that
//! are not plainly harmless are written as JSON strings, which YAML understands.

use serde_json::Value;

use super::escape;

/// One YAML document, ending in a line break.
pub(crate) fn render(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Array(items) if !items.is_empty() => sequence(items, 0, &mut out),
        Value::Object(fields) if !fields.is_empty() => mapping(fields, 0, &mut out),
        scalar => {
            out.push_str(&inline(scalar));
            out.push('\n');
        }
    }
    out
}

fn sequence(items: &[Value], indent: usize, out: &mut String) {
    for item in items {
        pad(indent, out);
        out.push('-');
        match item {
            // The first field stands on the line of the dash.
            Value::Object(fields) if !fields.is_empty() => {
                let start = out.len();
                mapping(fields, indent + 2, out);
                out.replace_range(start..start + indent + 2, " ");
            }
            other => nested(other, indent, out),
        }
    }
}

fn mapping(fields: &serde_json::Map<String, Value>, indent: usize, out: &mut String) {
    for (key, value) in fields {
        pad(indent, out);
        out.push_str(&string(key));
        out.push(':');
        nested(value, indent, out);
    }
}

/// What follows a dash or a colon.
fn nested(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            sequence(items, indent + 2, out);
        }
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            mapping(fields, indent + 2, out);
        }
        scalar => {
            out.push(' ');
            out.push_str(&inline(scalar));
            out.push('\n');
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        // Empty collections, numbers, booleans and null are the same in JSON.
        other => other.to_string(),
    }
}

/// Plain only where no YAML reader, old or new, sees anything but a string.
fn string(text: &str) -> String {
    const RESERVED: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let starts_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/');
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_-./@+".contains(c);
    if starts_plain && text.chars().all(harmless) && !RESERVED.contains(&text.to_lowercase().as_str()) {
        return text.to_owned();
    }
    escape::json_text(&Value::from(text).to_string())
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_yaml_reader_gets_the_same_value() {
        let cases = [
            json!({"a": 1, "b": [1.5, null, true], "c": {"d": "e", "f": []}, "g": {}}),
            json!([{"a": 1, "b": [{"c": [[1], []]}]}, "text", []]),
            json!([]),
            json!({}),
            json!("true"),
            json!({"no": "NO", "when": "2026-11-23T20:00:00Z", "n": "1e3", "empty": "", "tilde": "~"}),
            json!({"sql": "SELECT 1 -- x: y\n\t# 'q' \"d\" \\", "bell": "\u{7}\u{202e}\u{85}"}),
            json!([
                "- a", "a: b", "[x]", "{y}", "!tag", "&anchor", "*alias", "%dir", "@at", "`tick", "0x1f", "=", "<<"
            ]),
        ];
        for value in cases {
            let text = render(&value);
            let back: Value = serde_yaml_ng::from_str(&text).unwrap_or_else(|e| panic!("{e}:\n{text}"));
            assert_eq!(back, value, "{text}");
        }
    }

    #[test]
    fn layout() {
        let value = json!([{"name": "shop", "limits": {"max_rows": 10}, "roles": ["a", "b"]}]);
        assert_eq!(render(&value), "- name: shop\n  limits:\n    max_rows: 10\n  roles:\n    - a\n    - b\n");
    }
}
