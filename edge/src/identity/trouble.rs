//! What keeps the edge's identity from being of use, for `/readyz` and the log.
//! `obtain` and `renew` write it; readiness reads it. Invariant: it is there
//! exactly while only an operator can help.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use nla_domain::error::with_causes;
use tokio::time::Instant;

use super::IdentityError;

/// One that stays the same is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(600);

/// The text, while there is trouble. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Trouble(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    text: ArcSwapOption<String>,
    logged_at: Mutex<Option<Instant>>,
}

impl Trouble {
    /// What is wrong and what to do, with causes; `None` without trouble.
    pub fn text(&self) -> Option<Arc<String>> {
        self.0.text.load_full()
    }

    /// There is trouble from now on.
    pub(crate) fn say(&self, error: &IdentityError) {
        let mut text = with_causes(error);
        // That there is no other token says less than what was wrong with the last one.
        if let (Some(known), IdentityError::NoToken | IdentityError::Expired { .. }) = (self.text(), error) {
            text.clone_from(&known);
        }
        let known = self.text().is_some_and(|known| *known == text);
        let mut logged_at = self.0.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if !known || logged_at.is_none_or(|at| at.elapsed() > LOG_EVERY) {
            tracing::error!(trouble = text, "this edge is not ready and waits for a new join token");
            *logged_at = Some(Instant::now());
        }
        drop(logged_at);
        self.0.text.store(Some(Arc::new(text)));
    }

    /// There is none any more.
    pub(crate) fn end(&self) {
        self.0.text.store(None);
    }
}
