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
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{AllowedSources, Resolved, Source, resolve};
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
/// No program runs more often.
const LEAST: Duration = Duration::from_secs(5);

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
    pub(crate) async fn run(self) -> Infallible {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // By source as well: another one is looked at without delay.
        let mut next: HashMap<(DatabaseName, String), Instant> = HashMap::new();
        loop {
            ticks.tick().await;
            let state = self.store.state();
            next.retain(|(name, source), _| {
                state.sources.get(name).is_some_and(|stored| stored.value.source == *source)
            });
            let due = state.sources.values().map(|stored| &stored.value).filter(|record| {
                let at = next.get(&(record.database.clone(), record.source.clone()));
                at.is_none_or(|at| *at <= Instant::now())
            });
            // Side by side: one that hangs delays no other.
            let looks = due.map(|record| async {
                let wait = self.look(&state, record).await;
                ((record.database.clone(), record.source.clone()), Instant::now() + wait)
            });
            next.extend(futures_util::future::join_all(looks).await);
        }
    }

    /// Looks once; the time until the next look.
    async fn look(&self, state: &State, record: &SourceRecord) -> Duration {
        let found = match Source::parse(&record.source, &self.allowed) {
            Ok(source) => resolve(&source).await.map(|resolved| (source, resolved)),
            Err(error) => Err(format!("the source {error}")),
        };
        let outcome = match found {
            Ok((source, resolved)) => {
                let wait = self.wait(&source, record, &resolved);
                self.adopt(state, record, resolved).await.map(|()| wait)
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(wait) => wait,
            Err(error) => {
                self.note(record, error).await;
                RETRY
            }
        }
    }

    /// Half of the time that is left, or the period that was asked for, less up
    /// to a tenth so that many do not come at once. Files are cheap.
    fn wait(&self, source: &Source, record: &SourceRecord, resolved: &Resolved) -> Duration {
        if !matches!(source, Source::Exec(..)) {
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
                true => Err("the new value waits for an edge to try it".to_owned()),
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
