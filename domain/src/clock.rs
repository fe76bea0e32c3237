//! Wall time. Durations and deadlines come from `tokio::time`, which tests can
//! pause; only the calendar is injected, because a token's expiry is a date.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A point in wall time, in microseconds since the Unix epoch (UTC).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(i64);

/// The latest instant that RFC 3339 can write: 9999-12-31T23:59:59Z.
const MAX_MICROS: i64 = 253_402_300_799_000_000;

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This instant and `duration` more, at most the end of the year 9999.
    pub fn plus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(MAX_MICROS);
        Self(self.0.saturating_add(micros).min(MAX_MICROS))
    }

    /// Time from `earlier` to this instant; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Parses RFC 3339, for example `2026-11-23T20:00:00Z`.
    ///
    /// # Errors
    /// When the text is not an RFC 3339 date and time.
    pub fn parse_rfc3339(text: &str) -> Result<Self, time::error::Parse> {
        let at = OffsetDateTime::parse(text, &Rfc3339)?;
        let micros = at.unix_timestamp_nanos() / 1_000;
        Ok(Self(i64::try_from(micros).unwrap_or(MAX_MICROS)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => write!(f, "@{}us", self.0),
        }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(at: SystemTime) -> Self {
        let micros = match at.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(MAX_MICROS),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(MAX_MICROS),
        };
        Self(micros)
    }
}

/// Tells the date. Two implementations: the system's and a fixed one for tests.
pub trait WallClock: Send + Sync + fmt::Debug {
    /// The current wall time.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct FixedClock(std::sync::atomic::AtomicI64);

impl FixedClock {
    /// A clock that shows `at`.
    pub fn at(at: Timestamp) -> Self {
        Self(at.as_micros().into())
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let to = self.now().plus(by);
        self.0.store(to.as_micros(), std::sync::atomic::Ordering::SeqCst);
    }
}

impl WallClock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_round_trips() {
        for text in ["1970-01-01T00:00:00Z", "2026-11-23T20:00:00.123456Z", "9999-12-31T23:59:59Z"] {
            assert_eq!(Timestamp::parse_rfc3339(text).unwrap().to_string(), text);
        }
        assert!(Timestamp::parse_rfc3339("yesterday").is_err());
    }

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let now = Timestamp::from_micros(5);
        assert_eq!(now.plus(Duration::MAX).as_micros(), MAX_MICROS);
        assert_eq!(Timestamp::default().since(now), Duration::ZERO);
    }
}
