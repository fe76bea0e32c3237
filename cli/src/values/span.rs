//! Spans of time such as `30m`, `12h`, `90d` or `1h30m`.

use std::time::Duration;

/// A hundred years: whatever is longer is a typing error.
const MAX_SECONDS: u64 = 100 * 366 * 24 * 3_600;

/// Reads a span of time.
///
/// # Errors
/// A text that says which forms are accepted.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let malformed = || format!("{text:?} is not a span of time: write 500ms, 45s, 30m, 12h, 90d, 2w or 1h30m");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| at + digits);
        let amount: u64 = rest[..digits].parse().map_err(|_| malformed())?;
        let unit_ms: u64 = match &rest[digits..unit_end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 24 * 3_600_000,
            "w" => 7 * 24 * 3_600_000,
            _ => return Err(malformed()),
        };
        let part = amount.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(malformed)?;
        total = total.checked_add(part).ok_or_else(malformed)?;
        rest = &rest[unit_end..];
    }
    if text.is_empty() || total > Duration::from_secs(MAX_SECONDS) {
        return Err(malformed());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let cases = [
            ("500ms", Some(500)),
            ("45s", Some(45_000)),
            ("30m", Some(1_800_000)),
            ("12h", Some(43_200_000)),
            ("90d", Some(7_776_000_000)),
            ("2w", Some(1_209_600_000)),
            ("1h30m", Some(5_400_000)),
            ("0s", Some(0)),
            ("", None),
            ("90", None),
            ("d", None),
            ("-1d", None),
            ("1.5h", None),
            ("1 h", None),
            ("1y", None),
            ("1M", None),
            ("99999999999999999999d", None),
            ("200000000h", None),
            ("٣d", None),
        ];
        for (text, expected_ms) in cases {
            assert_eq!(parse_span(text).ok(), expected_ms.map(Duration::from_millis), "{text:?}");
        }
    }
}
