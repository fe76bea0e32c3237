//! Numbers and times as people read them.

use std::time::Duration;

use nla_domain::clock::Timestamp;

/// `0.4 ms`, `12 ms`, `1.5 s`.
pub(crate) fn elapsed(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1_000.0;
    match ms {
        ms if ms < 9.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 59_950.0 => format!("{:.1} s", ms / 1_000.0),
        _ => span(duration),
    }
}

/// Milliseconds with microsecond precision, for machine-readable forms.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// `in 89d`, `3h ago`, `now`.
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    if at > now {
        return format!("in {}", span(at.since(now)));
    }
    let past = now.since(at);
    if past < Duration::from_secs(1) { "now".into() } else { format!("{} ago", span(past)) }
}

/// Rounded, in the largest unit that gives at least two, where there is one.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (unit, size) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds >= 2 * size {
            return format!("{}{unit}", (seconds + size / 2) / size);
        }
    }
    format!("{seconds}s")
}

/// `512 B`, `4.0 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size {
            let (whole, tenths) = (bytes / size, bytes % size * 10 / size);
            return format!("{whole}.{tenths} {unit}");
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let cases = [
            (400, "0.4 ms"),
            (9_960, "10 ms"),
            (12_300, "12 ms"),
            (999_900, "1.0 s"),
            (90_000_000, "90s"),
            (300_000_000, "5m"),
        ];
        for (micros, expected) in cases {
            assert_eq!(elapsed(Duration::from_micros(micros)), expected);
        }
        for (value, expected) in [(0, "0 B"), (1_023, "1023 B"), (4 << 20, "4.0 MiB"), (1_536, "1.5 KiB")] {
            assert_eq!(bytes(value), expected);
        }
    }

    #[test]
    fn times() {
        let now = Timestamp::from_micros(1_000_000_000_000);
        let hour = 3_600_000_000;
        for (offset, expected) in [
            (0, "now"),
            (90 * 24 * hour, "in 90d"),
            (90 * 24 * hour - 1, "in 90d"),
            (-3 * hour, "3h ago"),
            (-hour, "60m ago"),
        ] {
            let at = Timestamp::from_micros(now.as_micros() + offset);
            assert_eq!(relative(at, now), expected);
        }
    }
}
