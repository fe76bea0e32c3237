//! From a backup to a store, all or nothing. The store is made in a folder of
//! its own beside the place where it will be, checked as any store that is
//! opened, given a new epoch with its first commit, and only then put in place
//! by one rename. What was there before is moved aside and never deleted.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use nla_domain::{
    clock::Timestamp,
    hex,
    id::{Epoch, Revision},
};
use nla_proto::{backup::BackupPair, convert, failure::Failure, files, v1};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

use super::{
    RestoreError,
    check::{BackupReport, Locked, Unlocked},
};
use crate::{
    config::beside,
    crypto::{Kek, Keyring, Tree, random},
    key_rotation::wanted,
    store::{
        Draft, KeysRecord, StoreOptions,
        backend::{Backend as _, Write},
        error::{BackendError, CommitError, StoreError},
        header, load,
        mark::Mark,
        open::{self, DATABASE, Lock},
        record::{Record, RecordKey},
        sled::SledBackend,
    },
};

/// Stands in the folder until the store in it is whole.
const MARKER: &str = "restoring";
/// One commit of the new database; the disk's free space is looked at before
/// each, and the reserve is far larger.
const BATCH_PAIRS: usize = 1_024;
const BATCH_BYTES: usize = 4 << 20;
/// sled's threads end a moment after it was dropped.
const SLED_PATIENCE: Duration = Duration::from_secs(10);
/// As audit events name the program itself.
const ACTOR: &str = "control-plane";

/// Where to, and whether something may be there.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The store that will be.
    pub store: StoreOptions,
    /// Moves a store that is there aside; otherwise it is refused.
    pub replace: bool,
}

/// What was restored.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The backup.
    pub report: BackupReport,
    /// Where it is now.
    pub dir: PathBuf,
    /// The store's new epoch.
    pub epoch: Epoch,
    /// Where the former store was moved.
    pub moved: Option<PathBuf>,
    /// Open join tokens, which were made void.
    pub join_tokens: usize,
    /// Names of the operators and edges that are let in.
    pub operators: Vec<String>,
    /// See `operators`.
    pub edges: Vec<String>,
}

/// Puts a backup in place. Blocks.
///
/// # Errors
/// [`RestoreError`]; what was there before is then there as it was.
pub fn restore<R: Read>(backup: Locked<R>, kek: &Kek, options: &RestoreOptions) -> Result<Restored, RestoreError> {
    let dir = options.store.dir.clone();
    let there = dir.symlink_metadata().is_ok();
    if there && !options.replace {
        return Err(StoreError::Exists { dir }.into());
    }
    // Held to the end: the service must not serve what is moved away.
    let _former = if there { Some(former(&dir, backup.store_id())?) } else { None };
    let unlocked = backup.unlock(kek)?;
    let workshop = Workshop::open(&dir)?;
    let made = fill(unlocked, &workshop, options);
    let made = match made.and_then(|made| workshop.finish().map(|()| made)) {
        Ok(made) => made,
        Err(error) => {
            workshop.remove();
            return Err(error);
        }
    };
    swap(&workshop.dir, &dir, there).inspect_err(|_| workshop.remove())?;
    // From here on the workshop holds the former store, and nothing may remove it.
    let moved = there.then(|| set_aside(&workshop.dir, &dir, made.at));
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = File::open(parent).and_then(|parent| parent.sync_all()) {
        let what = "the store is restored, but a loss of power in the next minute may undo it: the folder above could not be synchronised";
        tracing::warn!(%error, dir = %parent.display(), "{what}");
    }
    Ok(Restored { dir, moved, ..made.restored })
}

/// Locks the store that is to be replaced, unless it is another one's. One
/// whose header is lost cannot be told; it is moved aside like any.
fn former(dir: &Path, store_id: &[u8]) -> Result<Lock, RestoreError> {
    let lock = Lock::take(dir)?;
    match header::read(dir) {
        Ok(keys) if keys.store_id != store_id => Err(RestoreError::OtherStore {
            dir: dir.to_owned(),
            there: hex::encode(&keys.store_id),
            found: hex::encode(store_id),
        }),
        Ok(_) => Ok(lock),
        Err(error) => {
            tracing::warn!(%error, dir = %dir.display(), "whose store this was cannot be told; it is moved aside");
            Ok(lock)
        }
    }
}

/// The folder in which the store is made.
struct Workshop {
    dir: PathBuf,
    _lock: Lock,
}

