//! The requests that run, by token. `caller` registers, `keeper` cancels those
//! whose token has ended and waits for their end, `call` listens.
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
    /// those that run. A request that registers later finds the state by which
    /// `stands` has judged, or a newer one.
    pub(super) fn cancel_unless(&self, mut stands: impl FnMut(TokenId) -> bool) -> Cancelled {
        let mut cancelled = Cancelled::default();
        for (token, requests) in &self.table().by_token {
            if !stands(*token) {
                requests.values().for_each(CancellationToken::cancel);
                cancelled.tokens.push(*token);
                cancelled.requests.extend(requests.keys().map(|number| (*token, *number)));
            }
        }
        cancelled
    }

    /// Waits until none of these requests runs any more.
    pub(super) async fn ended(&self, cancelled: &Cancelled) {
        let mut count = self.count.subscribe();
        let runs = || {
            let table = self.table();
            let runs = |(token, number): &(TokenId, u64)| {
                table.by_token.get(token).is_some_and(|requests| requests.contains_key(number))
            };
            cancelled.requests.iter().any(runs)
        };
        while runs() {
            // The sender lives in self. A change after the look is not lost:
            // the receiver is older than the look.
            let _ = count.changed().await;
        }
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

/// Requests that were told to end.
#[derive(Debug, Default)]
pub(super) struct Cancelled {
    /// Whose they are.
    pub(super) tokens: Vec<TokenId>,
    /// Each by its token and number.
    pub(super) requests: Vec<(TokenId, u64)>,
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
        let cancelled = running.cancel_unless(|token| token == b);
        assert_eq!((cancelled.tokens.as_slice(), cancelled.requests.len()), ([a].as_slice(), 2));
        assert!(first.ended.is_cancelled() && second.ended.is_cancelled() && !other.ended.is_cancelled());
        assert_eq!(running.count(), 3);
        drop(first);
        // Another one of the same token that comes later does not count.
        let later = running.register(a);
        let waiting = {
            let running = Arc::clone(&running);
            tokio::spawn(async move { running.ended(&cancelled).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "the second one still runs");
        drop(second);
        waiting.await.unwrap();
        drop((later, other));
        running.none().await;
        assert!(running.table().by_token.is_empty());
    }
}
