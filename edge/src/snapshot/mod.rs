//! The state that this edge decides by, and its age. `sync` publishes; the
//! pipeline loads it once per request; the listener's `/readyz` shows its
//! standing. Invariants: readers see whole revisions only, and nothing at all
//! before the first one and after a ban; the age counts from the moment at
//! which this edge asked, never from the moment at which it read the answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use nla_domain::{id::Revision, snapshot::Snapshot};
use tokio::sync::watch;

use crate::clock::MonotonicClock;

/// What the control plane lets this edge do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Standing {
    /// It follows the stream.
    #[default]
    Follows,
    /// Asked to be taken out of the balancer: not ready, and answering still.
    Draining(String),
    /// Refuses every call and holds nothing that one could use.
    Quarantined(String),
    /// Banned until the process is restarted.
    Banned(String),
}

/// The current snapshot and when it was last confirmed. Clones share it.
#[derive(Debug, Clone)]
pub struct SnapshotHolder(Arc<Held>);

#[derive(Debug)]
struct Held {
    current: ArcSwapOption<Snapshot>,
    standing: ArcSwap<Standing>,
    /// Why the edge is in quarantine; beside `standing`, because a drain may
    /// begin and end meanwhile.
    quarantine: ArcSwapOption<String>,
    /// Nanoseconds on `clock`; `NEVER` before the first confirmation.
    confirmed_at: AtomicU64,
    clock: Arc<dyn MonotonicClock>,
    revision: watch::Sender<Revision>,
}

const NEVER: u64 = u64::MAX;

impl SnapshotHolder {
    /// Holds nothing yet.
    pub fn new(clock: Arc<dyn MonotonicClock>) -> Self {
        Self(Arc::new(Held {
            current: ArcSwapOption::empty(),
            standing: ArcSwap::default(),
            quarantine: ArcSwapOption::empty(),
            confirmed_at: AtomicU64::new(NEVER),
            clock,
            revision: watch::Sender::new(Revision::default()),
        }))
    }

    /// The state to decide by; `None` until the first snapshot and after a ban.
    pub fn current(&self) -> Option<Arc<Snapshot>> {
        self.0.current.load_full()
    }

    /// Time since this edge last asked whether its state is the current one and
    /// was told so, on a clock that counts suspend; `Duration::MAX` when it
    /// never was.
    pub fn age(&self) -> Duration {
        match self.0.confirmed_at.load(Ordering::Acquire) {
            NEVER => Duration::MAX,
            at => self.0.clock.elapsed().saturating_sub(Duration::from_nanos(at)),
        }
    }

    /// Wakes after each change of the state, a ban included. The value is the
    /// new revision; load [`Self::current`] for the state.
    pub fn subscribe(&self) -> watch::Receiver<Revision> {
        self.0.revision.subscribe()
    }

    /// Whether the control plane lets this edge serve.
    pub fn standing(&self) -> Arc<Standing> {
        let standing = self.0.standing.load_full();
        match self.0.quarantine.load().as_deref() {
            Some(reason) if !matches!(*standing, Standing::Banned(_)) => {
                Arc::new(Standing::Quarantined(reason.clone()))
            }
            _ => standing,
        }
    }

    /// Replaces the state. It does not get younger by that: what was just read
    /// may have been sent long ago. Has no effect after a ban.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        if self.is_banned() {
            return;
        }
        let revision = snapshot.revision;
        self.0.current.store(Some(snapshot));
        self.0.revision.send_replace(revision);
    }

    /// The time by which the age is counted, to be asked with.
    pub fn now(&self) -> Duration {
        self.0.clock.elapsed()
    }

    /// The control plane has confirmed the held state, in answer to what this
    /// edge asked at `asked` on its own clock ([`Self::now`]). A time in the
    /// future confirms nothing, and an earlier one than before takes nothing back.
    pub fn confirm(&self, asked: Duration) {
        if self.is_banned() || asked > self.now() {
            return;
        }
        let asked = u64::try_from(asked.as_nanos()).unwrap_or(NEVER - 1);
        let newer = |held| (held == NEVER || held < asked).then_some(asked);
        // An error means that a later time is held already.
        let _ = self.0.confirmed_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, newer);
    }

    /// Not ready from now on, for that reason; `None` ends that.
    pub fn set_draining(&self, reason: Option<String>) {
        if !self.is_banned() {
            self.0.standing.store(Arc::new(reason.map_or(Standing::Follows, Standing::Draining)));
        }
    }

    /// Forgets everything and refuses every call, for that reason, also with the
    /// states that come; `None` ends that.
    pub fn set_quarantine(&self, reason: Option<String>) {
        let Some(reason) = reason else { return self.0.quarantine.store(None) };
        let began = self.0.quarantine.swap(Some(Arc::new(reason))).is_none();
        if began && !self.is_banned() {
            self.forget();
        }
    }

    fn forget(&self) {
        self.0.current.store(None);
        self.0.confirmed_at.store(NEVER, Ordering::Release);
        self.0.revision.send_replace(Revision::default());
    }

    /// Forgets everything, for as long as the process lives.
    pub fn ban(&self, reason: String) {
        self.0.standing.store(Arc::new(Standing::Banned(reason)));
        self.forget();
    }

    /// True after [`Self::ban`].
    pub fn is_banned(&self) -> bool {
        matches!(**self.0.standing.load(), Standing::Banned(_))
    }
}

