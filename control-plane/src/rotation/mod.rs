//! Rotation of database credentials: two database roles take turns. A rotation
//! is a record in the store ([`crate::store::RotationRecord`]) that names the
//! last step that is done; the [`Engine`] does the next one, and a restart goes
//! on where the record says. Services begin, abort and resume by changing the
//! record.
//!
//! Invariants: each step may be done twice; the role of the credential in force
//! is never shut; a clear password is never part of a statement.

mod edges;
mod engine;
#[cfg(test)]
pub(crate) mod sample;
mod server;
mod shared;
mod steps;

use std::time::Duration;

use nla_domain::{credential, database::Database, error::ErrorKind};
use nla_proto::{failure::Failure, v1};
use serde_json::{Value, json};

use crate::store::{Draft, Login, RotationRecord, Run, Step};

pub(crate) use self::{
    edges::{usable as usable_edges, verify as verify_by_edge},
    engine::Engine,
    server::{check_pair, verify as verify_login},
    shared::check_unshared,
};

/// As audit events and logs name the one who does the steps.
pub(crate) const ACTOR: &str = "control-plane/rotation";
/// What a call has beyond its statement's time until its session is idle.
const GRACE_MARGIN: Duration = Duration::from_secs(30);

/// What an operator asks of a rotation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish {
    pub(crate) emergency: bool,
    pub(crate) force: bool,
    pub(crate) grace: Option<Duration>,
}

/// Begins a rotation: makes the password and records it as the first step.
///
/// # Errors
/// When the last one has not ended.
pub(crate) fn begin(draft: &mut Draft<'_>, record: &RotationRecord, wish: Wish) -> Result<RotationRecord, Failure> {
    let name = &record.database;
    if let Some(run) = record.run.as_ref().filter(|run| run.is_open()) {
        let message = match run.failure {
            None => format!("a rotation of {name} is under way, at the step {}", run.step.as_str()),
            Some(_) => format!(
                "the last rotation of {name} failed after the step {}: resume or abort it first",
                run.step.as_str()
            ),
        };
        return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("database"));
    }
    if draft.state().sources.contains_key(name) {
        let message = format!(
            "the credential of {name} comes from elsewhere, where it is to be rotated; `nlactl credential set` ends that"
        );
        return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("database"));
    }
    let database = draft.state().databases.get(name).ok_or_else(|| Failure::not_found("database", name.as_str()))?;
    check_unshared(draft.state(), &database.value, record)
        .map_err(|message| Failure::new(ErrorKind::FailedPrecondition, message).with_field("roles"))?;
    let grace = wish.grace.unwrap_or_else(|| default_grace(&database.value));
    let held = draft.state().credentials.get(name).map(|stored| &stored.value);
    let old = held.map(|held| Login { username: held.username.clone(), password: held.password.clone() });
    let old = old.unwrap_or_default();
    let generation = held.map_or(0, |held| held.generation);
    let [first, second] = &record.roles;
    let role = if old.username == *first { second } else { first };
    let password =
        credential::generate_password().map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
    let run = Run {
        number: record.run.as_ref().map_or(0, |run| run.number) + 1,
        step: Step::Planned,
        old,
        new: Login { username: role.clone(), password },
        generation,
        emergency: wish.emergency,
        force: wish.force,
        grace,
        started_by: draft.actor().to_owned(),
        started_at: draft.now(),
        changed_at: draft.now(),
        revision: draft.revision(),
        reverting: false,
        failure: None,
        unreached: Vec::new(),
        remark: String::new(),
    };
    let mut next = record.clone();
    // Less up to a tenth, so that many do not come at once.
    let jitter = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    next.next_at = record.every.map(|every| draft.now().plus(every - every / 10 * jitter / 255));
    next.run = Some(run);
    Ok(next)
}

fn default_grace(database: &Database) -> Duration {
    database.limits.statement_timeout + GRACE_MARGIN
}

/// What leads on from a failure, for people.
pub(crate) fn way_forward(record: &RotationRecord, run: &Run) -> String {
    let name = &record.database;
    let in_force = if run.step < Step::Published { &run.old } else { &run.new };
    let in_force = match in_force.username.as_str() {
        "" => "no credential is in force".to_owned(),
        role => format!("the credential of {role} is in force"),
    };
    let resume = format!("nlactl credential rotation resume {name}");
    let undo = format!("nlactl credential rotation abort {name}");
    match run.step {
        Step::Undoing => format!("{in_force}; mend the cause, then `{resume}`"),
        _ => format!("{in_force}; mend the cause, then `{resume}`, or take it back with `{undo}`"),
    }
}

/// Without any password, for the audit log.
pub(crate) fn as_json(record: &RotationRecord) -> Value {
    let run = record.run.as_ref().map(|run| {
        json!({
            "number": run.number,
            "step": run.step.as_str(),
            "old_role": run.old.username,
            "new_role": run.new.username,
            "generation": run.generation,
            "emergency": run.emergency,
            "force": run.force,
            "reverting": run.reverting,
            "failure": run.failure,
            "unreached_edges": run.unreached,
        })
    });
    json!({
        "manager": record.manager.username,
        "roles": record.roles,
        "every_seconds": record.every.map(|every| every.as_secs()),
        "next_at": record.next_at.map(|at| at.to_string()),
        "run": run,
    })
}

/// The event of a change of a rotation that nobody asked for.
fn event(action: &str, record: &RotationRecord, before: &RotationRecord) -> v1::AdminEvent {
    let failed = record.run.as_ref().is_some_and(|run| run.failure.is_some());
    let outcome = if failed { v1::Outcome::Failed } else { v1::Outcome::Succeeded };
    v1::AdminEvent {
        actor: ACTOR.to_owned(),
        action: action.to_owned(),
        object: format!("rotation/{}", record.database),
        outcome: outcome.into(),
        before_json: as_json(before).to_string(),
        after_json: as_json(record).to_string(),
        ..Default::default()
    }
}
