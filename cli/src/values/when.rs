//! Points in time: RFC 3339, or a span that counts back from now.

use nla_domain::clock::{SystemClock, Timestamp, WallClock as _};

use super::parse_span;

/// Reads `2026-11-23T20:00:00Z`, or `2h` for two hours ago.
///
/// # Errors
/// A text that says which forms are accepted.
pub(crate) fn parse_when(text: &str) -> Result<Timestamp, String> {
    at(text, SystemClock.now())
}

fn at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = Timestamp::parse_rfc3339(text) {
        return Ok(at);
    }
    let span = parse_span(text)
        .map_err(|_| format!("{text:?} is not a time: write 2026-11-23T20:00:00Z, or 2h for two hours ago"))?;
    let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    Ok(Timestamp::from_micros(now.as_micros().saturating_sub(micros)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let now = Timestamp::parse_rfc3339("2026-11-23T20:00:00Z").unwrap();
        let cases = [
            ("2026-11-01T00:00:00Z", Some("2026-11-01T00:00:00Z")),
            ("2h", Some("2026-11-23T18:00:00Z")),
            ("1d", Some("2026-11-22T20:00:00Z")),
            ("yesterday", None),
            ("2026-11-01", None),
        ];
        for (text, expected) in cases {
            assert_eq!(at(text, now).ok().map(|at| at.to_string()).as_deref(), expected, "{text}");
        }
    }
}
