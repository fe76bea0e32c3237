//! Follows the snapshot and the clock: what is no longer allowed is cut, what is
//! idle is closed, what is known of databases is kept fresh. Started by [`super::Pipeline::new`], ends with it.
//! `sync` asks for the same before it acknowledges a state ([`super::Pipeline::cut`]).
//! Invariant: idempotent and without input; it looks at the whole state each time.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use nla_domain::{
    clock::Timestamp,
    id::{Revision, TokenId},
    policy,
    snapshot::Snapshot,
    token::Token,
};
use tokio::{sync::watch, time};

use super::{Pipeline, running::Cancelled};
use crate::sync::CutCalls;

/// Expiry and staleness happen by the clock alone, without a change to wake us.
const PERIOD: Duration = Duration::from_secs(1);

pub(super) async fn run(pipeline: Weak<Pipeline>, mut changes: watch::Receiver<Revision>) {
    let mut ticks = time::interval(PERIOD);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut follows = true;
    loop {
        let changed = tokio::select! {
            // An error means that there will be no change any more; without the
            // guard it would be ready for ever.
            change = changes.changed(), if follows => {
                follows = change.is_ok();
                true
            }
            _ = ticks.tick() => false,
        };
        let Some(pipeline) = pipeline.upgrade() else { return };
        pipeline.cut_ended();
        if changed {
            pipeline.forget_removed();
        } else {
            // A call of the state before may have opened them again.
            pipeline.close_replaced();
            pipeline.pools.close_idle();
            pipeline.inspector.tick();
        }
    }
}

impl Pipeline {
    /// Cuts what the newest state no longer allows: calls that run, their pools
    /// and those of tokens that do nothing at the moment. When this returns, no
    /// call of an ended token is admitted any more, because a call registers
    /// before it looks at the state.
    pub fn cut(self: &Arc<Self>) -> CutCalls {
        let cancelled = self.cut_ended();
        self.forget_removed();
        let running = Arc::clone(&self.running);
        CutCalls {
            calls: u32::try_from(cancelled.requests.len()).unwrap_or(u32::MAX),
            ended: Box::pin(async move { running.ended(&cancelled).await }),
        }
    }

    /// Whether an answer to the token may leave now, whatever was so when the
    /// call began: this process may have been stopped in between.
    pub(super) fn still_stands(&self, token: TokenId) -> bool {
        let snapshot = self.snapshots.current();
        stands(snapshot.as_deref(), token, self.config.clock.now(), self.snapshots.age())
    }

    /// The state that is held now and the token in it, if that stands.
    pub(super) fn held(&self, token: TokenId) -> Option<(Arc<Snapshot>, Arc<Token>)> {
        let snapshot = self.snapshots.current()?;
        let token = Arc::clone(snapshot.tokens.get(&token)?);
        policy::still_valid(&snapshot, &token, self.config.clock.now(), self.snapshots.age()).ok()?;
        Some((snapshot, token))
    }

    fn cut_ended(&self) -> Cancelled {
        let snapshot = self.snapshots.current();
        let (now, age) = (self.config.clock.now(), self.snapshots.age());
        let cancelled = self.running.cancel_unless(|token| stands(snapshot.as_deref(), token, now, age));
        for token in &cancelled.tokens {
            self.pools.close_token(*token);
        }
        cancelled
    }

    fn close_replaced(&self) {
        let snapshot = self.snapshots.current();
        self.pools.keep_allowed(snapshot.as_deref());
        self.inspector.keep_allowed(snapshot.as_deref());
    }

    fn forget_removed(&self) {
        self.close_replaced();
        let snapshot = self.snapshots.current();
        self.limiters.keep_known(snapshot.as_deref());
    }
}

fn stands(snapshot: Option<&Snapshot>, token: TokenId, now: Timestamp, age: Duration) -> bool {
    snapshot.is_some_and(|snapshot| {
        snapshot.tokens.get(&token).is_some_and(|token| policy::still_valid(snapshot, token, now, age).is_ok())
    })
}
