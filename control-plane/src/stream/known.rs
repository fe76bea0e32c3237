//! What is known of one edge beyond its streams: when it was last heard, how
//! long it may go on by which revision, what it has acknowledged and refused.
//! Sessions write, receipts read. It outlives the connection and ends with the
//! process.
//!
//! An edge counts the age of its state from the stamp that a heartbeat echoes.
//! It took the stamp before the control plane received it, so from the moment
//! of receipt on at most the staleness bound goes by until the edge refuses.
//! That holds whether or not the heartbeat arrived, was read late, or the edge
//! was stopped meanwhile. Invariant: an echo is noted before it is sent.
//!
//! Several processes may have used an edge's name: one that was started anew,
//! or a copy. What one of them acknowledges says nothing of the others, so the
//! echoes of each boot that came before the present one go on counting.
//!
//! Moments are of a clock that stands still while this machine is suspended,
//! which makes an edge look unfenced for longer than it is, never for less.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use nla_domain::{id::Revision, snapshot::ItemKind};
use nla_proto::{convert, v1};
use tokio::time::Instant;

/// Revisions under which echoes are told apart. Older ones are put together.
const MAX_LEASES: usize = 64;
/// Acknowledgements that are remembered.
const MAX_ACKS: usize = 256;
/// Refused items that are kept per edge; more of them say nothing new.
pub(super) const MAX_REFUSED_ITEMS: usize = 100;

/// Under each revision: when the newest stamp was received that was echoed with
/// it. Revisions grow.
#[derive(Debug, Default)]
struct Leases(VecDeque<(Revision, Instant)>);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    last_heard: Option<Instant>,
    /// Of the process that came last; `None` before the first one came.
    boot: Option<String>,
    /// Of that process.
    leases: Leases,
    /// Of all that came before it.
    others: Leases,
    /// Of the present process, oldest first; revisions grow.
    acks: VecDeque<Acknowledged>,
    /// Items that it could not use.
    refused: BTreeMap<(i32, String), v1::Nack>,
    /// The newest revision whose settings were refused by any of the processes.
    settings_refused: Option<Revision>,
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

impl Leases {
    fn note(&mut self, revision: Revision, received: Instant) {
        // A session that was replaced may be a moment late with an older one.
        let at = self.0.partition_point(|(known, _)| *known < revision);
        match self.0.get_mut(at) {
            Some((known, until)) if *known == revision => *until = received.max(*until),
            _ => self.0.insert(at, (revision, received)),
        }
        if self.0.len() > MAX_LEASES
            && let Some((oldest, until)) = self.0.pop_front()
            && let Some(next) = self.0.front_mut()
        {
            // Under the lower revision until the later moment: never too short.
            *next = (oldest, until.max(next.1));
        }
    }

    /// When the last of those below a revision ends, which each lasts for as
    /// long as `bound` says.
    fn end(&self, below: Revision, bound: &impl Fn(Revision) -> Duration) -> Option<Instant> {
        self.0.iter().filter(|(known, _)| *known < below).map(|(known, received)| *received + bound(*known)).max()
    }
}

impl Known {
    /// An edge that was enrolled before this process began: it may have heard
    /// from the one before until then, under any revision.
    pub(super) fn before(started: Instant) -> Self {
        Self { leases: Leases(VecDeque::from([(Revision(0), started)])), ..Self::default() }
    }

    /// A process of this name has come. What the one before it was told goes on
    /// counting. The first one of all is taken for the one that an earlier
    /// process of the control plane has served.
    pub(super) fn enter(&mut self, boot: &str) {
        if self.boot.as_deref() == Some(boot) {
            return;
        }
        if self.boot.replace(boot.to_owned()).is_some() {
            for (revision, received) in std::mem::take(&mut self.leases.0) {
                self.others.note(revision, received);
            }
            self.acks.clear();
        }
    }

    /// The edge has said something.
    pub(super) fn heard(&mut self, now: Instant) {
        self.last_heard = Some(now);
    }

    pub(super) fn last_heard(&self) -> Option<Instant> {
        self.last_heard
    }

    /// A stamp of the process `boot` that was received at `received` is about
    /// to be echoed with `revision`.
    pub(super) fn echo(&mut self, boot: &str, revision: Revision, received: Instant) {
        if self.boot.as_deref() == Some(boot) {
            self.leases.note(revision.max(self.acknowledged()), received);
        } else {
            self.others.note(revision, received);
        }
    }

