//! Looks at the sources again: files each few seconds, programs before what they
//! gave ends. A new value is tried by an edge before it takes the place of the
//! old one, which serves until then, and through an outage of its source.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use nla_domain::{
    clock::{Timestamp, WallClock},
    credential::Credential,
    id::DatabaseName,
};
use nla_proto::{failure::Failure, v1};
use serde_json::json;
use tokio::{
    task::{Id, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{AllowedSources, Resolved, Source, resolve, resolve::STUCK};
use crate::{
    rotation::{usable_edges, verify_by_edge},
    store::{Draft, Run, SourceRecord, State, Store},
    stream::Registry,
};

/// As audit events name it.
const ACTOR: &str = "control-plane/sources";
const PERIOD: Duration = Duration::from_secs(2);
/// Between two runs of a program that names no end, unless the operator says.
const EVERY: Duration = Duration::from_secs(300);
/// After a failure.
const RETRY: Duration = Duration::from_secs(15);
/// A value that stays the same and does not work is tried ever more rarely: each
/// try is a failed login on the server.
const MOST_RETRY: Duration = Duration::from_secs(600);
const NO_EDGE: &str = "the new value waits for an edge to try it";
/// No program runs more often.
const LEAST: Duration = Duration::from_secs(5);

type Key = (DatabaseName, String);

/// When a source is looked at next.
#[derive(Debug, Default)]
struct Next {
    at: Option<Instant>,
    /// The last value that did not work.
    rejected: Option<Resolved>,
    /// How long was waited after the last failure.
    pause: Duration,
}

/// A look that gave no new value.
#[derive(Debug)]
struct Rejected {
    value: Option<Resolved>,
    /// It is no use to look soon.
    again: bool,
}

impl Next {
    fn ended(&mut self, outcome: Result<Duration, Rejected>) {
        let wait = match outcome {
            Ok(wait) => {
                (self.rejected, self.pause) = (None, Duration::ZERO);
                wait
            }
            Err(rejected) => {
                self.pause = if rejected.again { (self.pause * 2).clamp(RETRY, MOST_RETRY) } else { RETRY };
                self.rejected = rejected.value;
                self.pause
            }
        };
        self.at = Some(Instant::now() + wait);
    }
}

/// The one who looks.
#[derive(Debug)]
pub(crate) struct Refresher {
    pub(crate) store: Store,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) allowed: AllowedSources,
}

impl Refresher {
    /// Runs for ever.
    pub(crate) async fn run(self: Arc<Self>) -> Infallible {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // By source as well: another one is looked at without delay.
        let mut next: HashMap<Key, Next> = HashMap::new();
        let mut looks: JoinSet<(Key, Result<Duration, Rejected>)> = JoinSet::new();
        let mut under_way: HashMap<Id, Key> = HashMap::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                Some(ended) = looks.join_next_with_id() => {
                    match ended {
                        Ok((id, (key, outcome))) => {
                            under_way.remove(&id);
                            next.entry(key).or_default().ended(outcome);
                        }
                        // A defect, which the next look would meet again.
                        Err(error) => {
                            let key = under_way.remove(&error.id());
                            tracing::error!(?key, "a look at a credential's source failed");
                            next.extend(key.map(|key| (key, Next { at: Some(Instant::now() + MOST_RETRY), ..Next::default() })));
                        }
                    }
                    continue;
                }
            }
            let state = self.store.state();
            next.retain(|(name, source), _| {
                state.sources.get(name).is_some_and(|stored| stored.value.source == *source)
            });
            for record in state.sources.values().map(|stored| &stored.value) {
                let key = (record.database.clone(), record.source.clone());
                let due = next.get(&key).is_none_or(|next| next.at.is_none_or(|at| at <= Instant::now()));
                // A slow one delays no other, and there is one look at a time.
                if due && !under_way.values().any(|(name, _)| *name == key.0) {
                    let (refresher, state, record) = (Arc::clone(&self), Arc::clone(&state), record.clone());
                    let last = next.get(&key).and_then(|next| next.rejected.clone());
                    let look = {
                        let key = key.clone();
                        // On the heap: the loop would carry its size otherwise.
                        Box::pin(async move { (key, refresher.look(&state, &record, last).await) })
                    };
                    under_way.insert(looks.spawn(look).id(), key);
                }
            }
        }
    }

    /// Looks once; the time until the next look.
    async fn look(&self, state: &State, record: &SourceRecord, last: Option<Resolved>) -> Result<Duration, Rejected> {
        let found = match Source::parse(&record.source, &self.allowed) {
            Ok(source) => resolve(&source).await.map(|resolved| (source, resolved)),
            Err(error) => Err(format!("the source {error}")),
        };
        let outcome = match found {
            Ok((source, resolved)) => {
                let value = resolved.clone();
                let wait = self.wait(&source, record, &resolved);
                let adopted = self.adopt(state, record, resolved).await.map(|()| wait);
                adopted.map_err(|error| (error, Some(value)))
            }
            Err(error) => Err((error, None)),
        };
        match outcome {
            Ok(wait) => Ok(wait),
            Err((error, value)) => {
                // That no edge is there yet says nothing of the value.
                let value = value.filter(|_| error != NO_EDGE);
                // A read that hangs keeps its thread.
                let again = value.is_some() && value == last || error == STUCK;
                self.note(record, error).await;
                Err(Rejected { value, again })
            }
        }
    }

    /// Half of the time that is left, or the period that was asked for, less up
    /// to a tenth so that many do not come at once. Files are cheap.
    fn wait(&self, source: &Source, record: &SourceRecord, resolved: &Resolved) -> Duration {
        if !matches!(source, Source::Exec { .. }) {
            return PERIOD;
        }
        let left = resolved.expires_at.map(|end| end.since(self.clock.now()) / 2);
        let every = [record.every, left].into_iter().flatten().min().unwrap_or(EVERY);
        let jitter = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
        (every - every / 10 * jitter / 255).max(LEAST)
    }

    async fn adopt(&self, state: &State, record: &SourceRecord, resolved: Resolved) -> Result<(), String> {
        let now = self.clock.now();
        if resolved.expires_at.is_some_and(|end| end <= now) {
            return Err("the source gives a value that has expired".to_owned());
        }
        let held = state.credentials.get(&record.database).map(|stored| &stored.value);
        let username = resolved.username.clone().unwrap_or_else(|| record.username.clone());
        let same = held.is_some_and(|held| held.username == username && held.password == resolved.password);
        if same && record.expires_at == resolved.expires_at && record.error.is_none() {
            return Ok(());
        }
        let generation = held.map_or(0, |held| held.generation) + 1;
        let password = resolved.password.clone();
        let credential = Credential { database: record.database.clone(), username, password, generation };
        credential.validate().map_err(|error| error.to_string())?;
        if !same {
            self.try_out(state, &credential, held.is_some()).await?;
        }
        let refreshed =
            SourceRecord { refreshed_at: now, expires_at: resolved.expires_at, error: None, ..record.clone() };
        let change = (!same).then_some(credential);
        self.commit(record, refreshed, change).await.map_err(|failure| failure.message)
    }

    /// Has an edge try a new value. Only while there is no value yet, or no edge
    /// at all, is one taken untried.
    pub(crate) async fn try_out(&self, state: &State, credential: &Credential, serves: bool) -> Result<(), String> {
        if usable_edges(state, &self.registry).is_empty() {
            let enrolled = state.edges.values().any(|edge| edge.value.revoked.is_none());
            return match serves && enrolled {
                true => Err(NO_EDGE.to_owned()),
                false => Ok(()),
            };
        }
        let tried = verify_by_edge(&self.store, &self.registry, credential).await;
        tried.map_err(|error| format!("the new value does not work: {error}"))
    }

    /// Records why there is no new value, once.
    async fn note(&self, record: &SourceRecord, error: String) {
        if record.error.as_ref() == Some(&error) {
            return;
        }
        tracing::error!(database = %record.database, error, "a credential's source fails; the last value serves on");
        let failed = SourceRecord { error: Some(error), ..record.clone() };
        if let Err(failure) = self.commit(record, failed, None).await {
            tracing::error!(database = %record.database, error = failure.message, "that cannot be recorded");
        }
    }

    async fn commit(
        &self,
        seen: &SourceRecord,
        next: SourceRecord,
        credential: Option<Credential>,
    ) -> Result<(), Failure> {
        let seen = seen.clone();
        let change = move |draft: &mut Draft<'_>| {
            let held = draft.state().sources.get(&seen.database).map(|stored| &stored.value);
            let rotations = draft.state().rotations.get(&seen.database);
            let moving = rotations.is_some_and(|stored| stored.value.run.as_ref().is_some_and(Run::is_moving));
            // An operator has decided otherwise meanwhile.
            if held != Some(&seen) || moving {
                return Ok(());
            }
            draft.event(event(&next, credential.as_ref()));
            if let Some(credential) = credential {
                draft.put(credential);
            }
            draft.put(next);
            Ok(())
        };
        self.store.mutate(ACTOR, change).await
    }
}

