//! The steps of a rotation, in their order. Each looks at the record, does one
//! thing that may be done twice, and says how the record changes.
//! Invariants: a role is shut only while another one is in force; the credential
//! is replaced only if nobody else has replaced it since.

use std::time::Duration;

use nla_domain::credential::Credential;
use tokio::time::{Instant, sleep};

use super::{
    edges::{self, Missing},
    engine::{Advance, Engine, Task},
    server,
    shared::check_unshared,
};
use crate::{
    postgres::{ServerError, connect},
    store::{Draft, Login, Run, State, Step},
};

/// Pauses before a server is asked again.
const RETRIES: [Duration; 3] = [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3)];
/// Connected edges apply a revision in milliseconds. Who is in a hurry waits no
/// longer for the others.
const HURRIED: Duration = Duration::from_secs(5);
/// Longer than an edge waits between two attempts to connect.
const EDGE_PATIENCE: Duration = Duration::from_secs(30);
const NO_EDGE: &str = "no edge is connected that could try the new password; with --force none has to";
/// Between two looks at edges and at sessions.
const LOOK_EVERY: Duration = Duration::from_millis(100);

fn to(step: Step) -> Result<Option<Advance>, String> {
    Ok(Some(Box::new(move |_, run| {
        run.step = step;
        Ok(())
    })))
}

impl Engine {
    /// Does the step that follows the record's. `None` when the record has
    /// changed meanwhile.
    pub(super) async fn next(&self, task: &Task) -> Result<Option<Advance>, String> {
        let Task { database, record, run } = task;
        match run.step {
            Step::Planned => {
                retried(|| server::set_password(database, &record.manager, &run.new)).await?;
                to(Step::Set)
            }
            Step::Set => {
                retried(|| server::verify(database, &run.new)).await?;
                to(Step::Verified)
            }
            Step::Verified => {
                if !run.emergency && !self.has_edge(task).await {
                    return if self.still_wanted(task) { Err(NO_EDGE.to_owned()) } else { Ok(None) };
                }
                // An edge that has gone meanwhile is no reason to go on without.
                let may_skip = run.emergency || run.force && !self.sees_edge();
                if !may_skip {
                    edges::verify(&self.store, &self.registry, &candidate(task, run.generation)).await?;
                }
                to(Step::VerifiedByEdge)
            }
            Step::VerifiedByEdge => Ok(Some(publish(task))),
            Step::Published => self.acknowledged(task).await,
            Step::Acknowledged => self.drained(task).await,
            Step::Drained => self.shut_old(task).await,
            Step::Undoing => self.shut_new(task).await,
            Step::Done | Step::Aborted => Ok(None),
        }
    }

    fn sees_edge(&self) -> bool {
        !edges::usable(&self.store.state(), &self.registry).is_empty()
    }

