//! Labels such as `team=data`.

use nla_domain::label;

/// Reads `key=value`.
///
/// # Errors
/// A text that says what is accepted.
pub(crate) fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not a label: write key=value"))?;
    label::check(key, value).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        assert_eq!(parse_label("team=data"), Ok(("team".into(), "data".into())));
        for bad in ["", "team", "=data", "team=", "Team=data", "team=a b", "team=a=b"] {
            assert!(parse_label(bad).is_err(), "{bad:?}");
        }
    }
}
