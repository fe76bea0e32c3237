//! Sizes in bytes such as `4096`, `64KiB` or `4MiB`.

/// Reads a number of bytes.
///
/// # Errors
/// A text that says which forms are accepted.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let malformed = || format!("{text:?} is not a size: write bytes, or a number with KiB, MiB or GiB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let amount: u64 = text[..digits].parse().map_err(|_| malformed())?;
    let unit: u64 = match &text[digits..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(malformed()),
    };
    amount.checked_mul(unit).ok_or_else(malformed)
}

/// Reads a number of bytes as PostgreSQL's settings write them, such as `1GB`,
/// with 1,024 from unit to unit; and whatever [`parse_size`] reads.
///
/// # Errors
/// A text that says which forms are accepted.
pub(crate) fn parse_server_size(text: &str) -> Result<u64, String> {
    for (unit, ours) in [("kB", "KiB"), ("MB", "MiB"), ("GB", "GiB")] {
        if let Some(amount) = text.strip_suffix(unit) {
            return parse_size(&format!("{amount}{ours}"));
        }
    }
    parse_size(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_the_server() {
        let cases = [
            ("1GB", Some(1 << 30)),
            ("64MB", Some(64 << 20)),
            ("8kB", Some(8_192)),
            ("1GiB", Some(1 << 30)),
            ("GB", None),
            ("1KiBGB", None),
            ("1TB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_server_size(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("4096", Some(4_096)),
            ("64KiB", Some(65_536)),
            ("4MiB", Some(4 << 20)),
            ("1GiB", Some(1 << 30)),
            ("4MB", None),
            ("MiB", None),
            ("-1", None),
            ("", None),
            ("99999999999GiB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_size(text).ok(), expected, "{text:?}");
        }
    }
}
