//! Rotations of database credentials: begun, watched, taken back. The steps are
//! done by [`crate::rotation`], whoever watches.

use std::{sync::Arc, time::Duration};

use nla_domain::{credential::Credential, error::ErrorKind, id::DatabaseName, secret::Secret};
use nla_proto::{failure::Failure, v1};
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    Context,
    change::{Change, Recorder, parse},
    tokens::bounded,
    view,
};
use crate::{
    postgres::ServerError,
    rotation::{Wish, as_json, begin, check_pair, check_unshared, verify_login},
    store::{Draft, Login, Meta, RecordKey, RotationRecord, Run, State, Step, Stored},
};

/// Longer than any statement may run.
const MAX_GRACE: Duration = Duration::from_secs(24 * 3600);
/// Often enough that a leaked password is soon worthless, rarely enough that a
/// rotation has ended before the next begins.
const MIN_EVERY: Duration = Duration::from_secs(3600);
const MAX_EVERY: Duration = Duration::from_secs(366 * 24 * 3600);
/// How often a watcher is told what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Messages that wait for a slow watcher.
const QUEUE: usize = 8;

/// The service.
#[derive(Debug)]
pub(super) struct Rotations(pub(super) Arc<Context>);

#[tonic::async_trait]
impl v1::rotations_server::Rotations for Rotations {
    async fn configure(
        &self,
        request: Request<v1::ConfigureRotationRequest>,
    ) -> Result<Response<v1::RotationView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Rotations/Configure", |r| &r.idempotency_key)?;
        let database: DatabaseName = parse("database", &request.database)?;
        let manager = Login { username: request.manager_username, password: Secret::new(request.manager_password) };
        let roles = pair(&database, &manager, request.roles)?;
        let record = RotationRecord { database, manager, roles, every: None, next_at: None, run: None };
        let definition = {
            let state = self.0.store.state();
            let found = state.databases.get(&record.database);
            found.ok_or_else(|| unknown(&record.database))?.value.clone()
        };
        check_pair(&definition, &record).await.map_err(unfit)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            let found = draft.state().databases.get(&record.database);
            let definition = Arc::clone(found.ok_or_else(|| unknown(&record.database))?);
            check_unshared(draft.state(), &definition.value, &record)
                .map_err(|message| Failure::new(ErrorKind::FailedPrecondition, message).with_field("roles"))?;
            let before = draft.state().rotations.get(&record.database).cloned();
            let mut record = record.clone();
            if let Some(before) = &before {
                let old = &before.value;
                if old.roles != record.roles && old.run.as_ref().is_some_and(Run::is_open) {
                    let message = "a rotation of the other pair has not ended: wait for it, or abort it";
                    return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("roles"));
                }
                (record.every, record.next_at, record.run) = (old.every, old.next_at, old.run.clone());
            }
            Ok(put(draft, recorder, &record, before.as_deref()))
        });
        Ok(Response::new(answer.await?))
    }

    type StartStream = ReceiverStream<Result<v1::RotationView, Status>>;

    async fn start(&self, request: Request<v1::StartRotationRequest>) -> Result<Response<Self::StartStream>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Rotations/Start", |r| &r.idempotency_key)?;
        let name: DatabaseName = parse("database", &request.database)?;
        let asked = request.grace.as_ref();
        let grace = bounded("grace", asked, Duration::ZERO, Duration::ZERO, MAX_GRACE)?;
        let wish = Wish { emergency: request.emergency, force: request.force, grace: asked.is_some().then_some(grace) };
        let begun = change.commit(&self.0.store, {
            let name = name.clone();
            move |draft, recorder| {
                let before = Arc::clone(find(draft.state(), &name)?);
                let record = begin(draft, &before.value, wish)?;
                Ok(put(draft, recorder, &record, Some(&before)))
            }
        });
        let begun = begun.await?;
        let number = begun.run.as_ref().map_or(0, |run| run.number);
        let (out, stream) = mpsc::channel(QUEUE);
        let watch = Watch { context: Arc::clone(&self.0), name, number, out };
        self.0.sessions.spawn(watch.run(begun));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get(&self, request: Request<v1::GetRotationRequest>) -> Result<Response<v1::RotationView>, Status> {
        let name = parse("database", &request.get_ref().database)?;
        let state = self.0.store.state();
        Ok(Response::new(self.0.rotation_view(find(&state, &name)?)))
    }

    async fn list(
        &self,
        _request: Request<v1::ListRotationsRequest>,
    ) -> Result<Response<v1::ListRotationsResponse>, Status> {
        let state = self.0.store.state();
        let rotations = state.rotations.values().map(|stored| self.0.rotation_view(stored)).collect();
        Ok(Response::new(v1::ListRotationsResponse { rotations }))
    }

    async fn abort(&self, request: Request<v1::AbortRotationRequest>) -> Result<Response<v1::RotationView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Rotations/Abort", |r| &r.idempotency_key)?;
        let name: DatabaseName = parse("database", &request.database)?;
        let tried = self.try_old(&name).await?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            let before = Arc::clone(find(draft.state(), &name)?);
            let mut record = before.value.clone();
            let run = open_run(&mut record)?;
            abort(draft, recorder, &name, run, tried.as_ref())?;
            Ok(put(draft, recorder, &record, Some(&before)))
        });
        Ok(Response::new(answer.await?))
    }

    async fn resume(&self, request: Request<v1::ResumeRotationRequest>) -> Result<Response<v1::RotationView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Rotations/Resume", |r| &r.idempotency_key)?;
        let name: DatabaseName = parse("database", &request.database)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            let before = Arc::clone(find(draft.state(), &name)?);
            let mut record = before.value.clone();
            let now = draft.now();
            let run = open_run(&mut record)?;
            if run.is_moving() && !request.force {
                return Err(refused("the rotation is under way: there is nothing to resume"));
            }
            run.failure = None;
            run.force |= request.force;
            run.changed_at = now;
            Ok(put(draft, recorder, &record, Some(&before)))
        });
        Ok(Response::new(answer.await?))
    }

    async fn schedule(
        &self,
        request: Request<v1::ScheduleRotationRequest>,
    ) -> Result<Response<v1::RotationView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Rotations/Schedule", |r| &r.idempotency_key)?;
        let name: DatabaseName = parse("database", &request.database)?;
        let asked = request.every.as_ref();
        let every = bounded("every", asked, MIN_EVERY, MIN_EVERY, MAX_EVERY)?;
        let every = asked.is_some().then_some(every);
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            let before = Arc::clone(find(draft.state(), &name)?);
            let mut record = before.value.clone();
            record.every = every;
            record.next_at = every.map(|every| draft.now().plus(every));
            Ok(put(draft, recorder, &record, Some(&before)))
        });
        Ok(Response::new(answer.await?))
    }
}

