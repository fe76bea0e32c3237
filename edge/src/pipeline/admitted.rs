//! Gate 3: whether there is room for the call: a place in the audit queue, the
//! token's rate, and its number of calls at once. Called by
//! [`super::Pipeline::admit`].
//! Invariant: a token's limits cost nothing to other tokens, and the memory of
//! tokens that are gone is freed.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::{InMemoryState, NotKeyed},
};
use nla_domain::{
    audit::Outcome,
    error::ErrorKind,
    id::TokenId,
    snapshot::Snapshot,
    token::{Token, TokenLimits},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Pipeline,
    caller::Caller,
    turned_away::Why,
    uses::{TokenUse, Uses},
};
use crate::{audit::AuditSlot, mcp::delivery::Room};

/// Uses of tokens that are gone which wait for the next report. They are
/// reported within seconds; more are lost only while the control plane is.
const MAX_GONE: usize = 10_000;

/// A caller with room for one call. Dropping it without a call records a
/// message of the protocol, such as a handshake or a list.
#[derive(Debug)]
pub struct Admitted {
    pub(super) caller: Caller,
    slot: Mutex<Option<AuditSlot>>,
    room: Arc<OwnedSemaphorePermit>,
}

impl Admitted {
    pub(super) fn new(pipeline: &Pipeline, caller: Caller) -> Result<Self, Why> {
        let gate = pipeline.limiters.of(&caller.token);
        let peer = caller.peer;
        let token = &caller.token;
        gate.uses.note(pipeline.config.clock.now(), peer.address);
        if let Err(not_yet) = gate.rate.check() {
            let wait = not_yet.wait_time_from(DefaultClock::default().now());
            return Err(Why::TooFast { peer, token: Arc::clone(token), wait });
        }
        let room = Arc::clone(&gate.room).try_acquire_owned().map_err(|_| Why::TooMany {
            peer,
            token: Arc::clone(token),
            at_once: gate.limits.concurrent_calls,
        })?;
        let mut slot = pipeline.audit.reserve().map_err(|_| Why::AuditUnavailable)?;
        let record = slot.record_mut();
        record.caller.address = Some(peer.address);
        record.caller.token = Some(token.id);
        record.caller.owner = Some(token.owner.clone());
        Ok(Self { caller, slot: Mutex::new(Some(slot)), room: Arc::new(room) })
    }

    /// What lists for the caller are made from.
    pub fn policy(&self) -> (&Snapshot, &Token) {
        (&self.caller.snapshot, &self.caller.token)
    }

    /// Its places among the token's calls at once and among those that run,
    /// which an answer keeps until it has left.
    pub fn room(&self) -> Room {
        let registration = Arc::clone(&self.caller.registration);
        Room { ended: registration.ended.clone(), held: Arc::new((Arc::clone(&self.room), registration)) }
    }

    /// The place for the call's event; each request has one.
    pub(super) fn take_slot(&self) -> Option<AuditSlot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(mut slot) = self.take_slot() {
            let record = slot.record_mut();
            record.outcome = Outcome::Succeeded;
            record.reason = None;
            let _ = slot.finish();
        }
    }
}

#[derive(Debug)]
struct TokenGate {
    limits: TokenLimits,
    rate: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
    room: Arc<Semaphore>,
    uses: Arc<Uses>,
}

impl TokenGate {
    fn new(limits: TokenLimits, uses: Arc<Uses>) -> Self {
        let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(limits.calls_per_second)).allow_burst(at_least_one(limits.burst));
        let room = usize::try_from(limits.concurrent_calls.max(1)).unwrap_or(1);
        Self { limits, rate: RateLimiter::direct(quota), room: Arc::new(Semaphore::new(room)), uses }
    }
}

/// The limits and the use of the tokens that have called, at most as many as
/// there are tokens: only proven callers get here.
#[derive(Debug, Default)]
pub(super) struct Limiters(Mutex<Gates>);

#[derive(Debug, Default)]
struct Gates {
    by_token: HashMap<TokenId, Arc<TokenGate>>,
    /// Uses of tokens that are gone, for the next report.
    gone: Vec<TokenUse>,
}

impl Limiters {
    fn gates(&self) -> MutexGuard<'_, Gates> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, token: &Token) -> Arc<TokenGate> {
        let gates = &mut self.gates().by_token;
        match gates.get(&token.id) {
            Some(gate) if gate.limits == token.limits => Arc::clone(gate),
            known => {
                let uses = known.map(|gate| Arc::clone(&gate.uses)).unwrap_or_default();
                let gate = Arc::new(TokenGate::new(token.limits, uses));
                gates.insert(token.id, Arc::clone(&gate));
                gate
            }
        }
    }

    /// Forgets tokens that are no longer in the snapshot, except that they were
    /// used: how a token was used last matters most when it was revoked.
    pub(super) fn keep_known(&self, snapshot: Option<&Snapshot>) {
        let mut gates = self.gates();
        let Gates { by_token, gone } = &mut *gates;
        by_token.retain(|token, gate| {
            let known = snapshot.is_some_and(|snapshot| snapshot.tokens.contains_key(token));
            if !known && gone.len() < MAX_GONE {
                gone.extend(gate.uses.take(*token));
            }
            known
        });
    }

    /// See [`Pipeline::token_uses`].
    pub(super) fn take_uses(&self, most: usize) -> Vec<TokenUse> {
        let mut gates = self.gates();
        let from = gates.gone.len().saturating_sub(most);
        let mut taken = gates.gone.split_off(from);
        let used: Vec<_> = gates.by_token.iter().map(|(token, gate)| (*token, Arc::clone(&gate.uses))).collect();
        // Callers do not wait for the rest.
        drop(gates);
        let uses = used.into_iter().filter_map(|(token, uses)| uses.take(token));
        let room = most - taken.len();
        taken.extend(uses.take(room));
        taken
    }
}

/// Whole seconds for `Retry-After`, rounded up: a client that comes back after a
/// rounded-down wait is refused again.
pub(super) fn retry_after_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl Why {
    pub(super) fn limit_kind(&self) -> Option<ErrorKind> {
        matches!(self, Self::TooFast { .. } | Self::TooMany { .. }).then_some(ErrorKind::RateLimited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up() {
        for (millis, seconds) in [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(retry_after_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