    /// When the process that came last cannot decide by an older revision than
    /// this one any more, whatever it has acknowledged since; `None` when it
    /// cannot since it came. `bound` says for how long an echo with a revision
    /// keeps an edge going.
    pub(super) fn fence(&self, revision: Revision, bound: &impl Fn(Revision) -> Duration) -> Option<Instant> {
        self.leases.end(revision, bound)
    }

    /// The same of all processes that came before it.
    pub(super) fn fence_of_others(&self, revision: Revision, bound: &impl Fn(Revision) -> Duration) -> Option<Instant> {
        self.others.end(revision, bound)
    }

    /// The process `boot` decides by that revision, and has cut so many calls
    /// for it. Returns whether that is new.
    pub(super) fn acknowledge(&mut self, boot: &str, revision: Revision, calls_cut: u32, at: Instant) -> bool {
        if self.boot.as_deref() != Some(boot) || self.acknowledged() >= revision {
            return false;
        }
        if self.acks.len() == MAX_ACKS {
            self.acks.pop_front();
        }
        self.acks.push_back(Acknowledged { revision, at, calls_cut });
        // It goes on for as long as before, but by this revision.
        let older = self.leases.0.partition_point(|(known, _)| *known < revision);
        if let Some(newest) = self.leases.0.drain(..older).map(|(_, received)| received).max() {
            self.leases.note(revision, newest);
        }
        true
    }

    /// The newest revision that the present process of the edge has
    /// acknowledged to this one.
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

    /// The edge cannot use an item and goes on by the one that it had.
    pub(super) fn refuse(&mut self, nack: v1::Nack) {
        let settings = nack.kind == settings_kind();
        if settings {
            self.settings_refused = self.settings_refused.max(Some(Revision(nack.revision)));
        }
        let key = (nack.kind, nack.id.clone());
        if self.refused.len() >= MAX_REFUSED_ITEMS && !self.refused.contains_key(&key) {
            // The settings say by which bound the edge goes: never left out.
            let other = self.refused.keys().rfind(|(kind, _)| *kind != settings_kind()).cloned();
            match other.filter(|_| settings) {
                Some(other) => self.refused.remove(&other),
                None => return,
            };
        }
        self.refused.insert(key, nack);
    }

    /// An item was sent anew: what the edge said of it before no longer counts.
    pub(super) fn forget_refusal(&mut self, kind: i32, id: &str) {
        if !self.refused.is_empty() {
            self.refused.remove(&(kind, id.to_owned()));
        }
    }

    pub(super) fn forget_refusals(&mut self) {
        self.refused.clear();
    }

    pub(super) fn refused(&self) -> Vec<v1::Nack> {
        self.refused.values().cloned().collect()
    }

    /// Whether the edge refused an item of this revision or a later one, so
    /// that it may decide by an older one in part.
    pub(super) fn refuses(&self, revision: Revision) -> bool {
        self.refused.values().any(|nack| nack.revision >= revision.0)
    }

    /// Whether the edge refused the settings that were made at this revision,
    /// so that it may go by other bounds.
    pub(super) fn refused_settings(&self, made: Revision) -> bool {
        self.settings_refused.is_some_and(|refused| refused >= made)
    }
}

