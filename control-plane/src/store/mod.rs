//! The control plane's store: typed records, the audit log and the log of
//! changes, encrypted, in one transaction for each change, durable before it
//! is acknowledged. Services read [`Store::state`] and write by closures that
//! run one after the other on the newest state.
//!
//! From top to bottom: [`Store`] (the handle), `writer` (one thread, group
//! commit), `batch` (what a commit writes), `codec` and `head` (bytes),
//! `backend` (the seam), `sled` (the embedded database).

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use nla_domain::{
    error::ErrorKind,
    id::{EdgeId, Revision, TokenId},
    snapshot::{ItemKey, Settings},
};
use nla_proto::{failure::Failure, v1};
use tokio::sync::{mpsc, oneshot, watch};

mod audit;
mod backend;
mod backup;
mod batch;
mod codec;
mod draft;
mod error;
mod head;
mod header;
mod keys;
mod load;
mod mark;
mod once;
mod open;
mod record;
mod reseal;
mod sled;
mod state;
mod token_use;
mod writer;

pub use audit::{AuditPage, AuditQuery};
pub use backup::{
    BackupFailed, BackupReport, Frozen, Locked, RestoreError, RestoreOptions, Restored, Unlocked, restore,
};
pub use draft::Draft;
pub use error::{BackendError, StoreError};
pub use keys::KeyFacts;
pub use once::{Once, REMEMBERED};
pub use open::StoreOptions;
pub use record::{
    AnswerRecord, CaRecord, CaSlot, CertificateRecord, EdgeRecord, IngestRecord, JoinRecord, KeysRecord, Login, Meta,
    Notice, OperatorRecord, Pause, Record, RecordKey, Revocation, RotationRecord, Run, SourceRecord, Step, Stored,
    TokenRecord,
};
pub use reseal::Slice;
pub use state::{Records, State};
pub use token_use::{TokenUse, TokenUsesRecord};

use self::{
    backend::Backend,
    backup::Freezer,
    batch::Batch,
    load::LoadError,
    open::Lock,
    writer::{Order, Published, Writer},
};
use crate::crypto::{Kek, KekFile, Keyring};

/// How long closing waits for a database that failed to write.
const BROKEN_PATIENCE: Duration = Duration::from_secs(2);

/// A handle to the open store; clones share it. Dropping the last one, or
/// [`Store::close`], ends the writer and gives the folder free.
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    published: Arc<Published>,
    keyring: Arc<Keyring>,
    /// Empty once the store is closed.
    orders: RwLock<Option<mpsc::Sender<Order>>>,
    database: RwLock<Option<(Arc<Freezer>, Lock)>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// What [`Store::verify`] has checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyReport {
    /// The revision that was checked.
    pub revision: Revision,
    /// Records that were opened and compared with the head.
    pub records: u64,
    /// Audit events that were opened and chained.
    pub audit_events: u64,
}