    /// Waits for an edge that could try the credential: after a start of the
    /// control plane they come back one by one. By force none is needed.
    async fn has_edge(&self, task: &Task) -> bool {
        let began = Instant::now();
        while !self.sees_edge() && !task.run.force {
            if began.elapsed() >= EDGE_PATIENCE || !self.still_wanted(task) {
                return false;
            }
            self.note(&task.record.database, "an edge that connects and tries the new password".to_owned());
            sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Waits until every edge uses the credential, or cannot use any.
    async fn acknowledged(&self, task: &Task) -> Result<Option<Advance>, String> {
        let Task { record, run, .. } = task;
        let began = Instant::now();
        loop {
            if !self.still_wanted(task) {
                return Ok(None);
            }
            let state = self.store.state();
            let missing = edges::missing(&state, &self.registry, &record.database, run.revision, self.now());
            let hurried = run.emergency || run.force;
            if !hurried && let Some(refused) = missing.iter().find_map(refusal) {
                return Err(refused);
            }
            let waited = began.elapsed();
            let reached = !missing.iter().any(|edge| edge.connected);
            let enough = if hurried { reached || waited >= HURRIED } else { waited >= edges::fenced_after(&state) };
            if missing.is_empty() || enough {
                let unreached: Vec<String> = missing.iter().map(|edge| edge.id.to_string()).collect();
                return Ok(Some(Box::new(move |_, run| {
                    run.step = Step::Acknowledged;
                    run.unreached = unreached;
                    Ok(())
                })));
            }
            self.note(&record.database, waiting_for(&missing, edges::fenced_after(&state).saturating_sub(waited)));
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the old role's sessions are gone or its time is over.
    async fn drained(&self, task: &Task) -> Result<Option<Advance>, String> {
        let Task { database, record, run } = task;
        let old = &run.old.username;
        if run.emergency || !record.roles.contains(old) {
            return to(Step::Drained);
        }
        let began = Instant::now();
        let mut connection = retried(|| connect(database, &record.manager)).await?;
        let mut failures = 0;
        loop {
            if !self.still_wanted(task) {
                return Ok(None);
            }
            let sessions = match server::sessions(&connection, old).await {
                Ok(sessions) => sessions,
                Err(error) if failures < RETRIES.len() => {
                    tracing::warn!(%error, "a rotation asks its server again");
                    sleep(RETRIES[failures]).await;
                    failures += 1;
                    connection = retried(|| connect(database, &record.manager)).await?;
                    continue;
                }
                Err(error) => return Err(error.to_string()),
            };
            failures = 0;
            if sessions == 0 {
                return to(Step::Drained);
            }
            if began.elapsed() >= run.grace {
                let remark = format!("{sessions} sessions of {old} were ended after the grace");
                return Ok(Some(Box::new(move |_, run| {
                    run.step = Step::Drained;
                    run.remark = remark;
                    Ok(())
                })));
            }
            let left = run.grace.saturating_sub(began.elapsed()).as_secs();
            self.note(&record.database, format!("{sessions} sessions of {old}, for {left} s at most"));
            sleep(LOOK_EVERY).await;
        }
    }

    async fn shut_old(&self, task: &Task) -> Result<Option<Advance>, String> {
        let end = if task.run.reverting { Step::Aborted } else { Step::Done };
        self.in_force_lets_in(task).await?;
        self.shut(task, &task.run.old.username, end).await
    }

    /// The last look before the way back is closed: somebody may have changed
    /// the server since the new password was tried.
    async fn in_force_lets_in(&self, task: &Task) -> Result<(), String> {
        let Some(held) = in_force(&self.store.state(), task) else {
            return Err("there is no credential in force any more, so nothing was shut".to_owned());
        };
        let login = Login { username: held.username, password: held.password };
        retried(|| server::verify(&task.database, &login))
            .await
            .map_err(|error| format!("the credential in force does not let in, so nothing was shut: {error}"))
    }

    async fn shut_new(&self, task: &Task) -> Result<Option<Advance>, String> {
        self.shut(task, &task.run.new.username, Step::Aborted).await
    }

    /// Shuts a role of the pair that is not in force.
    async fn shut(&self, task: &Task, role: &str, end: Step) -> Result<Option<Advance>, String> {
        let Task { database, record, .. } = task;
        let mut remark = task.run.remark.clone();
        if in_force(&self.store.state(), task).is_some_and(|held| held.username == role) {
            remark = format!("{role} is the credential in force and was left as it is");
        } else if record.roles.iter().any(|of_pair| of_pair == role) {
            // Another database may have been pointed at this server meanwhile.
            check_unshared(&self.store.state(), database, record)?;
            retried(|| server::shut(database, &record.manager, role)).await?;
        } else if !role.is_empty() {
            remark = format!("{role} is not of the pair and was left as it is: shut it yourself if nothing needs it");
        }
        Ok(Some(Box::new(move |_, run| {
            run.step = end;
            run.remark = remark;
            Ok(())
        })))
    }
}

fn in_force(state: &State, task: &Task) -> Option<Credential> {
    state.credentials.get(&task.record.database).map(|stored| stored.value.clone())
}

fn candidate(task: &Task, generation: u64) -> Credential {
    Credential {
        database: task.record.database.clone(),
        username: task.run.new.username.clone(),
        password: task.run.new.password.clone(),
        generation,
    }
}

fn publish(task: &Task) -> Advance {
    let credential = candidate(task, task.run.generation + 1);
    Box::new(move |draft, run| replace(draft, run, credential))
}

/// Makes the run's new login the credential, unless somebody has set another
/// one since the rotation began.
fn replace(draft: &mut Draft<'_>, run: &mut Run, credential: Credential) -> Result<(), String> {
    let held = draft.state().credentials.get(&credential.database).map(|stored| stored.value.clone());
    let (generation, username) = held.map_or((0, String::new()), |held| (held.generation, held.username));
    if generation != run.generation || username != run.old.username {
        return Err("somebody has set another credential since this rotation began: abort it".to_owned());
    }
    run.generation = credential.generation;
    run.revision = draft.revision();
    run.step = Step::Published;
    draft.put(credential);
    Ok(())
}

async fn retried<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, ServerError>>,
{
    for pause in RETRIES {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => tracing::warn!(%error, "a rotation asks its server again"),
        }
        sleep(pause).await;
    }
    attempt().await.map_err(|error| error.to_string())
}

fn refusal(edge: &Missing) -> Option<String> {
    let reason = edge.refused.as_ref()?;
    Some(format!("{} has refused the credential: {reason}", edge.id))
}

fn waiting_for(missing: &[Missing], left: Duration) -> String {
    let names = missing.iter().map(|edge| match edge.connected {
        true => edge.id.to_string(),
        false => format!("{} (not connected)", edge.id),
    });
    let names: Vec<String> = names.take(10).collect();
    format!("the confirmation of {}, for {} s at most", names.join(", "), left.as_secs())
}
