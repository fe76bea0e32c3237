//! Follows the snapshot and the clock: what is no longer allowed is cut, what is
//! idle is closed, what is known of databases is kept fresh. Started by [`super::Pipeline::new`], ends with it.
//! Invariant: idempotent and without input; it looks at the whole state each time.

use std::{sync::Weak, time::Duration};

use nla_domain::{id::Revision, policy};
use tokio::{sync::watch, time};

use super::Pipeline;

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
    fn cut_ended(&self) {
        let snapshot = self.snapshots.current();
        let (now, age) = (self.config.clock.now(), self.snapshots.age());
        let ended = self.running.cancel_unless(|token| {
            snapshot.as_ref().is_some_and(|snapshot| {
                snapshot.tokens.get(&token).is_some_and(|token| policy::still_valid(snapshot, token, now, age).is_ok())
            })
        });
        for token in ended {
            self.pools.close_token(token);
        }
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
