//! What is known of one edge beyond its streams: when it was last heard, how
//! long it may go on by which revision, and what it has acknowledged. Sessions
//! write, receipts read. It outlives the connection and ends with the process.
//!
//! An edge counts the age of its state from the stamp that a heartbeat echoes.
//! It took the stamp before the control plane received it, so from the moment
//! of receipt on at most the staleness bound goes by until the edge refuses.
//! That holds whether or not the heartbeat arrived, was read late, or the edge
//! was stopped meanwhile. Invariant: an echo is noted before it is sent.
//!
//! Moments are of a clock that stands still while this machine is suspended,
//! which makes an edge look unfenced for longer than it is, never for less.

use std::collections::VecDeque;

use nla_domain::id::Revision;
use tokio::time::Instant;

/// Revisions under which echoes are told apart. Older ones are put together.
const MAX_LEASES: usize = 64;
/// Acknowledgements that are remembered.
const MAX_ACKS: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    last_heard: Option<Instant>,
    /// Under each revision: when the newest stamp was received that was echoed
    /// with it. Revisions grow.
    leases: VecDeque<(Revision, Instant)>,
    /// Oldest first; revisions grow.
    acks: VecDeque<Acknowledged>,
}

/// An acknowledgement as it came.
#[derive(Debug, Clone, Copy)]
struct Acknowledged {
    revision: Revision,
    at: Instant,
    calls_cut: u32,
}

/// How an edge came to have a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// When it first said so; `None` when that is forgotten.
    pub(super) first: Option<Instant>,
    /// Calls that it has cut then.
    pub(super) calls_cut: u32,
}

impl Known {
    /// An edge that was enrolled before this process began: it may have heard
    /// from the one before until then, under any revision.
    pub(super) fn before(started: Instant) -> Self {
        Self { leases: VecDeque::from([(Revision(0), started)]), ..Self::default() }
    }

    /// The edge has said something.
    pub(super) fn heard(&mut self, now: Instant) {
        self.last_heard = Some(now);
    }

    pub(super) fn last_heard(&self) -> Option<Instant> {
        self.last_heard
    }

    /// A stamp that was received at `received` is about to be echoed with
    /// `revision`.
    pub(super) fn echo(&mut self, revision: Revision, received: Instant) {
        // A session that was replaced may be a moment late with an older one.
        let at = self.leases.partition_point(|(known, _)| *known < revision);
        match self.leases.get_mut(at) {
            Some((known, until)) if *known == revision => *until = received.max(*until),
            _ => self.leases.insert(at, (revision, received)),
        }
        if self.leases.len() > MAX_LEASES
            && let Some((oldest, until)) = self.leases.pop_front()
            && let Some(next) = self.leases.front_mut()
        {
            // Under the lower revision until the later moment: never too short.
            *next = (oldest, until.max(next.1));
        }
    }

    /// The newest stamp that may let the edge go on by an older revision than
    /// this one was received then; `None` when there is none.
    pub(super) fn lease_before(&self, revision: Revision) -> Option<Instant> {
        self.leases.iter().filter(|(known, _)| *known < revision).map(|(_, received)| *received).max()
    }

    /// The same for any revision.
    pub(super) fn lease(&self) -> Option<Instant> {
        self.leases.iter().map(|(_, received)| *received).max()
    }

    /// The edge decides by that revision, and has cut so many calls for it.
    pub(super) fn acknowledge(&mut self, revision: Revision, calls_cut: u32, at: Instant) {
        if self.acknowledged() >= revision {
            return;
        }
        if self.acks.len() == MAX_ACKS {
            self.acks.pop_front();
        }
        self.acks.push_back(Acknowledged { revision, at, calls_cut });
    }

    /// The newest revision that the edge has acknowledged to this process.
    pub(super) fn acknowledged(&self) -> Revision {
        self.acks.back().map_or(Revision(0), |ack| ack.revision)
    }

    /// How the edge came to have this revision or a later one, if it has.
    pub(super) fn ack_of(&self, revision: Revision) -> Option<Reached> {
        let at = self.acks.partition_point(|ack| ack.revision < revision);
        let ack = self.acks.get(at)?;
        // Before the oldest one that is remembered there may have been others.
        let first = at > 0 || self.acks.len() < MAX_ACKS;
        Some(if first {
            Reached { first: Some(ack.at), calls_cut: ack.calls_cut }
        } else {
            Reached { first: None, calls_cut: 0 }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_ends_with_the_revision_that_was_sent() {
        let start = Instant::now();
        let mut known = Known::before(start);
        assert_eq!(known.lease_before(Revision(1)), Some(start), "the process before may have confirmed anything");
        known.echo(Revision(5), at(start, 10));
        known.echo(Revision(5), at(start, 11));
        known.echo(Revision(6), at(start, 20));
        assert_eq!(known.lease_before(Revision(6)), Some(at(start, 11)), "a heartbeat of 6 keeps nobody at 5");
        assert_eq!(known.lease_before(Revision(7)), Some(at(start, 20)));
        // A session that was replaced sends an old revision once more.
        known.echo(Revision(5), at(start, 21));
        assert_eq!(known.lease_before(Revision(6)), Some(at(start, 21)));
        assert_eq!(known.lease_before(Revision(5)), Some(start));
        assert_eq!(Known::default().lease_before(Revision(9)), None, "a new edge held nothing before");
    }

    #[test]
    fn forgetting_makes_leases_longer_and_never_shorter() {
        let start = Instant::now();
        let mut known = Known::default();
        for n in 1..=200 {
            known.echo(Revision(n), at(start, n));
        }
        assert_eq!(known.leases.len(), MAX_LEASES);
        for n in 2..=200 {
            let lease = known.lease_before(Revision(n)).unwrap();
            assert!(lease >= at(start, n - 1), "{n}");
        }
        assert_eq!(known.lease_before(Revision(200)), Some(at(start, 199)));
        assert_eq!(known.lease(), Some(at(start, 200)));
    }

    #[test]
    fn the_first_acknowledgement_of_a_revision_counts() {
        let start = Instant::now();
        let mut known = Known::default();
        assert!(known.ack_of(Revision(1)).is_none());
        for (revision, calls_cut) in [(3, 1), (7, 2), (7, 9), (5, 9), (9, 3)] {
            known.acknowledge(Revision(revision), calls_cut, at(start, revision));
        }
        assert_eq!(known.ack_of(Revision(4)), Some(Reached { first: Some(at(start, 7)), calls_cut: 2 }));
        assert_eq!(known.acknowledged(), Revision(9));
        assert!(known.ack_of(Revision(10)).is_none());
        (10..1_000).for_each(|n| known.acknowledge(Revision(n), 1, at(start, n)));
        assert_eq!(known.ack_of(Revision(4)), Some(Reached { first: None, calls_cut: 0 }), "applied, long ago");
    }
}
