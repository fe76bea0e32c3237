//! The one writer: a thread that takes changes from a bounded queue, applies
//! them in order to the newest state and commits as many at once as are
//! waiting, so that they share one sync of the disk. A change is answered, and
//! seen by readers, only after its commit is durable.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use arc_swap::ArcSwap;
use nla_domain::{clock::WallClock, error::ErrorKind, id::Revision};
use nla_proto::failure::Failure;
use tokio::sync::{mpsc, watch};

use super::{
    backend::Backend,
    backup::Freezer,
    batch::{Batch, CHANGES_KEPT, ChangedItems},
    draft::Draft,
    error::{CommitError, StoreError},
    head::Head,
    mark::Mark,
    record::RecordKey,
    state::State,
};
use crate::crypto::Keyring;

/// Changes that may wait. Each holds its request, so the queue is bounded;
/// callers beyond it wait for a place.
const QUEUE_LENGTH: usize = 1_024;
/// Most changes in one commit: a larger one would delay the first of them more
/// than it helps the others.
const MAX_BATCH: usize = 256;

/// What the writer is asked to do.
pub(super) enum Order {
    /// To change something.
    Change(Job),
    /// To look at what is committed while nothing changes it.
    Inspect(Inspection),
    /// To do something about the keys while nothing is sealed.
    Keys(KeyStep),
}

/// Looks at the database and its head between two commits.
pub(super) type Inspection = Box<dyn FnOnce(&dyn Backend, &Head) + Send>;
/// Works on the header and the keys between two commits.
pub(super) type KeyStep = Box<dyn FnOnce(&mut Writer) + Send>;
/// Applies itself to a batch, and gives what answers the caller once the
/// commit's end is known.
pub(super) type Job = Box<dyn FnOnce(&mut Batch<'_>) -> Answer + Send>;
/// Answers a caller.
pub(super) type Answer = Box<dyn FnOnce(Result<(), Failure>) + Send>;

/// What readers see.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) state: ArcSwap<State>,
    pub(super) changes: RwLock<VecDeque<ChangedItems>>,
    pub(super) revision: watch::Sender<Revision>,
    pub(super) audit_count: watch::Sender<u64>,
    /// A commit failed half-way; nothing more is committed.
    pub(super) broken: AtomicBool,
}

impl Published {
    pub(super) fn new(state: State, head: &Head, changes: VecDeque<ChangedItems>) -> Self {
        Self {
            revision: watch::Sender::new(state.revision),
            audit_count: watch::Sender::new(head.audit_count),
            state: ArcSwap::from_pointee(state),
            changes: RwLock::new(changes),
            broken: AtomicBool::new(false),
        }
    }
}

/// What the writer owns.
pub(super) struct Writer {
    pub(super) backend: Arc<Freezer>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) published: Arc<Published>,
    pub(super) head: Head,
    pub(super) elements: HashMap<RecordKey, [u8; 32]>,
    pub(super) mark: Mark,
}

impl Writer {
    /// Starts the thread. It ends when all senders are gone.
    pub(super) fn spawn(mut self) -> Result<(mpsc::Sender<Order>, thread::JoinHandle<()>), StoreError> {
        let (sender, mut queue) = mpsc::channel::<Order>(QUEUE_LENGTH);
        let run = move || {
            let mut held = None;
            while let Some(order) = held.take().or_else(|| queue.blocking_recv()) {
                match order {
                    Order::Inspect(inspect) => inspect(self.backend.as_ref(), &self.head),
                    Order::Keys(step) => step(&mut self),
                    Order::Change(first) => {
                        let mut jobs = vec![first];
                        while jobs.len() < MAX_BATCH && held.is_none() {
                            match queue.try_recv() {
                                Ok(Order::Change(job)) => jobs.push(job),
                                Ok(other) => held = Some(other),
                                Err(_) => break,
                            }
                        }
                        self.run(jobs);
                    }
                }
            }
            if let Err(error) = self.mark.sync() {
                tracing::warn!(%error, "the store's mark could not be synced");
            }
        };
        let handle = thread::Builder::new()
            .name("store-writer".into())
            .spawn(run)
            .map_err(|source| StoreError::Io { action: "start the writer of", path: "the store".into(), source })?;
        Ok((sender, handle))
    }

