//! The requests that run, by token. `caller` registers, `keeper` cancels those
//! whose token has ended, `call` listens.
//! Invariant: a registration lives exactly as long as its request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nla_domain::id::TokenId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
struct Table {
    next: u64,
    by_token: HashMap<TokenId, HashMap<u64, CancellationToken>>,
}

/// Who runs.
#[derive(Debug)]
pub(super) struct Running {
    table: Mutex<Table>,
    count: watch::Sender<u32>,
}

impl Default for Running {
    fn default() -> Self {
        let table = Table { next: 0, by_token: HashMap::new() };
        Self { table: Mutex::new(table), count: watch::Sender::new(0) }
    }
}

impl Running {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing under this lock panics half way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(self: &Arc<Self>, token: TokenId) -> Registration {
        let ended = CancellationToken::new();
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        table.by_token.entry(token).or_default().insert(number, ended.clone());
        self.count.send_modify(|count| *count += 1);
        drop(table);
        Registration { running: Arc::clone(self), token, number, ended }
    }

    /// Cancels the requests of every token that `stands` says no to, and names
    /// those tokens.
    pub(super) fn cancel_unless(&self, mut stands: impl FnMut(TokenId) -> bool) -> Vec<TokenId> {
        let mut ended = Vec::new();
        for (token, requests) in &self.table().by_token {
            if !stands(*token) {
                requests.values().for_each(CancellationToken::cancel);
                ended.push(*token);
            }
        }
        ended
    }

    pub(super) fn cancel_all(&self) {
        self.cancel_unless(|_| false);
    }

    pub(super) fn count(&self) -> u32 {
        *self.count.borrow()
    }

    /// Waits until nothing runs.
    pub(super) async fn none(&self) {
        // The sender lives in self, so the wait ends only by the count.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// One request's place in the table.
#[derive(Debug)]
pub(super) struct Registration {
    running: Arc<Running>,
    token: TokenId,
    number: u64,
    /// Fires when the token has ended.
    pub(super) ended: CancellationToken,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut table = self.running.table();
        if let Some(requests) = table.by_token.get_mut(&self.token) {
            requests.remove(&self.number);
            if requests.is_empty() {
                table.by_token.remove(&self.token);
            }
        }
        self.running.count.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_ended_token_is_cut_and_nothing_stays_behind() {
        let running = Arc::new(Running::default());
        let (a, b): (TokenId, TokenId) = ("aaaaaaaaaaaa".parse().unwrap(), "bbbbbbbbbbbb".parse().unwrap());
        let (first, second, other) = (running.register(a), running.register(a), running.register(b));
        assert_eq!(running.cancel_unless(|token| token == b), [a]);
        assert!(first.ended.is_cancelled() && second.ended.is_cancelled() && !other.ended.is_cancelled());
        assert_eq!(running.count(), 3);
        drop((first, second, other));
        running.none().await;
        assert!(running.table().by_token.is_empty());
    }
}
