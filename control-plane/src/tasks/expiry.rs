//! Tells the audit log that tokens are about to end, 30, 7 and 1 days before,
//! and that they have ended: once each, also over restarts, because what was
//! said is committed with the event. After a time without the control plane
//! only the nearest is said.
//!
//! A token that has a successor is not announced: somebody has acted already.
//! Its end is recorded all the same. Neither is one announced that was made for
//! a shorter life than the notice is long.

use std::{convert::Infallible, sync::Arc, time::Duration};

use nla_domain::{
    clock::{Timestamp, WallClock},
    id::TokenId,
};
use nla_proto::{failure::Failure, v1};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::store::{Draft, Notice, State, Store, Stored, TokenRecord};

/// As audit events name the program itself.
const ACTOR: &str = "control-plane";
/// The calendar decides, not a timer, which stands still while the machine sleeps.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Between two looks, however much changes.
const PAUSE: Duration = Duration::from_secs(1);
/// Tokens in one change: a month's end must not make one huge commit.
const MAX_AT_ONCE: usize = 200;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// From the nearest to the furthest.
const AHEAD: [(Notice, Duration, &str); 3] = [
    (Notice::Within1Day, DAY, "a day"),
    (Notice::Within7Days, Duration::from_secs(7 * DAY.as_secs()), "7 days"),
    (Notice::Within30Days, Duration::from_secs(30 * DAY.as_secs()), "30 days"),
];

/// The task.
#[derive(Debug)]
pub(crate) struct Expiry {
    store: Store,
    clock: Arc<dyn WallClock>,
}

impl Expiry {
    pub(crate) fn new(store: Store, clock: Arc<dyn WallClock>) -> Self {
        Self { store, clock }
    }

    /// Looks at each change and each minute, for ever.
    pub(crate) async fn run(self) -> Infallible {
        let mut revisions = self.store.revisions();
        loop {
            revisions.mark_unchanged();
            if let Err(failure) = self.look().await {
                tracing::warn!(%failure, "the end of tokens could not be recorded");
            }
            sleep(PAUSE).await;
            // The store's own end ends the process; until then a minute is waited.
            if let Ok(Err(_)) = timeout(LOOK_EVERY, revisions.changed()).await {
                sleep(LOOK_EVERY).await;
            }
        }
    }

    async fn look(&self) -> Result<(), Failure> {
        loop {
            let due = due(&self.store.state(), self.clock.now());
            if due.is_empty() {
                return Ok(());
            }
            let all = due.len() <= MAX_AT_ONCE;
            let some: Vec<TokenId> = due.into_iter().take(MAX_AT_ONCE).collect();
            let record_all = move |draft: &mut Draft<'_>| {
                some.into_iter().for_each(|token| record(draft, token));
                Ok(())
            };
            self.store.mutate(ACTOR, record_all).await?;
            if all {
                return Ok(());
            }
        }
    }
}

fn due(state: &State, now: Timestamp) -> Vec<TokenId> {
    let due = state.tokens.values().filter(|stored| notice(stored, now).is_some());
    due.map(|stored| stored.value.token.id).collect()
}

/// What is to be said of a token now, if anything.
fn notice(stored: &Stored<TokenRecord>, now: Timestamp) -> Option<Notice> {
    let record = &stored.value;
    let end = record.token.expires_at.filter(|_| record.revoked.is_none())?;
    let notice = if end <= now {
        Notice::Ended
    } else if record.successor.is_none() {
        let left = end.since(now);
        let life = end.since(stored.meta.created_at);
        AHEAD.iter().find(|(_, ahead, _)| left <= *ahead && life > *ahead).map(|(notice, ..)| *notice)?
    } else {
        return None;
    };
    record.noticed.is_none_or(|said| said < notice).then_some(notice)
}

/// Says it and remembers that it was said, if it still is to be said.
fn record(draft: &mut Draft<'_>, token: TokenId) {
    let Some(stored) = draft.state().tokens.get(&token).cloned() else { return };
    let Some(notice) = notice(&stored, draft.now()) else { return };
    let end = stored.value.token.expires_at.map(|end| end.to_string()).unwrap_or_default();
    let (action, reason) = match AHEAD.iter().find(|(known, ..)| *known == notice) {
        Some((_, _, span)) => ("token.expiring", format!("it ends within {span}, at {end}")),
        None => ("token.expired", format!("it has ended at {end}")),
    };
    let facts = json!({
        "owner": stored.value.token.owner,
        "purpose": stored.value.purpose,
        "labels": stored.value.labels.as_map(),
        "expires_at": end,
        "successor": stored.value.successor.map(|id| id.to_string()),
    });
    draft.event(v1::AdminEvent {
        action: action.to_owned(),
        object: format!("token/{token}"),
        outcome: v1::Outcome::Succeeded.into(),
        reason,
        after_json: facts.to_string(),
        ..Default::default()
    });
    draft.put(TokenRecord { noticed: Some(notice), ..stored.value.clone() });
}

#[cfg(test)]
mod tests;
