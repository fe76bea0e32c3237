//! The embedded database: sled 0.34.7. Three things about it shape this file.
//! Its `flush` is not an fsync on Linux, so each commit also syncs the files
//! itself. It may panic on damaged files, so nothing of it runs unguarded. It
//! repairs what it opens, so [`super::open`] tries a copy first.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File},
    io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use ::sled::{
    Db, IVec,
    transaction::{ConflictableTransactionError, TransactionError, Transactional},
};

use super::{
    backend::{Backend, Pairs, Write},
    error::{BackendError, CommitError},
};
use crate::crypto::Tree;

/// sled's threads may keep the file locked for a moment after the database was
/// dropped. Our own lock has already proven that no other process has it.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct SledBackend {
    dir: PathBuf,
    meta: ::sled::Tree,
    state: ::sled::Tree,
    changes: ::sled::Tree,
    audit: ::sled::Tree,
    db: Db,
    /// The open data file, to be synced.
    file: File,
    /// Large values, each in a file of its own, that are synced already.
    blobs: Mutex<HashSet<OsString>>,
    reserve_bytes: u64,
}

impl std::fmt::Debug for SledBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledBackend").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Runs a piece of sled and turns its panic into an error.
pub(super) fn guarded<T>(run: impl FnOnce() -> Result<T, BackendError>) -> Result<T, BackendError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic");
        Err(BackendError::Panic(text.chars().take(200).collect()))
    })
}

impl SledBackend {
    /// Opens or makes the database in that folder.
    pub(super) fn open(dir: &Path, cache_bytes: u64, reserve_bytes: u64) -> Result<Self, BackendError> {
        guarded(|| {
            let db = open_db(dir, cache_bytes)?;
            let tree = |tree: Tree| db.open_tree(tree.as_str());
            Ok(Self {
                dir: dir.to_owned(),
                meta: tree(Tree::Meta)?,
                state: tree(Tree::State)?,
                changes: tree(Tree::Changes)?,
                audit: tree(Tree::Audit)?,
                file: File::options().read(true).write(true).open(dir.join("db"))?,
                db,
                blobs: Mutex::default(),
                reserve_bytes,
            })
        })
    }

    fn tree(&self, tree: Tree) -> &::sled::Tree {
        match tree {
            Tree::Meta => &self.meta,
            Tree::State => &self.state,
            Tree::Changes => &self.changes,
            Tree::Audit => &self.audit,
        }
    }

    fn check_space(&self) -> Result<(), CommitError> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(|error| BackendError::Io(error.into()))?;
        let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free_bytes < self.reserve_bytes {
            return Err(CommitError::DiskFull { free_bytes, reserve_bytes: self.reserve_bytes });
        }
        Ok(())
    }

    fn apply(&self, writes: &[Write]) -> Result<(), BackendError> {
        let trees = (&self.meta, &self.state, &self.changes, &self.audit);
        let result = trees.transaction(|(meta, state, changes, audit)| {
            for write in writes {
                let tree = match write.tree {
                    Tree::Meta => meta,
                    Tree::State => state,
                    Tree::Changes => changes,
                    Tree::Audit => audit,
                };
                match &write.value {
                    Some(value) => tree.insert(write.key.as_slice(), value.as_slice())?,
                    None => tree.remove(write.key.as_slice())?,
                };
            }
            Ok::<_, ConflictableTransactionError<std::convert::Infallible>>(())
        });
        result.map_err(|error| match error {
            TransactionError::Storage(error) => BackendError::Sled(error),
            TransactionError::Abort(never) => match never {},
        })
    }

    /// Makes what sled has written outlive a loss of power.
    fn sync(&self) -> Result<(), BackendError> {
        self.db.flush()?;
        self.sync_blobs()?;
        self.file.sync_data()?;
        Ok(())
    }

    fn sync_blobs(&self) -> Result<(), BackendError> {
        let folder = self.dir.join("blobs");
        let mut present = HashSet::new();
        let mut synced = self.blobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut fresh = false;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if !synced.contains(&entry.file_name()) {
                match File::open(entry.path()).and_then(|file| file.sync_all()) {
                    Ok(()) => fresh = true,
                    // sled removes what it no longer needs at any time.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            present.insert(entry.file_name());
        }
        if fresh {
            File::open(&folder)?.sync_all()?;
        }
        *synced = present;
        Ok(())
    }
}

fn open_db(dir: &Path, cache_bytes: u64) -> Result<Db, BackendError> {
    let since = Instant::now();
    loop {
        // No timed flushes: each commit flushes, and nothing is written between.
        let config = ::sled::Config::new().path(dir).cache_capacity(cache_bytes).flush_every_ms(None);
        match config.open() {
            Err(::sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock") && since.elapsed() < LOCK_PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return Ok(other?),
        }
    }
}

fn vector(bytes: IVec) -> Vec<u8> {
    bytes.to_vec()
}

impl Backend for SledBackend {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        guarded(|| Ok(self.tree(tree).get(key)?.map(vector)))
    }

    fn range(&self, tree: Tree, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Pairs<'_> {
        let pairs = self.tree(tree).range::<&[u8], _>((from, to));
        Box::new(pairs.map(|pair| {
            let (key, value) = pair?;
            Ok((vector(key), vector(value)))
        }))
    }

    fn commit(&self, writes: &[Write]) -> Result<(), CommitError> {
        self.check_space()?;
        guarded(|| {
            self.apply(writes)?;
            self.sync()
        })?;
        Ok(())
    }

    fn size_bytes(&self) -> Result<u64, BackendError> {
        guarded(|| Ok(self.db.size_on_disk()?))
    }
}