fn event(record: &SourceRecord, credential: Option<&Credential>) -> v1::AdminEvent {
    let outcome = if record.error.is_some() { v1::Outcome::Failed } else { v1::Outcome::Succeeded };
    let after = json!({
        "source": record.source,
        "username": credential.map(|credential| &credential.username),
        "generation": credential.map(|credential| credential.generation),
        "expires_at": record.expires_at.map(|at: Timestamp| at.to_string()),
        "error": record.error,
    });
    v1::AdminEvent {
        actor: ACTOR.to_owned(),
        action: "refresh".to_owned(),
        object: format!("credential/{}", record.database),
        outcome: outcome.into(),
        after_json: after.to_string(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use nla_domain::secret::Secret;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_value_that_stays_wrong_is_tried_ever_more_rarely() {
        let mut next = Next::default();
        let mut waited = Vec::new();
        let value = Resolved { username: None, password: Secret::new("p"), expires_at: None };
        for again in [false, true, true, true, true, true, true, true, false] {
            next.ended(Err(Rejected { value: Some(value.clone()), again }));
            waited.push(next.at.unwrap().duration_since(Instant::now()).as_secs());
        }
        assert_eq!(waited, [15, 30, 60, 120, 240, 480, 600, 600, 15]);
        next.ended(Ok(PERIOD));
        assert!(next.rejected.is_none() && next.at == Some(Instant::now() + PERIOD));
    }
}