impl Workshop {
    fn open(target: &Path) -> Result<Self, RestoreError> {
        let dir = beside(target, ".restoring");
        if dir.symlink_metadata().is_ok() {
            // What an attempt that was killed has left; anything else stays.
            if !dir.join(MARKER).is_file() {
                return Err(RestoreError::InTheWay(dir));
            }
            drop(Lock::take(&dir)?);
            fs::remove_dir_all(&dir).map_err(io_error("remove", &dir))?;
        }
        files::create_private_dir(&dir).map_err(StoreError::from)?;
        let marked = files::write_private(&dir.join(MARKER), b"").map_err(StoreError::from);
        let lock = marked.and_then(|()| Lock::take(&dir));
        let lock = lock.inspect_err(|_| drop(fs::remove_dir_all(&dir)))?;
        Ok(Self { dir, _lock: lock })
    }

    /// From here on the folder is a store.
    fn finish(&self) -> Result<(), RestoreError> {
        sync(&self.dir).map_err(io_error("sync", &self.dir))?;
        let marker = self.dir.join(MARKER);
        fs::remove_file(&marker).map_err(io_error("remove", &marker))?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(io_error("sync", &self.dir))?;
        Ok(())
    }

    fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(%error, dir = %self.dir.display(), "an unfinished store could not be removed");
        }
    }
}

struct Made {
    restored: Restored,
    at: Timestamp,
}

/// Makes the store in the workshop.
fn fill<R: Read>(backup: Unlocked<R>, workshop: &Workshop, options: &RestoreOptions) -> Result<Made, RestoreError> {
    let target = &options.store.dir;
    let options = StoreOptions { dir: workshop.dir.clone(), ..options.store.clone() };
    let backend = Arc::new(open::open_database(&options)?);
    let made = fill_database(backup, &backend, &options, target);
    let broken = made.is_err();
    close(backend, &workshop.dir, broken);
    made
}

fn fill_database<R: Read>(
    backup: Unlocked<R>,
    backend: &Arc<SledBackend>,
    options: &StoreOptions,
    target: &Path,
) -> Result<Made, RestoreError> {
    let header = backup.header().to_vec();
    let mut batch = Batch::new(backend, target);
    let (report, keyring) = backup.read(|tree, pair| batch.add(tree, pair))?;
    batch.commit()?;
    let keys = KeysRecord {
        // A replacement that was asked for before the backup is over, or was
        // given up with the store that asked for it.
        kek_generation: header::parse(&header, &options.dir)?.kek_generation(),
        // The store that was backed up may live on under the same data keys,
        // and each of the two counts only its own seals.
        data_generation: keyring.newest(Tree::Meta) + 1,
        data_rotated_at: Some(options.clock.now()),
        ..KeysRecord::default()
    };
    let restored = first_commit(report, keyring, keys, backend, options, target)?;
    // Last: a store without it is known to be unfinished.
    header::write_bytes(&options.dir, &header).map_err(|error| full(error.into(), target))?;
    Ok(restored)
}

/// Gives the store its new life.
fn first_commit(
    report: BackupReport,
    keyring: Keyring,
    keys: KeysRecord,
    backend: &Arc<SledBackend>,
    options: &StoreOptions,
    target: &Path,
) -> Result<Made, RestoreError> {
    let mut loaded = load::load(backend.as_ref(), &keyring).map_err(|error| error.of(target))?;
    let epoch = Epoch(random().map_err(StoreError::from)?);
    let at = options.clock.now();
    let former_epoch = loaded.head.epoch;
    for place in [&mut loaded.head.epoch, &mut loaded.state.epoch] {
        *place = epoch;
    }
    loaded.head.former_epoch = Some(former_epoch);
    loaded.state.former_epoch = Some(former_epoch);
    loaded.head.restored_at = Some(at);
    loaded.state.restored_at = Some(at);
    let mark = Mark::create(&options.dir, &keyring, loaded.head.commits).map_err(|error| full(error, target))?;
    let state = &loaded.state;
    let operators = state.operators.values().filter(|entry| entry.value.revoked.is_none());
    let operators = operators.map(|entry| format!("{} ({})", entry.value.name, entry.value.level)).collect();
    let edges = state.edges.values().filter(|entry| entry.value.revoked.is_none());
    let edges = edges.map(|entry| entry.value.id.to_string()).collect();
    let mut writer = open::writer(options, backend.clone(), keyring, loaded, mark);
    let join_tokens = writer.first(ACTOR, |draft| record(draft, &report, keys, epoch)).map_err(|failure| {
        // The text tells of a full disk, too.
        StoreError::First(failure)
    })?;
    writer.mark.sync()?;
    let restored = Restored { report, dir: PathBuf::new(), epoch, moved: None, join_tokens, operators, edges };
    Ok(Made { restored, at })
}