    /// Runs the first change of a new or restored store, before there is a
    /// thread.
    pub(super) fn first<T>(
        &mut self,
        actor: &str,
        change: impl FnOnce(&mut Draft<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let state = self.published.state.load_full();
        let mut batch = Batch::new(&state, &self.head, &mut self.elements, &self.keyring, self.clock.now());
        let value = batch.change(actor, change)?;
        commit(batch, self.backend.as_ref(), &self.published, &mut self.head)?;
        self.advance_mark();
        Ok(value)
    }

    /// Commits a batch that nobody else has a part in.
    pub(super) fn alone<T>(
        &mut self,
        apply: impl FnOnce(&mut Batch<'_>, &dyn Backend) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let state = self.published.state.load_full();
        let mut batch = Batch::new(&state, &self.head, &mut self.elements, &self.keyring, self.clock.now());
        let value = match apply(&mut batch, self.backend.as_ref()) {
            Ok(value) => value,
            Err(failure) => {
                batch.abandon();
                return Err(failure);
            }
        };
        commit(batch, self.backend.as_ref(), &self.published, &mut self.head)?;
        self.advance_mark();
        Ok(value)
    }

    /// Commits a batch and answers all of its callers.
    fn run(&mut self, jobs: Vec<Job>) {
        let state = self.published.state.load_full();
        let mut batch = Batch::new(&state, &self.head, &mut self.elements, &self.keyring, self.clock.now());
        let answers: Vec<Answer> = jobs.into_iter().map(|job| job(&mut batch)).collect();
        let committed = commit(batch, self.backend.as_ref(), &self.published, &mut self.head);
        if committed.is_ok() {
            self.advance_mark();
        }
        for answer in answers {
            answer(committed.clone());
        }
    }

    /// A mark that cannot be moved protects less, and stops nothing.
    fn advance_mark(&self) {
        if let Err(error) = self.mark.advance(&self.keyring, self.head.commits) {
            tracing::warn!(%error, cause = ?std::error::Error::source(&error), "the store's mark could not be moved");
        }
    }
}

/// Makes the batch durable, then visible; or neither.
fn commit(mut batch: Batch<'_>, backend: &dyn Backend, published: &Published, head: &mut Head) -> Result<(), Failure> {
    if batch.writes.is_empty() {
        return Ok(());
    }
    let committed = if published.broken.load(Ordering::Acquire) {
        Err(Failure::new(ErrorKind::Unavailable, BROKEN))
    } else {
        let sealed = batch.seal_head().map_err(|error| Failure::new(ErrorKind::Unavailable, error.to_string()));
        sealed.and_then(|()| backend.commit(&batch.writes).map_err(|error| failure_of(&error, published)))
    };
    match committed {
        Ok(()) => {
            let done = batch.done();
            *head = done.head;
            publish(published, done.state, done.changes, head.audit_count);
        }
        Err(_) => batch.abandon(),
    }
    committed
}

const BROKEN: &str =
    "the store could not write and takes no more changes: repair the disk, then restart the control plane";

fn failure_of(error: &CommitError, published: &Published) -> Failure {
    match error {
        CommitError::DiskFull { .. } => {
            tracing::warn!(%error, "commit refused");
        }
        CommitError::Broken(source) => {
            tracing::error!(error = %source, cause = ?source, "the store is broken");
            published.broken.store(true, Ordering::Release);
        }
    }
    Failure::new(ErrorKind::Unavailable, error.to_string())
}

/// The log of changes first: whoever sees the new revision finds its items.
fn publish(published: &Published, state: State, changes: Vec<ChangedItems>, audit_count: u64) {
    let revision = state.revision;
    {
        let mut log = published.changes.write().unwrap_or_else(PoisonError::into_inner);
        log.extend(changes);
        while log.len() as u64 > CHANGES_KEPT {
            log.pop_front();
        }
    }
    published.state.store(Arc::new(state));
    published.revision.send_if_modified(|seen| std::mem::replace(seen, revision) != revision);
    published.audit_count.send_if_modified(|seen| std::mem::replace(seen, audit_count) != audit_count);
}
