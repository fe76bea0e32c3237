//! Whether a revision holds everywhere: for each edge whether it has
//! acknowledged it, and by when it refuses calls if it has not. Services ask.
//! Invariant: an edge counts as done only when it decides by the revision or
//! cannot admit a call by an older one.

use std::time::Duration;

use nla_domain::{
    id::{EdgeId, Revision},
    snapshot::MAX_STALENESS,
    token::Staleness,
};
use nla_proto::{
    convert,
    v1::{self, edge_receipt::State as Reached},
};
use tokio::time::{Instant, sleep_until};

use super::{SyncContext, known::Known, registry::lock};
use crate::store::{EdgeRecord, State, Stored};

/// An edge looks each second for what has ended by the clock alone, and needs
/// a moment to cut it.
const CUT_MARGIN: Duration = Duration::from_secs(2);
/// Two clocks that are each disciplined by at most 500 parts in a million
/// differ by a thousandth.
const RATE_MARGIN: u32 = 1_000;

/// Changes that come within this time are looked at together.
const COALESCE: Duration = Duration::from_millis(20);

/// One edge's answer, and the moment at which it changes by time alone.
struct Look {
    receipt: v1::EdgeReceipt,
    fence: Option<Instant>,
}

impl SyncContext {
    /// What the edges have made of a committed revision, as soon as it is
    /// complete and at the deadline at the latest. `class` says whose bound
    /// counts for an edge that is out of reach.
    pub(crate) async fn receipt(&self, revision: Revision, class: Staleness, deadline: Instant) -> v1::Receipt {
        let mut progress = self.registry.progress();
        loop {
            progress.mark_unchanged();
            let now = Instant::now();
            let state = self.publisher.state();
            let looks: Vec<Look> =
                state.edges.values().filter_map(|edge| self.look(&state, edge, revision, class, now)).collect();
            // Edges that a restored store does not know are not in the list.
            let unknown_until = self.unknown_until(&state, class).filter(|until| *until > now);
            let complete = unknown_until.is_none() && looks.iter().all(|look| look.receipt.state() != Reached::Pending);
            // When this process stops, an answer now is better than none.
            if complete || now >= deadline || self.shutdown.is_cancelled() {
                let edges = looks.into_iter().map(|look| look.receipt).collect();
                return v1::Receipt { revision: revision.0, complete, edges };
            }
            let pending = looks.iter().filter(|look| look.receipt.state() == Reached::Pending);
            let fences = pending.filter_map(|look| look.fence).chain(unknown_until).filter(|fence| *fence > now);
            let next = fences.min().map_or(deadline, |fence| fence.min(deadline));
            tokio::select! {
                // The sender lives in the registry.
                Ok(()) = progress.changed() => tokio::time::sleep(COALESCE).await,
                () = sleep_until(next) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// When an edge refuses calls of every class, if it hears nothing from now
    /// on; `None` when it never had a state.
    pub(crate) fn fenced_at(&self, edge: &Stored<EdgeRecord>) -> Option<prost_types::Timestamp> {
        let state = self.publisher.state();
        let known = self.registry.known(&edge.value.id);
        let known = lock(&known);
        let bound = |held| self.bound(&state, &known, Staleness::Standard, held);
        let any = Revision(u64::MAX);
        let fence = known.fence(any, &bound).max(known.fence_of_others(any, &bound))?;
        Some(self.wall(fence, Instant::now()))
    }

    /// When an edge was last heard by this process.
    pub(crate) fn last_heard_at(&self, edge: &EdgeId) -> Option<prost_types::Timestamp> {
        let heard = lock(&self.registry.known(edge)).last_heard()?;
        Some(self.wall(heard, Instant::now()))
    }

    fn look(
        &self,
        state: &State,
        edge: &Stored<EdgeRecord>,
        revision: Revision,
        class: Staleness,
        now: Instant,
    ) -> Option<Look> {
        let id = &edge.value.id;
        // Before the leases: a session that begins after this look sends the
        // revision or a later one first, and one that is seen here to have sent
        // it confirms nothing older.
        let connected = self.registry.get(id);
        let may_confirm = connected.as_ref().map(|edge| edge.told()).filter(|told| *told < revision);
        let known = self.registry.known(id);
        let known = lock(&known);
        let bound = |held| self.bound(state, &known, class, held);
        let refuses = known.refuses(revision);
        // What it has acknowledged it decides by, but for what it refused.
        let ack = known.ack_of(revision).filter(|_| !refuses);
        let below = if refuses { Revision(u64::MAX) } else { revision };
        let confirmed = match may_confirm {
            Some(told) => Some(now + bound(told)),
            None if refuses && connected.is_some() => Some(now + bound(Revision(0))),
            None => known.fence(below, &bound),
        };
        let own = confirmed.filter(|_| ack.is_none());
        let fence = own.max(known.fence_of_others(revision, &bound));
        let pending = fence.is_some_and(|fence| now < fence);
        if let Some(ban) = &edge.value.revoked
            // A banned edge acknowledges nothing any more. It is named for as
            // long as it may answer calls by what it held; no heartbeat has
            // confirmed that since the ban, this process's or an earlier one's.
            && (!pending || self.registry.began.long_after(ban.at))
        {
            return None;
        }
        let reached = match (&ack, pending) {
            (_, true) => Reached::Pending,
            (Some(_), false) => Reached::Applied,
            (None, false) => Reached::Fenced,
        };
        let committed = self.publisher.committed_at(revision);
        let after = ack.and_then(|ack| Some(ack.first?.saturating_duration_since(committed?)));
        let receipt = v1::EdgeReceipt {
            edge_id: id.to_string(),
            state: reached.into(),
            after: after.map(convert::duration),
            calls_cut: ack.map_or(0, |ack| ack.calls_cut),
            fenced_at: fence.filter(|_| pending || ack.is_none()).map(|fence| self.wall(fence, now)),
            connected: connected.is_some(),
            revoked: edge.value.revoked.is_some(),
        };
        Some(Look { receipt, fence })
    }

    /// A moment by the calendar.
    fn wall(&self, at: Instant, now: Instant) -> prost_types::Timestamp {
        let wall = self.clock.now();
        let ahead = at.saturating_duration_since(now);
        let behind = i64::try_from(now.saturating_duration_since(at).as_micros()).unwrap_or(i64::MAX);
        let past = nla_domain::clock::Timestamp::from_micros(wall.as_micros().saturating_sub(behind));
        convert::timestamp(past.plus(ahead))
    }

    /// From the receipt of a stamp that was echoed with the revision `held` to
    /// the end of the last call: the bound that the edge goes by then, and the
    /// margins.
    fn bound(&self, state: &State, known: &Known, class: Staleness, held: Revision) -> Duration {
        let settings = &state.settings;
        let began = &self.registry.began;
        // An edge that may still hold older settings goes by their bounds,
        // which are not remembered.
        let never_changed = settings.meta.created_at == settings.meta.updated_at;
        let old = (never_changed || began.long_after(settings.meta.updated_at)) && !began.restored;
        let certain = (old || held >= settings.meta.revision) && !known.refused_settings(settings.meta.revision);
        with_margins(if certain { current_bound(state, class) } else { MAX_STALENESS })
    }

    /// Until when edges that the store does not know may answer calls, because
    /// it was restored from a backup that is older than they are.
    fn unknown_until(&self, state: &State, class: Staleness) -> Option<Instant> {
        let began = &self.registry.began;
        began.restored.then(|| began.at + with_margins(current_bound(state, class)))
    }
}

fn current_bound(state: &State, class: Staleness) -> Duration {
    let settings = &state.settings.value;
    match class {
        Staleness::Strict => settings.strict_staleness,
        Staleness::Standard => settings.strict_staleness.max(settings.standard_staleness),
    }
}

fn with_margins(bound: Duration) -> Duration {
    bound + bound / RATE_MARGIN + CUT_MARGIN
}