/// The event, and the end of join tokens: which of them were used after the
/// backup is not known, and none may work twice.
fn record(draft: &mut Draft<'_>, report: &BackupReport, keys: KeysRecord, epoch: Epoch) -> Result<usize, Failure> {
    let open: Vec<RecordKey> = draft
        .state()
        .joins
        .values()
        .filter(|entry| entry.value.spent_at.is_none())
        .map(|entry| Record::Join(entry.value.clone()).key())
        .collect();
    let manifest = &report.manifest;
    let made_at = manifest.created_at.as_ref().and_then(|at| convert::from_timestamp("created_at", at).ok());
    draft.event(v1::AdminEvent {
        actor: ACTOR.to_owned(),
        action: "restore".to_owned(),
        object: format!("store/{}", hex::encode(&manifest.store_id)),
        outcome: v1::Outcome::Succeeded.into(),
        before_json: serde_json::json!({ "epoch": hex::encode(&manifest.epoch) }).to_string(),
        after_json: serde_json::json!({
            "epoch": hex::encode(&epoch.0),
            "backup_revision": manifest.revision,
            "backup_made_at": made_at.map(|at| at.to_string()),
            "join_tokens_made_void": open.len(),
            "data_keys_asked_for": keys.data_generation,
            "by_local_user": rustix::process::geteuid().as_raw(),
        })
        .to_string(),
        ..Default::default()
    });
    let kek_rotated_at = wanted(draft.state()).kek_rotated_at;
    draft.put(KeysRecord { kek_rotated_at, ..keys });
    for key in &open {
        draft.remove(key);
    }
    Ok(open.len())
}

/// Pairs on their way into the database.
struct Batch<'a> {
    backend: &'a SledBackend,
    target: &'a Path,
    writes: Vec<Write>,
    bytes: usize,
}

impl<'a> Batch<'a> {
    fn new(backend: &'a SledBackend, target: &'a Path) -> Self {
        Self { backend, target, writes: Vec::new(), bytes: 0 }
    }

    fn add(&mut self, tree: Tree, pair: BackupPair) -> Result<(), RestoreError> {
        self.bytes += pair.key.len() + pair.value.len();
        self.writes.push(Write { tree, key: pair.key, value: Some(pair.value) });
        if self.writes.len() >= BATCH_PAIRS || self.bytes >= BATCH_BYTES { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), RestoreError> {
        self.bytes = 0;
        let writes = std::mem::take(&mut self.writes);
        self.backend.commit(&writes).map_err(|error| match error {
            CommitError::DiskFull { .. } => RestoreError::DiskFull { dir: self.target.to_owned() },
            CommitError::Broken(source) => {
                full(StoreError::Unreadable { dir: self.target.to_owned(), source }, self.target)
            }
        })
    }
}

/// Names a full disk where that is the cause.
fn full(error: StoreError, target: &Path) -> RestoreError {
    let is_full = |error: &std::io::Error| error.raw_os_error() == Some(Errno::NOSPC.raw_os_error());
    let found = match &error {
        StoreError::Io { source, .. } => is_full(source),
        StoreError::File(files::FileError::Io { source, .. }) => is_full(source),
        StoreError::Unreadable { source: BackendError::Io(source), .. } => is_full(source),
        StoreError::Unreadable { source: BackendError::Sled(::sled::Error::Io(source)), .. } => is_full(source),
        _ => false,
    };
    if found { RestoreError::DiskFull { dir: target.to_owned() } } else { error.into() }
}

/// Lets go of the database. After a failed write sled may wait for ever to
/// write the rest, which nobody needs then.
fn close(backend: Arc<SledBackend>, dir: &Path, broken: bool) {
    let (done, dropped) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(backend);
        let _ = done.send(());
    });
    let patience = if broken { Duration::from_secs(2) } else { SLED_PATIENCE };
    let _ = dropped.recv_timeout(patience);
    let since = Instant::now();
    if let Ok(file) = File::open(dir.join(DATABASE).join("db")) {
        while !broken && file.try_lock().is_err() && since.elapsed() < SLED_PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> RestoreError {
    let path = path.to_owned();
    move |source| RestoreError::Store(StoreError::Io { action, path, source })
}

/// Makes a folder outlive a loss of power.
fn sync(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}

/// Puts the new store where it belongs, in one step. The former one is then
/// where the new one was made. A failure has changed nothing.
fn swap(made: &Path, dir: &Path, there: bool) -> Result<(), RestoreError> {
    let how = if there { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    let failed = |error: Errno| io_error("put the restored store in the place of", dir)(error.into());
    renameat_with(CWD, made, CWD, dir, how).map_err(failed)
}

/// Gives the former store a name of its own; answers where it is.
fn set_aside(former: &Path, dir: &Path, at: Timestamp) -> PathBuf {
    let stamp: String = at.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let aside = beside(dir, &format!(".before-restore-{stamp}"));
    match renameat_with(CWD, former, CWD, &aside, RenameFlags::NOREPLACE) {
        Ok(()) => aside,
        Err(error) => {
            tracing::warn!(%error, "the former store keeps a temporary name");
            former.to_owned()
        }
    }
}

impl Restored {
    /// The revision of the store now.
    pub fn revision(&self) -> Revision {
        self.report.revision
    }
}