impl Store {
    /// Makes a new store with its first change, all or nothing. The change
    /// must add an audit event. Blocks.
    ///
    /// # Errors
    /// [`StoreError`]; a folder that exists is left as it is.
    pub fn create<T>(
        options: StoreOptions,
        kek: &Kek,
        settings: Settings,
        first: impl FnOnce(&mut Draft<'_>) -> Result<T, Failure>,
    ) -> Result<(Self, T), StoreError> {
        open::create(options, kek, settings, first)
    }

    /// Opens a store and checks it against its head. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong; the files are then as they were.
    pub fn open(options: StoreOptions, kek: &Kek) -> Result<Self, StoreError> {
        open::open(options, kek)
    }

    /// Opens a store with the key in a file; a replacement of that key which
    /// was cut short is completed or undone first. Blocks.
    ///
    /// # Errors
    /// As [`Store::open`], and [`StoreError::Key`].
    pub fn open_with(options: StoreOptions, file: &KekFile) -> Result<Self, StoreError> {
        open::open_with(options, file)
    }

    /// Wraps the data keys by another key-encryption key, and gives its
    /// generation. Blocks. For a store that nobody has open.
    ///
    /// # Errors
    /// As [`Store::open_with`]; the old key opens the store then.
    pub fn rewrap(options: &StoreOptions, file: &KekFile, new_path: &Path, new: &Kek) -> Result<u64, StoreError> {
        open::rewrap(options, file, new_path, new)
    }

    fn start(dir: PathBuf, writer: Writer, lock: Lock) -> Result<Self, StoreError> {
        let (published, keyring, backend) = (writer.published.clone(), writer.keyring.clone(), writer.backend.clone());
        let (orders, handle) = writer.spawn()?;
        Ok(Self(Arc::new(Shared {
            dir,
            published,
            keyring,
            orders: RwLock::new(Some(orders)),
            database: RwLock::new(Some((backend, lock))),
            writer: Mutex::new(Some(handle)),
        })))
    }

    /// The random id of this store, the same in all of its backups.
    pub fn id(&self) -> [u8; 16] {
        *self.0.keyring.store_id()
    }

    /// The newest committed state.
    pub fn state(&self) -> Arc<State> {
        self.0.published.state.load_full()
    }

    /// Changes after each commit that [`Store::state`] shows.
    pub fn revisions(&self) -> watch::Receiver<Revision> {
        self.0.published.revision.subscribe()
    }

    /// The position of the newest audit event, as it grows.
    pub fn audit_head(&self) -> watch::Receiver<u64> {
        self.0.published.audit_count.subscribe()
    }

    /// The items that changed after revision `from`, up to and with `to`, each
    /// once and in order; `None` when that is not known any more.
    pub fn changes(&self, from: Revision, to: Revision) -> Option<Vec<ItemKey>> {
        let log = self.0.published.changes.read().unwrap_or_else(PoisonError::into_inner);
        let newest = log.back().map_or(Revision(0), |(revision, _)| *revision);
        let oldest = log.front().map_or(newest.next(), |(revision, _)| *revision);
        if from > to || to > newest || from.next() < oldest {
            return None;
        }
        let begin = usize::try_from(from.next().0 - oldest.0).ok()?;
        let count = usize::try_from(to.0 - from.0).ok()?;
        let mut items: Vec<ItemKey> =
            log.iter().skip(begin).take(count).flat_map(|(_, items)| items.iter().cloned()).collect();
        items.sort_unstable();
        items.dedup();
        Some(items)
    }

    /// Runs a change on the newest state. When this returns a value, it is
    /// durable and visible. The change runs even if the caller stops waiting.
    ///
    /// # Errors
    /// What the change refused with, or why the store could not commit it;
    /// the state is then as it was.
    pub async fn mutate<T: Send + 'static>(
        &self,
        actor: &str,
        change: impl FnOnce(&mut Draft<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let actor = actor.to_owned();
        self.order(move |batch| batch.change(&actor, change)).await
    }

    /// Like [`Store::mutate`], once for each actor and key: a repetition gets
    /// the first answer, and another request under the same key is a conflict.
    ///
    /// # Errors
    /// As [`Store::mutate`]. A failure is not remembered.
    pub async fn mutate_once<T: prost::Message + Default + 'static>(
        &self,
        actor: &str,
        once: Once,
        change: impl FnOnce(&mut Draft<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.mutate(actor, move |draft| once::run(draft, once, change)).await
    }

    /// Stores an edge's events, each once, and answers up to which number all
    /// events of that start of the edge are durable. Events behind a gap are
    /// not stored; the edge sends them again after what is missing.
    ///
    /// # Errors
    /// When the batch is malformed or the store could not commit it.
    pub async fn audit_append(
        &self,
        edge: &EdgeId,
        boot: &str,
        first_sequence: u64,
        events: Vec<v1::CallEvent>,
    ) -> Result<u64, Failure> {
        if boot.is_empty() || boot.len() > 64 || !boot.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::invalid("boot_id", "must be 1 to 64 printable characters"));
        }
        if first_sequence == 0 || first_sequence.checked_add(events.len() as u64).is_none() {
            return Err(Failure::invalid("first_sequence", "numbers begin with 1"));
        }
        let (edge, boot) = (edge.clone(), boot.to_owned());
        self.order(move |batch| batch.ingest(&edge, &boot, first_sequence, events)).await
    }

    /// Records an administrative event that changes nothing, such as a refused
    /// attempt.
    ///
    /// # Errors
    /// When the store could not commit it.
    pub async fn audit_admin(&self, event: v1::AdminEvent) -> Result<(), Failure> {
        self.order(move |batch| batch.append_admin(event)).await
    }

    /// Keeps when tokens were last used, without a revision: no edge has to
    /// hear of it.
    ///
    /// # Errors
    /// When the store could not commit it.
    pub async fn token_uses_put(&self, uses: Vec<(TokenId, TokenUse)>) -> Result<(), Failure> {
        self.order(move |batch| batch.put_token_uses(uses)).await
    }

    /// A page of the audit log, newest first. It may hold fewer events than
    /// asked for, even none, and still have a token for the next one.
    ///
    /// # Errors
    /// When the filter or token is malformed or the log cannot be read.
    pub async fn audit_page(
        &self,
        filter: v1::AuditFilter,
        page_size: u32,
        page_token: &str,
    ) -> Result<AuditPage, Failure> {
        let query = AuditQuery::try_from(filter)?;
        let last = audit::position(page_token, *self.0.published.audit_count.borrow())?;
        self.read(move |backend, keyring| audit::page(backend, keyring, last, &query, page_size)).await
    }

    /// The events after a position, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn audit_after(&self, after: u64, limit: usize) -> Result<Vec<v1::AuditEvent>, Failure> {
        let last = *self.0.published.audit_count.borrow();
        self.read(move |backend, keyring| audit::after(backend, keyring, after, last, limit)).await
    }

    /// Bytes on disk.
    ///
    /// # Errors
    /// When the database cannot tell.
    pub async fn size_bytes(&self) -> Result<u64, Failure> {
        self.read(|backend, _| Ok(backend.size_bytes()?)).await
    }

    /// Opens every record and every audit event and compares them with the
    /// head. Changes wait while records are checked, not for the audit log.
    ///
    /// # Errors
    /// [`StoreError`] names the first thing that does not fit.
    pub async fn verify(&self) -> Result<VerifyReport, StoreError> {
        let (answer, checked) = oneshot::channel();
        let (keyring, dir) = (self.0.keyring.clone(), self.0.dir.clone());
        let inspect = move |backend: &dyn Backend, head: &head::Head| {
            let loaded = load::load(backend, &keyring).map_err(|error| error.of(&dir));
            let loaded = loaded.and_then(|loaded| {
                let same = loaded.head == *head;
                same.then_some(loaded).ok_or_else(|| StoreError::damaged("its head is not the one last written"))
            });
            // Nobody waits any more: nothing is lost.
            let _ = answer.send(loaded.map(|loaded| (loaded.head, loaded.elements.len() as u64)));
        };
        self.send(Order::Inspect(Box::new(inspect))).await.map_err(|_| StoreError::Closed)?;
        let (head, records) = checked.await.map_err(|_| StoreError::Closed)??;
        let shared = self.0.clone();
        let walked = tokio::task::spawn_blocking(move || {
            let database = shared.database.read().unwrap_or_else(PoisonError::into_inner);
            let (backend, _) = database.as_ref().ok_or(StoreError::Closed)?;
            let walked = audit::walk(backend.as_ref(), &shared.keyring, &head, 1);
            let audit_events = walked.map_err(|error| error.of(&shared.dir))?;
            Ok(VerifyReport { revision: head.revision, records, audit_events })
        });
        walked.await.unwrap_or_else(|_| Err(StoreError::damaged("the audit log cannot be read")))
    }

    /// Finishes what is waiting, ends the writer and gives the folder free.
    /// Later calls on any clone fail.
    pub async fn close(&self) {
        let shared = self.0.clone();
        // A panic of the writer has been logged by its hook; there is nothing
        // left to close then.
        let _ = tokio::task::spawn_blocking(move || shared.close()).await;
    }

    async fn send(&self, order: Order) -> Result<(), Failure> {
        let closed = || Failure::new(ErrorKind::Unavailable, "the store is closed: the control plane is stopping");
        let orders = self.0.orders.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        orders.send(order).await.map_err(|_| closed())
    }

    async fn order<T: Send + 'static>(
        &self,
        apply: impl FnOnce(&mut Batch<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, answered) = oneshot::channel();
        let job = move |batch: &mut Batch<'_>| -> writer::Answer {
            let outcome = apply(batch);
            Box::new(move |committed| {
                // Nobody waits any more: the change is made all the same.
                let _ = answer.send(committed.and(outcome));
            })
        };
        self.send(Order::Change(Box::new(job))).await?;
        let lost = |_| Failure::new(ErrorKind::Internal, "the store's writer has stopped: restart the control plane");
        answered.await.map_err(lost)?
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Backend, &Keyring) -> Result<T, LoadError> + Send + 'static,
    ) -> Result<T, Failure> {
        let shared = self.0.clone();
        let result = tokio::task::spawn_blocking(move || {
            let database = shared.database.read().unwrap_or_else(PoisonError::into_inner);
            let closed = || Failure::new(ErrorKind::Unavailable, "the store is closed: the control plane is stopping");
            let (backend, _) = database.as_ref().ok_or_else(closed)?;
            read(backend.as_ref(), &shared.keyring).map_err(|error| {
                let error = error.of(&shared.dir);
                tracing::error!(%error, "reading the store failed");
                Failure::new(ErrorKind::Internal, error.to_string())
            })
        });
        result.await.unwrap_or_else(|_| Err(Failure::new(ErrorKind::Internal, "reading the store failed by a defect")))
    }
}

impl Shared {
    fn close(&self) {
        self.orders.write().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A change may hold the last handle; the writer cannot wait for itself.
        let elsewhere = |writer: &JoinHandle<()>| writer.thread().id() != std::thread::current().id();
        if let Some(writer) = writer.filter(elsewhere) {
            // A writer that panicked has said so already.
            let _ = writer.join();
        }
        // Readers hold the lock while they read; now the last owner goes.
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        let broken = self.published.broken.load(Ordering::Acquire);
        if let Some((backend, _lock)) = database.filter(|_| broken) {
            // After a failed write, sled may wait for ever to write the rest.
            // What was acknowledged is on the disk, so it is not waited for.
            let (done, dropped) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                drop(backend);
                let _ = done.send(());
            });
            let _ = dropped.recv_timeout(BROKEN_PATIENCE);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
