//! Names that a role lets through: functions, relations, operators, settings.
//! Refused here already, so that a typing error does not wait for a login. The
//! empty text passes: it clears the list.

use nla_domain::role::exceptions::{Malformed, check_operator, check_qualified, check_setting};

fn unless_empty(text: &str, check: fn(&str) -> Result<(), Malformed>) -> Result<String, Malformed> {
    if !text.is_empty() {
        check(text)?;
    }
    Ok(text.to_owned())
}

/// A function or a relation, as `schema.name`.
///
/// # Errors
/// [`Malformed`].
pub(crate) fn parse_qualified(text: &str) -> Result<String, Malformed> {
    unless_empty(text, check_qualified)
}

/// An operator's plain name.
///
/// # Errors
/// [`Malformed`].
pub(crate) fn parse_operator(text: &str) -> Result<String, Malformed> {
    unless_empty(text, check_operator)
}

/// A setting; PostgreSQL does not tell upper from lower case in them.
///
/// # Errors
/// [`Malformed`].
pub(crate) fn parse_setting(text: &str) -> Result<String, Malformed> {
    unless_empty(&text.to_ascii_lowercase(), check_setting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(parse_qualified("shop.total").as_deref(), Ok("shop.total"));
        assert_eq!(parse_qualified("total"), Err(Malformed::Qualified));
        assert_eq!(parse_operator("<%").as_deref(), Ok("<%"));
        assert_eq!(parse_operator("like"), Err(Malformed::Operator));
        assert_eq!(parse_setting("DateStyle").as_deref(), Ok("datestyle"));
        assert_eq!(parse_setting("a b"), Err(Malformed::Setting));
        for parse in [parse_qualified, parse_operator, parse_setting] {
            assert_eq!(parse("").as_deref(), Ok(""));
        }
    }
}
