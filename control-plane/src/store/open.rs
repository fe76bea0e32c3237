//! Making and opening a store. Order matters: first the lock, then the header
//! and keys, then a trial on a copy of the database, and only then the
//! database itself, because sled repairs what it opens and would otherwise
//! change a damaged file before anyone could save it.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File, TryLockError},
    io::{Read, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use nla_domain::{clock::WallClock, id::Epoch, snapshot::Settings};
use nla_proto::{failure::Failure, files};

use super::{
    Draft, Store,
    backend::Backend,
    backup::Freezer,
    draft::blank,
    error::StoreError,
    head::Head,
    header, load,
    load::Loaded,
    mark::Mark,
    record::Record,
    sled::{SledBackend, guarded},
    writer::{Published, Writer},
};
use crate::crypto::{Kek, KekError, KekFile, Keyring, random};

pub(super) const DATABASE: &str = "sled";
const TRIAL: &str = "trial";
const LOCK: &str = "lock";

/// Databases up to this size are tried on a copy before they are opened; a
/// larger one would take long and much disk at each start.
const MAX_TRIAL_BYTES: u64 = 4 << 30;

/// What the copy may grow by while it is open.
const TRIAL_MARGIN_BYTES: u64 = 16 << 20;

/// Where a store is and how it behaves.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The store's own folder.
    pub dir: PathBuf,
    /// Tells the date.
    pub clock: Arc<dyn WallClock>,
    /// Memory for the database's pages.
    pub cache_bytes: u64,
    /// Changes are refused while the disk has less than this free.
    pub reserve_bytes: u64,
}

impl StoreOptions {
    /// sled's own default of 1 GiB is more than the control plane needs: what
    /// is read often is in memory already.
    pub const CACHE_BYTES: u64 = 64 << 20;
    /// Room for what was accepted before and for sled's own housekeeping.
    pub const RESERVE_BYTES: u64 = 64 << 20;

    /// The usual behaviour.
    pub fn new(dir: impl Into<PathBuf>, clock: Arc<dyn WallClock>) -> Self {
        Self { dir: dir.into(), clock, cache_bytes: Self::CACHE_BYTES, reserve_bytes: Self::RESERVE_BYTES }
    }
}

/// Held as long as the store is open.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    /// Unlocks, because closing is not enough: a process that was just started
    /// holds a copy of each open file until it runs its own program.
    fn drop(&mut self) {
        // If this fails, closing the file unlocks it.
        let _ = self.0.unlock();
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}

impl Lock {
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(LOCK);
        let mut options = File::options();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&path).map_err(io_error("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let holder = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StoreError::InUse { dir: dir.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
        }
        // For the message above only: a full disk must not keep us from starting.
        let note = format!("{}\n", std::process::id());
        let _ = file.set_len(0).and_then(|()| file.write_all(note.as_bytes()));
        Ok(Self(file))
    }
}