#[cfg(test)]
mod tests {
    use nla_domain::{id::Epoch, pepper::Peppers, secret::Key32, snapshot::Settings};

    use super::*;
    use crate::clock::TokioClock;

    fn snapshot(revision: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            epoch: Epoch([1; 16]),
            revision: Revision(revision),
            settings: Arc::new(Settings::new(Peppers::first(Key32::new([1; 32])))),
            databases: Default::default(),
            credentials: Default::default(),
            roles: Default::default(),
            tokens: Default::default(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn age_counts_from_the_question_and_not_from_the_answer() {
        let holder = SnapshotHolder::new(Arc::new(TokioClock::start()));
        assert!(holder.current().is_none());
        holder.publish(snapshot(1));
        assert_eq!(holder.age(), Duration::MAX, "a state alone is no confirmation");
        let asked = holder.now();
        tokio::time::advance(Duration::from_secs(9)).await;
        holder.confirm(asked);
        assert_eq!(holder.age(), Duration::from_secs(9));
        holder.confirm(holder.now());
        assert_eq!(holder.age(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(2)).await;
        holder.confirm(asked);
        holder.confirm(holder.now() + Duration::from_secs(1));
        holder.publish(snapshot(2));
        assert_eq!(holder.age(), Duration::from_secs(2), "neither the past, nor the future, nor a state");
    }

    #[tokio::test]
    async fn a_ban_wakes_readers_forgets_and_stays() {
        let holder = SnapshotHolder::new(Arc::new(TokioClock::start()));
        let mut changes = holder.subscribe();
        let held = snapshot(7);
        let memory = Arc::downgrade(&held);
        holder.publish(held);
        changes.changed().await.unwrap();
        assert_eq!(*changes.borrow_and_update(), Revision(7));
        holder.ban("stolen".into());
        assert!(memory.upgrade().is_none(), "secrets are overwritten when the last holder lets go");
        changes.changed().await.unwrap();
        holder.set_quarantine(Some("odd".into()));
        holder.publish(snapshot(8));
        holder.set_draining(None);
        assert!(holder.current().is_none());
        assert_eq!(holder.age(), Duration::MAX);
        assert_eq!(*holder.standing(), Standing::Banned("stolen".into()));
    }

    #[tokio::test]
    async fn quarantine_forgets_at_once_and_outlives_states_and_drains() {
        let holder = SnapshotHolder::new(Arc::new(TokioClock::start()));
        let held = snapshot(7);
        let memory = Arc::downgrade(&held);
        holder.publish(held);
        let mut changes = holder.subscribe();
        holder.set_quarantine(Some("odd".into()));
        assert!(changes.has_changed().unwrap(), "what runs is to be cut");
        changes.mark_unchanged();
        assert!(memory.upgrade().is_none() && holder.current().is_none());
        assert_eq!(holder.age(), Duration::MAX);
        holder.publish(snapshot(8));
        for draining in [Some("upgrade".to_owned()), None] {
            holder.set_draining(draining);
            assert_eq!(*holder.standing(), Standing::Quarantined("odd".into()));
        }
        holder.set_quarantine(Some("odder".into()));
        assert_eq!(*holder.standing(), Standing::Quarantined("odder".into()));
        assert!(holder.current().is_some(), "another reason is no new quarantine");
        holder.set_quarantine(None);
        assert_eq!(*holder.standing(), Standing::Follows);
    }
}
