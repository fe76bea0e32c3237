//! How long something lives: a span of time, or `never` for no end.

use std::time::Duration;

use super::parse_span;

/// The life of a new token, as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    For(Duration),
    Forever,
}

impl Life {
    /// As requests carry it: a lifetime, and whether there is no end.
    pub(crate) fn to_wire(life: Option<Self>) -> (Option<prost_types::Duration>, bool) {
        match life {
            None => (None, false),
            Some(Self::For(span)) => (Some(nla_proto::convert::duration(span)), false),
            Some(Self::Forever) => (None, true),
        }
    }
}

/// Reads a span of time or `never`.
///
/// # Errors
/// A text that says which forms are accepted.
pub(crate) fn parse_life(text: &str) -> Result<Life, String> {
    if text == "never" { Ok(Life::Forever) } else { parse_span(text).map(Life::For) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives() {
        assert_eq!(parse_life("never"), Ok(Life::Forever));
        assert_eq!(parse_life("1d"), Ok(Life::For(Duration::from_secs(86_400))));
        assert!(parse_life("Never").is_err() && parse_life("").is_err());
    }
}