/// Makes a store and fills it by its first change, in one commit. What is
/// there after a failure was made here, and goes.
pub(super) fn create<T>(
    options: StoreOptions,
    kek: &Kek,
    settings: Settings,
    first: impl FnOnce(&mut Draft<'_>) -> Result<T, Failure>,
) -> Result<(Store, T), StoreError> {
    let dir = options.dir.clone();
    if dir.symlink_metadata().is_ok() {
        return Err(StoreError::Exists { dir });
    }
    files::create_private_dir(&dir)?;
    fill(options, kek, settings, first).inspect_err(|_| {
        if let Err(error) = fs::remove_dir_all(&dir) {
            tracing::warn!(%error, dir = %dir.display(), "an unfinished store could not be removed");
        }
    })
}

fn fill<T>(
    options: StoreOptions,
    kek: &Kek,
    settings: Settings,
    first: impl FnOnce(&mut Draft<'_>) -> Result<T, Failure>,
) -> Result<(Store, T), StoreError> {
    let dir = options.dir.clone();
    let lock = Lock::take(&dir)?;
    let (keyring, wrapped) = Keyring::create(kek)?;
    let backend = open_database(&options)?;
    let head = Head::new(Epoch(random()?));
    let state = blank(head.epoch, settings.clone(), options.clock.now());
    let loaded = Loaded { state, head, elements: HashMap::new(), changes: VecDeque::new() };
    let mark = Mark::create(&dir, &keyring, 0)?;
    let mut writer = writer(&options, Arc::new(backend), keyring, loaded, mark);
    let value = writer
        .first("init", |draft| {
            draft.put(Record::Settings(settings));
            first(draft)
        })
        .map_err(StoreError::First)?;
    header::write(&dir, &wrapped)?;
    Ok((Store::start(dir, writer, lock)?, value))
}

/// Opens a store.
pub(super) fn open(options: StoreOptions, kek: &Kek) -> Result<Store, StoreError> {
    open_over(options, kek, |backend| backend)
}

/// Opens a store with the key in a file, and completes first what a replacement
/// of that key has left half done.
pub(super) fn open_with(options: StoreOptions, file: &KekFile) -> Result<Store, StoreError> {
    let dir = options.dir.clone();
    if !header::exists(&dir) {
        return Err(StoreError::Missing { dir });
    }
    // With the lock: the process that holds it may be replacing the key.
    let lock = Lock::take(&dir)?;
    let wrapped = header::read(&dir)?;
    let kek = file.settle(|key| Keyring::unwrap(key, &wrapped).is_ok()).map_err(StoreError::Key)?;
    open_locked(options, &kek, lock, |backend| backend)
}

/// Wraps the keys of a store that nobody has open by another key.
pub(super) fn rewrap(options: &StoreOptions, file: &KekFile, new_path: &Path, new: &Kek) -> Result<u64, StoreError> {
    let dir = &options.dir;
    if !header::exists(dir) {
        return Err(StoreError::Missing { dir: dir.clone() });
    }
    let _lock = Lock::take(dir)?;
    let wrapped = header::read(dir)?;
    if Keyring::unwrap(new, &wrapped).is_ok() {
        // Done before, by a call whose answer got lost.
        return Ok(wrapped.kek_generation());
    }
    let old = file.settle(|key| Keyring::unwrap(key, &wrapped).is_ok()).map_err(StoreError::Key)?;
    let generation = wrapped.kek_generation() + 1;
    // Without the file the store would be lost: what was settled above, or
    // anybody else, may have taken it away.
    if !Kek::load(new_path, dir).map_err(StoreError::Key)?.is(new) {
        return Err(StoreError::Key(KekError::Changed { path: new_path.to_owned() }));
    }
    header::write(dir, &wrapped.rewrapped(&old, new, generation)?)?;
    Ok(generation)
}

/// Opens a store over a wrapped database; tests wrap one that fails.
pub(super) fn open_over(
    options: StoreOptions,
    kek: &Kek,
    wrap: impl FnOnce(Arc<dyn Backend>) -> Arc<dyn Backend>,
) -> Result<Store, StoreError> {
    let dir = options.dir.clone();
    if !header::exists(&dir) {
        return Err(StoreError::Missing { dir });
    }
    let lock = Lock::take(&dir)?;
    open_locked(options, kek, lock, wrap)
}

fn open_locked(
    options: StoreOptions,
    kek: &Kek,
    lock: Lock,
    wrap: impl FnOnce(Arc<dyn Backend>) -> Arc<dyn Backend>,
) -> Result<Store, StoreError> {
    let dir = options.dir.clone();
    let keyring = Keyring::unwrap(kek, &header::read(&dir)?)?;
    if !dir.join(DATABASE).join("db").is_file() {
        return Err(StoreError::damaged("its database is missing: restore a backup"));
    }
    let mark = Mark::open(&dir)?;
    let marked = mark.read(&keyring)?;
    try_on_copy(&options, &keyring, marked)?;
    let backend = open_database(&options)?;
    let loaded = load_guarded(&dir, &backend, &keyring, marked)?;
    mark.advance(&keyring, loaded.head.commits)?;
    mark.sync()?;
    Store::start(dir, writer(&options, wrap(Arc::new(backend)), keyring, loaded, mark), lock)
}

pub(super) fn open_database(options: &StoreOptions) -> Result<SledBackend, StoreError> {
    SledBackend::open(&options.dir.join(DATABASE), options.cache_bytes, options.reserve_bytes)
        .map_err(|source| StoreError::Unreadable { dir: options.dir.clone(), source })
}

fn load_guarded(dir: &Path, backend: &SledBackend, keyring: &Keyring, marked: u64) -> Result<Loaded, StoreError> {
    let loaded = guarded(|| Ok(load::load(backend, keyring)));
    match loaded {
        Ok(Ok(loaded)) if loaded.head.commits < marked => Err(StoreError::damaged(format!(
            "the database ends with commit {} and {marked} were made: it was cut off or put back; restore a backup",
            loaded.head.commits
        ))),
        Ok(Ok(loaded)) => Ok(loaded),
        Ok(Err(error)) => Err(error.of(dir)),
        Err(source) => Err(StoreError::Unreadable { dir: dir.to_owned(), source }),
    }
}

pub(super) fn writer(
    options: &StoreOptions,
    backend: Arc<dyn Backend>,
    keyring: Keyring,
    loaded: Loaded,
    mark: Mark,
) -> Writer {
    let published = Published::new(loaded.state, &loaded.head, loaded.changes);
    Writer {
        backend: Arc::new(Freezer::new(backend)),
        keyring: Arc::new(keyring),
        clock: options.clock.clone(),
        published: Arc::new(published),
        head: loaded.head,
        elements: loaded.elements,
        mark,
    }
}

/// Opens and checks a copy, so that a damaged database stays as it is.
fn try_on_copy(options: &StoreOptions, keyring: &Keyring, marked: u64) -> Result<(), StoreError> {
    let (source, trial) = (options.dir.join(DATABASE), options.dir.join(TRIAL));
    remove(&trial)?;
    let size_bytes = size(&source).map_err(io_error("read", &source))?;
    let stat = rustix::fs::statvfs(&options.dir).map_err(|error| io_error("examine", &options.dir)(error.into()))?;
    let needed_bytes = size_bytes.saturating_add(options.reserve_bytes).saturating_add(TRIAL_MARGIN_BYTES);
    let room = stat.f_bavail.saturating_mul(stat.f_frsize) >= needed_bytes;
    if size_bytes > MAX_TRIAL_BYTES || !room {
        tracing::warn!(
            size_bytes,
            "the database is opened without a trial on a copy: it is large, or the disk is full"
        );
        return Ok(());
    }
    let result = copy(&source, &trial).map_err(io_error("copy", &source)).and_then(|()| {
        let unreadable = |source| StoreError::Unreadable { dir: options.dir.clone(), source };
        let backend = SledBackend::open(&trial, options.cache_bytes, 0).map_err(unreadable)?;
        load_guarded(&options.dir, &backend, keyring, marked).map(|_| ())
    });
    remove(&trial)?;
    result
}

fn remove(trial: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(trial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error("remove", trial)(error)),
        _ => Ok(()),
    }
}

fn size(dir: &Path) -> std::io::Result<u64> {
    fs::read_dir(dir)?.try_fold(0_u64, |total, entry| {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let bytes = if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
        Ok(total.saturating_add(bytes))
    })
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