impl Rotations {
    /// Logs in with the credential from before where an abort would publish it
    /// again. The login that was proven, if there is such a one.
    async fn try_old(&self, name: &DatabaseName) -> Result<Option<Login>, Failure> {
        let state = self.0.store.state();
        let run = state.rotations.get(name).and_then(|stored| stored.value.run.as_ref());
        let published = |run: &&Run| matches!(run.step, Step::Published | Step::Acknowledged) && !run.reverting;
        let old = run.filter(published).map(|run| run.old.clone()).filter(|old| !old.username.is_empty());
        let (Some(old), Some(database)) = (old, state.databases.get(name)) else { return Ok(None) };
        verify_login(&database.value, &old).await.map_err(|error| {
            refused(&format!(
                "the credential from before does not let in, so it is not put in force again: {error}; mend that, or \
                 go on with `nlactl credential rotation resume {name}`"
            ))
        })?;
        Ok(Some(old))
    }
}

/// Tells one caller how a rotation moves.
struct Watch {
    context: Arc<Context>,
    name: DatabaseName,
    number: u64,
    out: mpsc::Sender<Result<v1::RotationView, Status>>,
}

impl Watch {
    async fn run(self, begun: v1::RotationView) {
        let mut told = None;
        let mut view = Some(begun);
        let mut revisions = self.context.store.revisions();
        loop {
            let Some(next) = view else { return };
            let open = next.run.as_ref().is_some_and(is_moving);
            if told.as_ref() != Some(&next) {
                if self.out.send(Ok(next.clone())).await.is_err() {
                    return;
                }
                told = Some(next);
            }
            if !open {
                return;
            }
            tokio::select! {
                _ = revisions.changed() => {}
                () = sleep(LOOK_EVERY) => {}
                () = self.out.closed() => return,
                () = self.context.sync.shutdown.cancelled() => {
                    let message = "the control plane is shutting down; the rotation goes on when it is back";
                    let _ = self.out.send(Err(Failure::new(ErrorKind::Unavailable, message).into())).await;
                    return;
                }
            }
            let state = self.context.store.state();
            let stored = state.rotations.get(&self.name);
            let same = stored.filter(|stored| stored.value.run.as_ref().is_some_and(|run| run.number == self.number));
            view = same.map(|stored| self.context.rotation_view(stored));
        }
    }
}

fn is_moving(run: &v1::RotationRun) -> bool {
    run.failure.is_empty()
        && Step::from_number(run.step).is_some_and(|step| !matches!(step, Step::Done | Step::Aborted))
}

impl Context {
    fn rotation_view(&self, stored: &Stored<RotationRecord>) -> v1::RotationView {
        let mut view = view::rotation(&stored.value, &stored.meta);
        if let Some(run) = view.run.as_mut().filter(|run| is_moving(run)) {
            run.waiting_for = self.rotations.waiting_for(&stored.value.database);
        }
        view
    }
}

