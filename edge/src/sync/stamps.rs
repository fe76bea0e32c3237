//! When this edge asked, by its own clock. `session` notes each stamp that it
//! sends and looks up the one that a heartbeat echoes. Invariant: nothing but
//! what was sent on this very stream counts, so that an echo cannot make the
//! state younger than a question that the control plane has read.

use std::{collections::VecDeque, time::Duration};

/// Stamps that may be without an echo; they are sent once a second, and a
/// stream that is silent for a few seconds ends.
const MAX_OUTSTANDING: usize = 64;

/// The stamps of one stream, oldest first.
#[derive(Debug, Default)]
pub(super) struct Stamps(VecDeque<u64>);

/// As the wire has it. Zero is no stamp; no clock reads it by the time that a
/// stream is open.
pub(super) fn to_wire(now: Duration) -> u64 {
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(1)
}

impl Stamps {
    /// One was sent.
    pub(super) fn sent(&mut self, stamp: u64) {
        if self.0.len() == MAX_OUTSTANDING {
            self.0.pop_front();
        }
        self.0.push_back(stamp);
    }

    /// When the echoed stamp was sent; `None` for anything else. Older ones
    /// count no more.
    pub(super) fn echoed(&mut self, echo: u64) -> Option<Duration> {
        let at = self.0.iter().position(|sent| *sent == echo)?;
        // It stays itself: heartbeats repeat the newest that came.
        self.0.drain(..at);
        Some(Duration::from_nanos(echo))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_counts_and_only_forwards() {
        let mut stamps = Stamps::default();
        assert_eq!(stamps.echoed(0), None);
        for stamp in [5, 7, 9] {
            stamps.sent(stamp);
        }
        assert_eq!(stamps.echoed(6), None, "never sent");
        assert_eq!(stamps.echoed(7), Some(Duration::from_nanos(7)));
        assert_eq!(stamps.echoed(5), None, "older than one that has come back");
        assert_eq!(stamps.echoed(7), Some(Duration::from_nanos(7)), "repeated while nothing newer has arrived");
        assert_eq!(stamps.echoed(9), Some(Duration::from_nanos(9)));
        assert_eq!(stamps.echoed(u64::MAX), None, "the future");
    }

    #[test]
    fn what_never_comes_back_is_bounded() {
        let mut stamps = Stamps::default();
        (1..=1_000).for_each(|stamp| stamps.sent(stamp));
        assert_eq!(stamps.0.len(), MAX_OUTSTANDING);
        assert_eq!(stamps.echoed(1), None);
        assert!(stamps.echoed(1_000).is_some());
    }
}
