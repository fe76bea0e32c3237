//! Labels: what operators sort tokens by, such as `team=data`. They decide
//! nothing, and edges do not see them.

use std::collections::BTreeMap;

/// Most labels of one object.
pub const MAX_LABELS: usize = 16;
const MAX_BYTES: usize = 63;

/// Why labels were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabel {
    /// The key is malformed.
    #[error(
        "label key {0:?} is not valid: use 1 to 63 of a-z, 0-9, '-', '_', '.' and '/', starting with a letter or digit"
    )]
    Key(String),
    /// The value is malformed.
    #[error(
        "the value {value:?} of label {key} is not valid: use 1 to 63 of A-Z, a-z, 0-9, '-', '_', '.', '/', ':', '@' and '+'"
    )]
    Value {
        /// Which label.
        key: String,
        /// Its beginning.
        value: String,
    },
    /// There are too many.
    #[error("there are {0} labels; at most {MAX_LABELS} are kept")]
    TooMany(usize),
}

/// Labels of one object, in order of their keys. What they are written with
/// never needs quotes, neither on a command line nor in a list with commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Checks labels.
    ///
    /// # Errors
    /// [`InvalidLabel`] names the first that does not fit.
    pub fn new(labels: BTreeMap<String, String>) -> Result<Self, InvalidLabel> {
        if labels.len() > MAX_LABELS {
            return Err(InvalidLabel::TooMany(labels.len()));
        }
        labels.iter().try_for_each(|(key, value)| check(key, value))?;
        Ok(Self(labels))
    }

    /// The labels.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// True when all of `wanted` are among them, with the same values.
    pub fn include(&self, wanted: &Self) -> bool {
        wanted.0.iter().all(|(key, value)| self.0.get(key) == Some(value))
    }
}

/// Checks one label.
///
/// # Errors
/// [`InvalidLabel`].
pub fn check(key: &str, value: &str) -> Result<(), InvalidLabel> {
    // The text may be hostile and long; show only its beginning.
    let beginning = |text: &str| text.chars().take(80).collect::<String>();
    let in_key = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_./".contains(&b);
    let starts = key.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !starts || key.len() > MAX_BYTES || !key.bytes().all(in_key) {
        return Err(InvalidLabel::Key(beginning(key)));
    }
    let in_value = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@+".contains(&b);
    if value.is_empty() || value.len() > MAX_BYTES || !value.bytes().all(in_value) {
        return Err(InvalidLabel::Value { key: key.to_owned(), value: beginning(value) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Result<Labels, InvalidLabel> {
        Labels::new(pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
    }

    #[test]
    fn keys_and_values_are_checked() {
        let long = "x".repeat(63);
        let too_long = "x".repeat(64);
        let cases = [
            ("team", "data", true),
            ("example.com/team", "Ana@example.com", true),
            ("0", "a:b/c+d", true),
            (&long, &long, true),
            (&too_long, "a", false),
            ("a", &too_long, false),
            ("", "a", false),
            ("a", "", false),
            ("Team", "data", false),
            (".a", "b", false),
            ("a b", "c", false),
            ("a", "b c", false),
            ("a", "b,c", false),
            ("a", "b=c", false),
            ("a", "é", false),
            ("a", "'b'", false),
        ];
        for (key, value, fits) in cases {
            assert_eq!(labels(&[(key, value)]).is_ok(), fits, "{key:?}={value:?}");
        }
    }

    #[test]
    fn there_is_a_most_of_them() {
        let many = |count: usize| (0..count).map(|n| (format!("k{n}"), "v".to_owned())).collect();
        assert!(Labels::new(many(MAX_LABELS)).is_ok());
        assert_eq!(Labels::new(many(MAX_LABELS + 1)), Err(InvalidLabel::TooMany(MAX_LABELS + 1)));
    }

    #[test]
    fn a_selection_needs_all_of_its_labels() {
        let held = labels(&[("team", "data"), ("env", "prod")]).unwrap();
        let cases: [(&[(&str, &str)], bool); 5] = [
            (&[], true),
            (&[("team", "data")], true),
            (&[("team", "data"), ("env", "prod")], true),
            (&[("team", "other")], false),
            (&[("team", "data"), ("region", "eu")], false),
        ];
        for (wanted, fits) in cases {
            assert_eq!(held.include(&labels(wanted).unwrap()), fits, "{wanted:?}");
        }
    }
}
