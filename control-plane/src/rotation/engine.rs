//! Moves rotations on: one worker for each database whose rotation is under
//! way. Woken by each change of the store and by a period; everything that it
//! knows is in the store, so that a restart loses nothing.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nla_domain::{
    clock::{Timestamp, WallClock},
    database::Database,
    id::DatabaseName,
};
use nla_proto::failure::Failure;
use tokio::{
    task::{Id, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{ACTOR, Wish, begin, event, way_forward};
use crate::{
    store::{Draft, RotationRecord, Run, Store},
    stream::Registry,
};

/// Schedules are looked at that often.
const PERIOD: Duration = Duration::from_secs(5);
/// A store that cannot commit, such as on a full disk, is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// What a step has done to the record, or why the rotation stands still.
pub(super) type Advance = Box<dyn FnOnce(&mut Draft<'_>, &mut Run) -> Result<(), String> + Send>;

/// The one who does the steps of all rotations.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(super) store: Store,
    pub(super) registry: Arc<Registry>,
    clock: Arc<dyn WallClock>,
    /// For people: what a rotation waits for at the moment.
    waiting: Mutex<HashMap<DatabaseName, String>>,
}

/// What a step works on.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) database: Database,
    pub(super) record: RotationRecord,
    pub(super) run: Run,
}

impl Engine {
    pub(crate) fn new(store: Store, registry: Arc<Registry>, clock: Arc<dyn WallClock>) -> Arc<Self> {
        Arc::new(Self { store, registry, clock, waiting: Mutex::default() })
    }

    /// What a rotation waits for; empty when it does not.
    pub(crate) fn waiting_for(&self, database: &DatabaseName) -> String {
        self.notes().get(database).cloned().unwrap_or_default()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn note(&self, database: &DatabaseName, waiting_for: String) {
        self.notes().insert(database.clone(), waiting_for);
    }

    fn notes(&self) -> MutexGuard<'_, HashMap<DatabaseName, String>> {
        // Nothing under this lock panics half way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs for ever.
    pub(crate) async fn run(self: Arc<Self>) -> Infallible {
        let mut revisions = self.store.revisions();
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut workers = JoinSet::new();
        let mut names: HashMap<Id, DatabaseName> = HashMap::new();
        let mut busy: HashSet<DatabaseName> = HashSet::new();
        let mut follows = true;
        loop {
            for name in self.moving() {
                if busy.insert(name.clone()) {
                    let engine = Arc::clone(&self);
                    let worker = name.clone();
                    // On the heap: the scan would carry its size otherwise.
                    let handle = workers.spawn(Box::pin(async move { engine.drive(&worker).await }));
                    names.insert(handle.id(), name);
                }
            }
            tokio::select! {
                changed = revisions.changed(), if follows => follows = changed.is_ok(),
                _ = ticks.tick() => self.begin_due().await,
                Some(ended) = workers.join_next_with_id() => match ended {
                    Ok((id, ())) => {
                        if let Some(name) = names.remove(&id) {
                            self.notes().remove(&name);
                            busy.remove(&name);
                        }
                    }
                    // A defect: the same step would panic again, so it waits for
                    // the next start.
                    Err(error) => tracing::error!(database = ?names.remove(&error.id()), "a rotation's worker failed"),
                },
            }
        }
    }

    fn moving(&self) -> Vec<DatabaseName> {
        let state = self.store.state();
        let moving = |record: &RotationRecord| record.run.as_ref().is_some_and(Run::is_moving);
        state.rotations.iter().filter(|(_, stored)| moving(&stored.value)).map(|(name, _)| name.clone()).collect()
    }

    /// Begins what is due by its schedule.
    async fn begin_due(&self) {
        let now = self.now();
        let due = |record: &RotationRecord| {
            record.next_at.is_some_and(|at| at <= now) && !record.run.as_ref().is_some_and(Run::is_open)
        };
        let state = self.store.state();
        for stored in state.rotations.values().filter(|stored| due(&stored.value)) {
            let name = stored.value.database.clone();
            let began = self.store.mutate(ACTOR, {
                let name = name.clone();
                move |draft| {
                    let Some(before) = draft.state().rotations.get(&name).cloned() else { return Ok(()) };
                    let record = begin(draft, &before.value, Wish::default())?;
                    draft.event(event("begin by schedule", &record, &before.value));
                    draft.put(record);
                    Ok(())
                }
            });
            match began.await {
                Ok(()) => tracing::info!(database = %name, "a scheduled rotation begins"),
                Err(failure) => {
                    tracing::error!(database = %name, error = failure.message, "a scheduled rotation cannot begin");
                }
            }
        }
    }

    /// Does step after step until there is nothing left that moves by itself.
    async fn drive(&self, name: &DatabaseName) {
        while let Some(task) = self.task(name) {
            let expected = task.run.clone();
            let advance: Advance = match self.next(&task).await {
                Ok(Some(advance)) => advance,
                // Somebody has changed the record meanwhile.
                Ok(None) => continue,
                Err(reason) => Box::new(move |_, _| Err(reason)),
            };
            if let Err(failure) = self.commit(name.clone(), expected, advance).await {
                // The step is done again, which it may be.
                tracing::error!(database = %name, error = failure.message, "a rotation's step cannot be recorded");
                self.note(name, format!("the store, which cannot record the step: {}", failure.message));
                sleep(STORE_PAUSE).await;
            }
        }
    }

    fn task(&self, name: &DatabaseName) -> Option<Task> {
        let state = self.store.state();
        let record = state.rotations.get(name)?.value.clone();
        let run = record.run.clone().filter(Run::is_moving)?;
        let database = state.databases.get(name)?.value.clone();
        Some(Task { database, record, run })
    }

    /// True while the record still asks for the step that is being done.
    pub(super) fn still_wanted(&self, task: &Task) -> bool {
        let state = self.store.state();
        let held = state.rotations.get(&task.record.database).and_then(|stored| stored.value.run.as_ref());
        held.is_some_and(|held| same_step(held, &task.run))
    }

    async fn commit(&self, name: DatabaseName, expected: Run, advance: Advance) -> Result<(), Failure> {
        let change = move |draft: &mut Draft<'_>| {
            let Some(before) = draft.state().rotations.get(&name).cloned() else { return Ok(()) };
            let mut record = before.value.clone();
            let Some(mut run) = record.run.take().filter(|held| same_step(held, &expected)) else { return Ok(()) };
            run.failure = advance(draft, &mut run).err();
            run.changed_at = draft.now();
            if !run.is_open() {
                run.old.password = nla_domain::secret::Secret::default();
                run.new.password = nla_domain::secret::Secret::default();
            }
            let (step, failure) = (run.step.as_str(), run.failure.clone());
            match failure {
                None => tracing::info!(database = %name, number = run.number, step, "a rotation has reached a step"),
                Some(failure) => {
                    let next = way_forward(&record, &run);
                    tracing::error!(database = %name, number = run.number, after = step, failure, next, "a rotation has failed");
                }
            }
            record.run = Some(run);
            draft.event(event(step, &record, &before.value));
            draft.put(record);
            Ok(())
        };
        self.store.mutate(ACTOR, change).await
    }
}

fn same_step(one: &Run, other: &Run) -> bool {
    let key = |run: &Run| (run.number, run.step, run.reverting, run.force, run.is_moving());
    key(one) == key(other)
}
