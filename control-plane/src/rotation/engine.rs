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
/// Scheduled rotations that are under way at the same time: what goes wrong with
/// one should not have gone wrong with all.
const AT_ONCE: usize = 2;
/// Until a scheduled rotation that could not begin is tried again.
const PUT_OFF: Duration = Duration::from_secs(3600);
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
        let scheduled = |run: &Run| run.is_moving() && run.started_by == ACTOR;
        let runs = state.rotations.values().filter_map(|stored| stored.value.run.as_ref());
        let room = AT_ONCE.saturating_sub(runs.filter(|run| scheduled(run)).count());
        for stored in state.rotations.values().filter(|stored| due(&stored.value)).take(room) {
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
                    self.put_off(name, failure.message).await;
                }
            }
        }
    }

    /// Records that a scheduled rotation could not begin, and tries it later.
    async fn put_off(&self, name: DatabaseName, why: String) {
        let shown = name.clone();
        let change = move |draft: &mut Draft<'_>| {
            let Some(before) = draft.state().rotations.get(&name).cloned() else { return Ok(()) };
            let mut record = before.value.clone();
            record.next_at = Some(draft.now().plus(PUT_OFF));
            let mut event = event("begin by schedule", &record, &before.value);
            event.outcome = nla_proto::v1::Outcome::Failed.into();
            event.reason = why;
            draft.event(event);
            draft.put(record);
            Ok(())
        };
        if let Err(failure) = self.store.mutate(ACTOR, change).await {
            tracing::error!(database = %shown, error = failure.message, "that cannot be recorded");
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

#[cfg(test)]
mod tests {
    use super::{super::sample, *};
    use crate::stream::Began;

    #[tokio::test]
    async fn schedules_begin_two_at_once_and_put_off_what_cannot_begin() {
        let (store, clock, _folder) = sample::store(|draft| {
            for name in ["d1", "d2", "d3", "d4", "d5"] {
                draft.put(sample::database(name, "db.example"));
                // The first one's pair is the second one's as well.
                let roles = if name == "d2" { "d1" } else { name };
                let mut record = sample::record(name, "boss", [&format!("{roles}_a"), &format!("{roles}_b")]);
                record.every = Some(Duration::from_secs(36_000));
                record.next_at = Some(draft.now());
                draft.put(record);
            }
        });
        let engine =
            Engine::new(store.clone(), Registry::new(8, Began::now(Timestamp::from_micros(0), None), []), clock);
        for _ in 0..4 {
            engine.begin_due().await;
        }
        let state = store.state();
        let moving: Vec<bool> = state.rotations.values().map(|stored| stored.value.run.is_some()).collect();
        assert_eq!(moving, [false, false, true, true, false]);
        let after = |name| state.rotations.get(name).unwrap().value.next_at.unwrap().since(engine.now());
        assert_eq!((after("d1"), after("d2")), (PUT_OFF, PUT_OFF));
        assert!((32_400..=36_000).contains(&after("d3").as_secs()), "{:?}", after("d3"));
    }
}