/// Takes a rotation back: before the new credential is out its role is shut
/// again; afterwards the old one is published again, and the roles change
/// places. Once the old role is being shut there is no way back.
/// `tried` is the login from before that has just let in.
fn abort(
    draft: &mut Draft<'_>,
    recorder: &Recorder,
    name: &DatabaseName,
    run: &mut Run,
    tried: Option<&Login>,
) -> Result<(), Failure> {
    match run.step {
        Step::Planned | Step::Set | Step::Verified | Step::VerifiedByEdge => run.step = Step::Undoing,
        Step::Undoing => {
            if run.is_moving() {
                return Err(refused("the rotation is being taken back already"));
            }
        }
        Step::Published | Step::Acknowledged => {
            if run.reverting {
                return Err(refused("the rotation is being taken back already: `resume` goes on with that"));
            }
            if run.old.username.is_empty() {
                return Err(refused("there was no credential before this rotation: `resume` goes on"));
            }
            let held = draft.state().credentials.get(name).cloned();
            let Some(held) = held.filter(|held| held.value.generation == run.generation) else {
                return Err(refused("somebody has set another credential since: `resume` ends the rotation"));
            };
            if tried != Some(&run.old) {
                return Err(refused("the rotation has just reached its next step: abort it once more"));
            }
            let credential = Credential {
                database: name.clone(),
                username: run.old.username.clone(),
                password: run.old.password.clone(),
                generation: run.generation + 1,
            };
            let (old, new) = (view::credential_json(&held.value), view::credential_json(&credential));
            recorder.record(draft, format!("credential/{name}"), Some(old), Some(new));
            std::mem::swap(&mut run.old, &mut run.new);
            run.generation = credential.generation;
            run.revision = draft.revision();
            run.step = Step::Published;
            run.reverting = true;
            run.emergency = false;
            run.unreached = Vec::new();
            draft.put(credential);
        }
        Step::Drained | Step::Done | Step::Aborted => {
            return Err(refused(
                "the old role is being shut, so there is no way back: `resume`, then rotate once more",
            ));
        }
    }
    run.failure = None;
    run.changed_at = draft.now();
    Ok(())
}

fn put(
    draft: &mut Draft<'_>,
    recorder: &Recorder,
    record: &RotationRecord,
    before: Option<&Stored<RotationRecord>>,
) -> v1::RotationView {
    let key = RecordKey::Rotation(record.database.clone());
    recorder.record(draft, key, before.map(|before| as_json(&before.value)), Some(as_json(record)));
    let meta: Meta = draft.put(record.clone());
    view::rotation(record, &meta)
}

fn pair(database: &DatabaseName, manager: &Login, roles: Vec<String>) -> Result<[String; 2], Failure> {
    let check = |field: &str, login: &Login| {
        let Login { username, password } = login.clone();
        let credential = Credential { database: database.clone(), username, password, generation: 0 };
        credential.validate().map_err(|error| Failure::invalid(field, error.to_string()))
    };
    check("manager_username", manager)?;
    let roles: [String; 2] =
        roles.try_into().map_err(|_| Failure::invalid("roles", "exactly two database roles take turns"))?;
    for role in &roles {
        check("roles", &Login { username: role.clone(), ..Login::default() })?;
    }
    if roles[0] == roles[1] || roles.contains(&manager.username) {
        return Err(Failure::invalid("roles", "the two roles and the manager must be three different ones"));
    }
    Ok(roles)
}

fn find<'a>(state: &'a State, name: &DatabaseName) -> Result<&'a Arc<Stored<RotationRecord>>, Failure> {
    if !state.databases.contains_key(name) {
        return Err(unknown(name));
    }
    state.rotations.get(name).ok_or_else(|| {
        let message = format!(
            "the rotation of {name} is not configured: `nlactl credential rotation-sql {name}`, then \
             `nlactl credential rotation configure {name}`"
        );
        Failure::new(ErrorKind::NotFound, message).with_field("database")
    })
}

fn open_run(record: &mut RotationRecord) -> Result<&mut Run, Failure> {
    let run = record.run.as_mut().filter(|run| run.is_open());
    run.ok_or_else(|| refused("no rotation is under way"))
}

fn unknown(name: &DatabaseName) -> Failure {
    Failure::not_found("database", name.as_str()).with_field("database")
}

fn refused(message: &str) -> Failure {
    Failure::new(ErrorKind::FailedPrecondition, message).with_field("database")
}

fn unfit(error: ServerError) -> Failure {
    Failure::new(ErrorKind::FailedPrecondition, error.to_string()).with_field("manager_username")
}

/// Refuses while the newest rotation has not ended, also when it failed: it has
/// to shut a role on the server that the database names.
pub(super) fn check_ended(state: &State, name: &DatabaseName) -> Result<(), Failure> {
    check_at_rest(state, name)?;
    let open = state.rotations.get(name).and_then(|stored| stored.value.run.as_ref()).is_some_and(Run::is_open);
    if open {
        let message = format!(
            "the last rotation of {name} failed and has not ended: `nlactl credential rotation show {name}`, then \
             resume or abort it"
        );
        return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("database"));
    }
    Ok(())
}

/// Refuses while a rotation moves that would replace what is to be set.
pub(super) fn check_at_rest(state: &State, name: &DatabaseName) -> Result<(), Failure> {
    let moving = state.rotations.get(name).and_then(|stored| stored.value.run.as_ref()).is_some_and(Run::is_moving);
    if moving {
        let message = format!(
            "a rotation of {name} is under way: wait for it (`nlactl credential rotation show {name}`), or abort it"
        );
        return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("database"));
    }
    Ok(())
}
