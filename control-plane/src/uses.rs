//! When tokens were last used, as edges report it: in memory at once, in the
//! store within a minute, so that a use costs no write. What edges say is
//! bounded: tokens that exist, times that have come.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nla_domain::{
    clock::WallClock,
    id::{EdgeId, TokenId},
};
use nla_proto::{convert, v1};
use tokio::time::{MissedTickBehavior, interval};

use crate::store::{State, Store, TokenUse};

/// What is not in the store yet is lost with the process.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// Reports of one message that are read; an edge of ours sends no more.
const MAX_REPORTS: usize = 500;
/// Tokens in one commit: others need not wait long for the writer.
const MAX_SAVED_AT_ONCE: usize = 2_000;

/// The newest uses.
#[derive(Debug)]
pub(crate) struct Uses {
    store: Store,
    clock: Arc<dyn WallClock>,
    /// What is newer than in the store, in full.
    unsaved: Mutex<HashMap<TokenId, TokenUse>>,
}

impl Uses {
    pub(crate) fn new(store: Store, clock: Arc<dyn WallClock>) -> Self {
        Self { store, clock, unsaved: Mutex::default() }
    }

    fn unsaved(&self) -> MutexGuard<'_, HashMap<TokenId, TokenUse>> {
        // Nothing under this lock panics half way.
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what an edge reports.
    pub(crate) fn report(&self, edge: &EdgeId, reports: Vec<v1::TokenUse>) {
        if reports.is_empty() {
            return;
        }
        let (state, now) = (self.store.state(), self.clock.now());
        let mut unsaved = self.unsaved();
        for report in reports.into_iter().take(MAX_REPORTS) {
            let Ok(token) = report.token_id.parse::<TokenId>() else { continue };
            if !state.tokens.contains_key(&token) {
                continue;
            }
            let at = report.last_used_at.and_then(|at| convert::from_timestamp("last_used_at", &at).ok());
            let Some(at) = at else { continue };
            let report = TokenUse {
                // A clock that is ahead must not hide what comes after it.
                at: at.min(now),
                edge: edge.clone(),
                address: report.client_address.parse::<IpAddr>().ok(),
                calls: report.calls,
            };
            let merged = match unsaved.get(&token).or_else(|| state.token_use(&token)) {
                Some(held) => held.clone().merged(report),
                None => report,
            };
            unsaved.insert(token, merged);
        }
    }

    /// The newest use of a token that is known.
    pub(crate) fn of(&self, state: &State, token: &TokenId) -> Option<TokenUse> {
        let unsaved = self.unsaved().get(token).cloned();
        unsaved.or_else(|| state.token_use(token).cloned())
    }

    /// Saves each minute, for ever.
    pub(crate) async fn save_for_ever(&self) -> Infallible {
        let mut ticks = interval(SAVE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.save().await;
        }
    }

    /// Brings the store up to date. What it cannot take is tried again with
    /// the next.
    pub(crate) async fn save(&self) {
        let uses: Vec<_> = self.unsaved().iter().map(|(token, used)| (*token, used.clone())).collect();
        for some in uses.chunks(MAX_SAVED_AT_ONCE) {
            if let Err(failure) = self.store.token_uses_put(some.to_vec()).await {
                tracing::warn!(%failure, tokens = uses.len(), "the last use of tokens could not be stored");
                return;
            }
            let mut unsaved = self.unsaved();
            for (token, saved) in some {
                // What has come in meanwhile is for the next time.
                if unsaved.get(token) == Some(saved) {
                    unsaved.remove(token);
                }
            }
        }
    }
}
