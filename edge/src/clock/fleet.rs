//! Wall time as the whole fleet sees it, for expiry. `sync` sets it by each
//! heartbeat; the pipeline decides by it. Invariant: it is never behind the
//! control plane's, so that a token ends on time on an edge whose clock is slow;
//! on one whose clock is fast it ends early.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use nla_domain::clock::{Timestamp, WallClock};

use super::MonotonicClock;

/// Clocks that are set by NTP differ by milliseconds. A heartbeat may have been
/// on its way for a while, which makes the own clock look fast by as much.
const TOLERATED: Duration = Duration::from_secs(5);
/// A heartbeat that names an earlier time by less than this may have been read
/// late: the stream would have ended for silence, but not before. A step back
/// by more is a correction of the control plane's clock.
const LATE: Duration = Duration::from_secs(60);
/// Not heard yet.
const UNKNOWN: i64 = i64::MIN;

/// The later of this machine's time and the control plane's. Clones share it.
#[derive(Debug, Clone)]
pub struct FleetClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    own: Arc<dyn WallClock>,
    ticks: Arc<dyn MonotonicClock>,
    /// The control plane's time when `ticks` began, in microseconds. Counted on
    /// from there by a clock that nobody sets.
    begin: AtomicI64,
    /// How far the own time was ahead at the last heartbeat, in milliseconds.
    lead: AtomicI64,
    /// Whether the log has said that they differ.
    told: AtomicBool,
}

impl FleetClock {
    /// This machine's time until the control plane's is known.
    pub fn new(own: Arc<dyn WallClock>, ticks: Arc<dyn MonotonicClock>) -> Self {
        Self(Arc::new(Inner {
            own,
            ticks,
            begin: AtomicI64::new(UNKNOWN),
            lead: AtomicI64::new(UNKNOWN),
            told: AtomicBool::new(false),
        }))
    }

    /// It is `at` by the control plane's clock.
    pub fn heard(&self, at: Timestamp) {
        let inner = &*self.0;
        let own = inner.own.now();
        let begin = at.as_micros().saturating_sub(inner.elapsed_micros()).max(UNKNOWN + 1);
        let before = inner.begin.load(Ordering::Acquire);
        let back = before.saturating_sub(begin);
        if before == UNKNOWN || back < 0 || u128::from(back.unsigned_abs()) >= LATE.as_micros() {
            inner.begin.store(begin, Ordering::Release);
        }
        let lead = own.as_micros().saturating_sub(at.as_micros()) / 1_000;
        inner.lead.store(lead, Ordering::Release);
        let differs = u128::from(lead.unsigned_abs()) > TOLERATED.as_millis();
        if inner.told.swap(differs, Ordering::AcqRel) != differs {
            if differs {
                tracing::warn!(
                    lead_ms = lead, own = %own, control_plane = %at,
                    "this machine's clock and the control plane's differ; tokens end by whichever is later: set the clocks by NTP"
                );
            } else {
                tracing::info!(lead_ms = lead, "this machine's clock agrees with the control plane's again");
            }
        }
    }

    /// How far this machine's clock is ahead of the control plane's, in
    /// milliseconds, by the last heartbeat; negative when it is behind. `None`
    /// before the first one.
    pub fn lead_millis(&self) -> Option<i64> {
        Some(self.0.lead.load(Ordering::Acquire)).filter(|lead| *lead != UNKNOWN)
    }
}

impl Inner {
    fn elapsed_micros(&self) -> i64 {
        i64::try_from(self.ticks.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

impl WallClock for FleetClock {
    fn now(&self) -> Timestamp {
        let own = self.0.own.now();
        match self.0.begin.load(Ordering::Acquire) {
            UNKNOWN => own,
            begin => own.max(Timestamp::from_micros(begin.saturating_add(self.0.elapsed_micros()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use nla_domain::clock::FixedClock;

    use super::*;
    use crate::clock::TokioClock;

    const HOUR: i64 = 3_600_000_000;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[tokio::test(start_paused = true)]
    async fn the_later_clock_counts_and_goes_on() {
        for (own, theirs, expected, lead) in [
            (HOUR, HOUR, HOUR, 0),
            // Slow by 10 minutes: the control plane's time counts.
            (HOUR, HOUR + 600_000_000, HOUR + 600_000_000, -600_000),
            // Fast: the own one does, and tokens end early.
            (HOUR + 600_000_000, HOUR, HOUR + 600_000_000, 600_000),
        ] {
            let machine = Arc::new(FixedClock::at(at(own)));
            let clock = FleetClock::new(machine.clone(), Arc::new(TokioClock::start()));
            assert_eq!((clock.now(), clock.lead_millis()), (at(own), None), "before the first heartbeat");
            tokio::time::advance(Duration::from_secs(30)).await;
            clock.heard(at(theirs));
            assert_eq!((clock.now(), clock.lead_millis()), (at(expected), Some(lead)));
            // Cut off, and the machine's clock stands still or is set back: time goes on.
            tokio::time::advance(Duration::from_secs(3_600)).await;
            assert_eq!(clock.now(), at(expected.max(theirs + HOUR)));
            machine.advance(Duration::from_secs(7_200));
            assert_eq!(clock.now(), at((own + 2 * HOUR).max(theirs + HOUR)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_that_is_read_late_sets_no_time_back() {
        let clock = FleetClock::new(Arc::new(FixedClock::at(at(HOUR))), Arc::new(TokioClock::start()));
        clock.heard(at(2 * HOUR));
        tokio::time::advance(Duration::from_secs(59)).await;
        clock.heard(at(2 * HOUR));
        assert_eq!(clock.now(), at(2 * HOUR + 59_000_000));
        tokio::time::advance(Duration::from_secs(1)).await;
        clock.heard(at(2 * HOUR + 61_000_000));
        assert_eq!(clock.now(), at(2 * HOUR + 61_000_000), "forwards at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_correction_of_the_control_plane_is_followed_and_no_time_breaks_it() {
        let clock = FleetClock::new(Arc::new(FixedClock::at(at(HOUR))), Arc::new(TokioClock::start()));
        clock.heard(at(9 * HOUR));
        assert_eq!(clock.now(), at(9 * HOUR));
        clock.heard(at(2 * HOUR));
        assert_eq!(clock.now(), at(2 * HOUR), "it was wrong, and is right now");
        for extreme in [i64::MIN, i64::MAX, 0, -1] {
            clock.heard(at(extreme));
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(clock.now() >= at(HOUR), "{extreme}");
        }
    }
}
