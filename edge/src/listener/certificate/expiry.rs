//! When the certificate ends and what the log says of it. `watch` asks at
//! every look. Invariant: a notice changes at least daily, so that whoever
//! logs each notice once logs daily.

use nla_domain::clock::Timestamp;

/// Below this the log says so every day.
const SOON_DAYS: i64 = 30;
/// Below this whoever renews automatically has failed for some time.
const WEEK_DAYS: i64 = 7;
const DAY_MICROS: i64 = 86_400_000_000;

/// From when to when a certificate is accepted, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// What is worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// It begins later, or this machine's clock is slow.
    NotYetValid,
    /// So many whole days are left.
    Ends(i64),
    /// It ended so many days ago, begun ones counted.
    Ended(i64),
}

impl Validity {
    /// Whole days until the end, negative after it.
    pub(super) fn days_left(self, now: Timestamp) -> i64 {
        self.not_after.as_micros().saturating_sub(now.as_micros()).div_euclid(DAY_MICROS)
    }

    pub(super) fn notice(self, now: Timestamp) -> Option<Notice> {
        if now < self.not_before {
            return Some(Notice::NotYetValid);
        }
        match self.days_left(now) {
            ended if ended < 0 => Some(Notice::Ended(-ended)),
            soon if soon < SOON_DAYS => Some(Notice::Ends(soon)),
            _ => None,
        }
    }
}

impl Notice {
    pub(super) fn log(self, validity: Validity, file: &str) {
        let (expires_at, valid_from) = (validity.not_after, validity.not_before);
        match self {
            Self::NotYetValid => {
                tracing::error!(file, %valid_from, "the certificate for MCP clients is not valid yet and clients refuse it; check this machine's clock");
            }
            Self::Ended(days) => {
                tracing::error!(file, %expires_at, days, "the certificate for MCP clients has expired and clients refuse it; put a new one in its place, it is taken without a restart");
            }
            Self::Ends(0) => {
                tracing::error!(file, %expires_at, "the certificate for MCP clients expires within a day; put a new one in its place, it is taken without a restart");
            }
            Self::Ends(days) if days < WEEK_DAYS => {
                tracing::warn!(file, %expires_at, days, "the certificate for MCP clients expires within a week; renew it now, it is taken without a restart");
            }
            Self::Ends(days) => {
                tracing::warn!(file, %expires_at, days, "the certificate for MCP clients expires within a month; see that it gets renewed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_notices() {
        const HOUR: i64 = DAY_MICROS / 24;
        let validity =
            Validity { not_before: Timestamp::from_micros(0), not_after: Timestamp::from_micros(90 * DAY_MICROS) };
        // (time to the end, whole days, notice)
        let cases = [
            (31 * DAY_MICROS, 31, None),
            (30 * DAY_MICROS, 30, None),
            (30 * DAY_MICROS - 1, 29, Some(Notice::Ends(29))),
            (7 * DAY_MICROS - 1, 6, Some(Notice::Ends(6))),
            (HOUR, 0, Some(Notice::Ends(0))),
            (0, 0, Some(Notice::Ends(0))),
            (-1, -1, Some(Notice::Ended(1))),
            (-25 * HOUR, -2, Some(Notice::Ended(2))),
            (91 * DAY_MICROS, 91, Some(Notice::NotYetValid)),
        ];
        for (left, days, notice) in cases {
            let now = Timestamp::from_micros(90 * DAY_MICROS - left);
            assert_eq!((validity.days_left(now), validity.notice(now)), (days, notice), "{left}");
        }
    }
}