fn settings_kind() -> i32 {
    convert::item_kind(ItemKind::Settings).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    const BOUND: Duration = Duration::from_secs(15);

    /// When the echoes end, less the bound.
    fn lease(known: &Known, below: u64) -> Option<Instant> {
        known.fence(Revision(below), &|_| BOUND).map(|end| end - BOUND)
    }

    fn entered(mut known: Known) -> Known {
        known.enter("a");
        known
    }

    #[test]
    fn what_one_process_acknowledges_says_nothing_of_another_of_its_name() {
        let start = Instant::now();
        let mut known = entered(Known::default());
        known.acknowledge("a", Revision(5), 0, start);
        known.echo("a", Revision(5), at(start, 1));
        known.enter("b");
        assert!(known.ack_of(Revision(5)).is_none(), "the other one has not said so");
        assert!(known.acknowledge("b", Revision(6), 0, at(start, 2)));
        let others = |known: &Known, below| known.fence_of_others(Revision(below), &|_| BOUND);
        assert_eq!(others(&known, 6), Some(at(start, 16)), "the first one goes on for so long");
        assert_eq!(others(&known, 5), None, "it has the fifth");
        // Its session was replaced and is a moment late.
        known.echo("a", Revision(5), at(start, 3));
        assert!(!known.acknowledge("a", Revision(9), 0, at(start, 3)));
        assert_eq!(others(&known, 6), Some(at(start, 18)));
        assert_eq!(known.acknowledged(), Revision(6));
        // It comes back: now the second one counts as another.
        known.echo("b", Revision(6), at(start, 4));
        known.enter("a");
        assert_eq!((others(&known, 7), known.acknowledged()), (Some(at(start, 19)), Revision(0)));
    }

    #[test]
    fn the_first_process_is_the_one_that_was_served_before() {
        let start = Instant::now();
        let mut known = entered(Known::before(start));
        assert_eq!(lease(&known, 1), Some(start));
        known.acknowledge("a", Revision(5), 0, at(start, 1));
        assert_eq!(known.fence_of_others(Revision(9), &|_| BOUND), None);
        assert_eq!((lease(&known, 5), lease(&known, 6)), (None, Some(start)), "by the fifth for as long as before");
    }

    #[test]
    fn refused_settings_are_never_left_out() {
        let mut known = Known::default();
        let nack = |kind: ItemKind, revision, id: usize| v1::Nack {
            revision,
            kind: convert::item_kind(kind).into(),
            id: id.to_string(),
            reason: String::new(),
        };
        (0..200).for_each(|n| known.refuse(nack(ItemKind::Token, 3, n)));
        (0..200).for_each(|n| known.refuse(nack(ItemKind::Role, 3, n)));
        assert!(!known.refused_settings(Revision(1)));
        known.refuse(nack(ItemKind::Settings, 4, 0));
        assert_eq!(known.refused().len(), MAX_REFUSED_ITEMS);
        assert!(known.refused().iter().any(|nack| nack.kind == settings_kind()));
        assert!(known.refuses(Revision(4)) && !known.refuses(Revision(5)));
        known.forget_refusals();
        assert!(
            known.refused_settings(Revision(4)) && !known.refused_settings(Revision(5)),
            "they may hold older ones"
        );
    }

    #[test]
    fn a_lease_ends_with_the_revision_that_was_sent() {
        let start = Instant::now();
        let mut known = entered(Known::before(start));
        assert_eq!(lease(&known, 1), Some(start), "the process before may have confirmed anything");
        known.echo("a", Revision(5), at(start, 10));
        known.echo("a", Revision(5), at(start, 11));
        known.echo("a", Revision(6), at(start, 20));
        assert_eq!(lease(&known, 6), Some(at(start, 11)), "a heartbeat of 6 keeps nobody at 5");
        assert_eq!(lease(&known, 7), Some(at(start, 20)));
        // A session that was replaced sends an old revision once more.
        known.echo("a", Revision(5), at(start, 21));
        assert_eq!(lease(&known, 6), Some(at(start, 21)));
        assert_eq!(lease(&known, 5), Some(start));
        assert_eq!(lease(&Known::default(), 9), None, "a new edge held nothing before");
    }

    #[test]
    fn forgetting_makes_leases_longer_and_never_shorter() {
        let start = Instant::now();
        let mut known = entered(Known::default());
        for n in 1..=200 {
            known.echo("a", Revision(n), at(start, n));
        }
        assert_eq!(known.leases.0.len(), MAX_LEASES);
        for n in 2..=200 {
            let lease = lease(&known, n).unwrap();
            assert!(lease >= at(start, n - 1), "{n}");
        }
        assert_eq!(lease(&known, 200), Some(at(start, 199)));
        assert_eq!(lease(&known, u64::MAX), Some(at(start, 200)));
    }

    #[test]
    fn the_first_acknowledgement_of_a_revision_counts() {
        let start = Instant::now();
        let mut known = entered(Known::default());
        assert!(known.ack_of(Revision(1)).is_none());
        for (revision, calls_cut) in [(3, 1), (7, 2), (7, 9), (5, 9), (9, 3)] {
            known.acknowledge("a", Revision(revision), calls_cut, at(start, revision));
        }
        assert_eq!(known.ack_of(Revision(4)), Some(Reached { first: Some(at(start, 7)), calls_cut: 2 }));
        assert_eq!(known.acknowledged(), Revision(9));
        assert!(known.ack_of(Revision(10)).is_none());
        (10..1_000).for_each(|n| assert!(known.acknowledge("a", Revision(n), 1, at(start, n))));
        assert_eq!(known.ack_of(Revision(4)), Some(Reached { first: None, calls_cut: 0 }), "applied, long ago");
    }
}
