//! What is known of one database under one credential, and when to look again.
//! [`super::Inspector`] keeps the entries.
//! Invariants: at most one look is under way, and it belongs to nobody, so that
//! a caller who leaves takes it from nobody; known facts are handed out without
//! waiting and without a lock; facts older than [`MAX_AGE`] are not handed out.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::sync::{Semaphore, watch};

use super::{super::error::PgError, Inspected, connection::Connection, look::Seen};
use crate::clock::MonotonicClock;

/// Facts that could not be refreshed for so long are not used any more.
pub(super) const MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// Between two looks that callers or their errors ask for.
const LEAST_PAUSE: Duration = Duration::from_millis(250);
/// A look may take a tenth of the server's time that it is allowed.
const PAUSE_FACTOR: u32 = 10;
/// After a failure the next attempt waits as long as that took, within this.
const LONGEST_PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// A caller who asks for a new look waits this long for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(2);

type Outcome = Result<Arc<Inspected>, PgError>;

#[derive(Debug, Clone)]
struct Look {
    began: Duration,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Look {
    /// False only after a panic: whoever ends a look takes it out of the state
    /// before.
    fn is_under_way(&self) -> bool {
        self.outcome.has_changed().is_ok()
    }

    async fn wait(mut self) -> Outcome {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(PgError::Lost)),
            Err(_) => Err(PgError::Lost),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    look: Option<Look>,
    /// No look begins earlier, by the clock.
    next: Duration,
    /// Somebody has met something that the facts do not have.
    wanted: bool,
    took: Duration,
    error: Option<PgError>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) connection: Connection,
    refresh: Duration,
    clock: Arc<dyn MonotonicClock>,
    parsing: Arc<Semaphore>,
    facts: ArcSwapOption<Inspected>,
    used_ms: AtomicU64,
    state: Mutex<State>,
}

impl Entry {
    pub(super) fn new(
        connection: Connection,
        refresh: Duration,
        clock: Arc<dyn MonotonicClock>,
        parsing: Arc<Semaphore>,
    ) -> Self {
        let used_ms = AtomicU64::new(milliseconds(clock.elapsed()));
        Self { connection, refresh, clock, parsing, facts: ArcSwapOption::empty(), used_ms, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn age(&self, facts: &Inspected) -> Duration {
        self.clock.elapsed().saturating_sub(facts.at)
    }

    /// Time since somebody asked.
    pub(super) fn unused(&self) -> Duration {
        let used = Duration::from_millis(self.used_ms.load(Ordering::Relaxed));
        self.clock.elapsed().saturating_sub(used)
    }

    /// Time between two looks while somebody asks.
    fn period(&self, took: Duration) -> Duration {
        self.refresh.max(took * PAUSE_FACTOR).min(MAX_AGE / 2)
    }

    /// What is known, after the first look if there was none.
    pub(super) async fn facts(self: &Arc<Self>) -> Outcome {
        self.used_ms.store(milliseconds(self.clock.elapsed()), Ordering::Relaxed);
        let known = self.facts.load_full();
        if let Some(facts) = &known
            && self.age(facts) <= self.refresh
        {
            return Ok(Arc::clone(facts));
        }
        let (look, period, error) = {
            let mut state = self.state();
            (self.look(&mut state), self.period(state.took), state.error.clone())
        };
        match (known, look) {
            // The keeper looks in time while calls come in; it may be late by a
            // tick and the time of a look.
            (Some(facts), _) if self.age(&facts) <= period + period / 2 => Ok(facts),
            (known, look) => {
                let outcome = match look {
                    Some(look) => look.wait().await,
                    None => Err(error.unwrap_or(PgError::Lost)),
                };
                let old = || known.filter(|facts| self.age(facts) <= MAX_AGE);
                outcome.or_else(|error| old().ok_or(error))
            }
        }
    }

    /// The facts after a look that begins now or later, for a statement that
    /// names something which `judged` does not have. `None` when none succeeded
    /// in time; the next one comes as soon as it may.
    pub(super) async fn newer_than(self: &Arc<Self>, judged: &Arc<Inspected>) -> Option<Arc<Inspected>> {
        let since = self.clock.elapsed();
        loop {
            if let Some(facts) = self.facts.load_full().filter(|facts| facts.at >= since) {
                return Some(facts);
            }
            let (look, next) = {
                let mut state = self.state();
                (self.look(&mut state), state.next)
            };
            match look {
                Some(look) => {
                    let asked = look.began >= since;
                    let outcome = look.wait().await;
                    if asked || outcome.is_err() {
                        return outcome.ok();
                    }
                }
                None if next.saturating_sub(since) <= TURN_PATIENCE => {
                    tokio::time::sleep(next.saturating_sub(self.clock.elapsed())).await;
                }
                None => {
                    self.state().wanted = true;
                    // Somebody else's look may have seen it.
                    return self.facts.load_full().filter(|facts| !Arc::ptr_eq(facts, judged));
                }
            }
        }
    }

    /// PostgreSQL says that the facts are no longer true.
    pub(super) fn doubt(self: &Arc<Self>) {
        let mut state = self.state();
        state.wanted = true;
        self.look(&mut state);
    }

    /// Looks if it is time to; called every second.
    pub(super) fn tick(self: &Arc<Self>, in_use: Duration) {
        let facts = self.facts.load();
        let mut state = self.state();
        let due = facts.as_ref().is_some_and(|facts| self.age(facts) >= self.period(state.took));
        if state.wanted || (due && self.unused() <= in_use) {
            self.look(&mut state);
        }
    }

    /// The look that is under way, or a new one if it may begin.
    fn look(self: &Arc<Self>, state: &mut State) -> Option<Look> {
        if let Some(look) = state.look.as_ref().filter(|look| look.is_under_way()) {
            return Some(look.clone());
        }
        let began = self.clock.elapsed();
        if began < state.next {
            return None;
        }
        let (answer, outcome) = watch::channel(None);
        let look = Look { began, outcome };
        state.look = Some(look.clone());
        state.wanted = false;
        let entry = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = entry.connection.look(&entry.parsing).await;
            let outcome = entry.looked(began, outcome);
            // Those who waited may have left.
            let _ = answer.send(Some(outcome));
        });
        Some(look)
    }

    fn looked(&self, began: Duration, outcome: Result<Seen, PgError>) -> Outcome {
        let now = self.clock.elapsed();
        let outcome = outcome.map(|seen| (seen.took, Arc::new(Inspected::new(seen, began))));
        let mut state = self.state();
        state.look = None;
        match outcome {
            Ok((took, facts)) => {
                state.took = took;
                state.next = began + LEAST_PAUSE.max(took * PAUSE_FACTOR);
                state.error = None;
                self.facts.store(Some(Arc::clone(&facts)));
                Ok(facts)
            }
            Err(error) => {
                if state.error.as_ref() != Some(&error) {
                    tracing::warn!(database = %self.connection.database().name, %error, "a database cannot be looked at");
                }
                state.next = now + now.saturating_sub(began).clamp(LEAST_PAUSE, LONGEST_PAUSE_AFTER_FAILURE);
                state.error = Some(error.clone());
                Err(error)
            }
        }
    }

    /// The facts, their age, and why the last look failed if it did.
    pub(super) fn report(&self) -> (Option<(Arc<Inspected>, Duration)>, Option<PgError>) {
        let facts = self.facts.load_full().map(|facts| {
            let age = self.age(&facts);
            (facts, age)
        });
        (facts.filter(|(_, age)| *age <= MAX_AGE), self.state().error.clone())
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
