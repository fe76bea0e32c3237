//! Backups: one moment of the store in one file, sealed as it is, made while
//! changes go on ([`Frozen`]), checked as a whole ([`check`]) and put in place
//! as a store of a new epoch ([`restore`]). The form of the file is
//! `nla_proto::backup`.

mod check;
mod frozen;
mod restore;

use std::{
    io::{self, Write},
    sync::{Arc, PoisonError},
};

use nla_domain::{clock::Timestamp, id::Revision};
use nla_proto::{
    backup::{BackupError, BackupKey, BackupSum, BackupWriter, TREES},
    convert, v1,
};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

pub(super) use self::frozen::Freezer;
use self::frozen::FrozenError;
pub use self::{
    check::{BackupReport, Locked, Unlocked},
    restore::{RestoreOptions, Restored, restore},
};
use super::{
    Shared, Store,
    backend::{Backend, Pair},
    batch::CHANGES_KEPT,
    error::StoreError,
    head::Head,
    header,
    load::LoadError,
    writer::Order,
};
use crate::crypto::{Keyring, Tree};

/// Pairs that are read while a commit may wait: about a millisecond.
const PIECE: usize = 128;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupFailed {
    /// One at a time.
    #[error("another backup is being made: wait for its end")]
    Running,
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    /// It changed too much meanwhile.
    #[error("{0}")]
    Changed(String),
    /// It cannot be written.
    #[error("the backup cannot be written")]
    Write(#[from] io::Error),
}

/// One moment of the store, to be written to one backup. Changes go on; the
/// moment is given free when this value is dropped.
pub struct Frozen {
    shared: Arc<Shared>,
    manifest: v1::BackupManifest,
    header: Vec<u8>,
    pairs: u64,
}

impl std::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frozen").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

impl Store {
    /// Holds the newest state for a backup. `now` stands in the backup.
    ///
    /// # Errors
    /// [`BackupFailed`].
    pub async fn freeze(&self, now: Timestamp) -> Result<Frozen, BackupFailed> {
        let (answer, answered) = oneshot::channel();
        let shared = self.0.clone();
        let inspect = move |_: &dyn Backend, head: &Head| {
            // Whoever asked may have gone; dropping the answer releases it.
            let _ = answer.send(Frozen::hold(shared, head, now));
        };
        self.send(Order::Inspect(Box::new(inspect))).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

impl Frozen {
    /// Runs in the writer's thread, between two commits: the header and the
    /// head are those of the same moment.
    fn hold(shared: Arc<Shared>, head: &Head, now: Timestamp) -> Result<Self, BackupFailed> {
        let header = header::read_bytes(&shared.dir)?;
        let keys = header::parse(&header, &shared.dir)?;
        let counts = [
            (Tree::State, head.kinds.values().map(|sum| sum.count).sum()),
            (Tree::Changes, head.revision.0.min(CHANGES_KEPT)),
            (Tree::Audit, head.audit_count),
        ];
        let held = shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let (freezer, _) = held.as_ref().ok_or(StoreError::Closed)?;
        if !freezer.hold(head) {
            return Err(BackupFailed::Running);
        }
        drop(held);
        let manifest = v1::BackupManifest {
            store_id: keys.store_id,
            epoch: head.epoch.0.to_vec(),
            revision: head.revision.0,
            commits: head.commits,
            audit_count: head.audit_count,
            created_at: Some(convert::timestamp(now)),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trees: counts.map(|(tree, pairs)| v1::BackupTree { name: tree.as_str().into(), pairs }).into(),
        };
        // And the head.
        let pairs = counts.iter().map(|(_, pairs)| pairs).sum::<u64>() + 1;
        Ok(Self { shared, manifest, header, pairs })
    }

    /// What stands at the beginning of the file.
    pub fn manifest(&self) -> &v1::BackupManifest {
        &self.manifest
    }

    /// The revision that is held.
    pub fn revision(&self) -> Revision {
        Revision(self.manifest.revision)
    }

    /// Pairs that the backup will hold.
    pub fn pairs(&self) -> u64 {
        self.pairs
    }

    /// Writes the backup. `progress` hears of the pairs so far, and is given
    /// what is written to. Blocks.
    ///
    /// # Errors
    /// [`BackupFailed`]; what was written is then no backup.
    pub fn write<W: Write>(
        self,
        out: W,
        mut progress: impl FnMut(u64, &mut W) -> io::Result<()>,
    ) -> Result<(BackupSum, W), BackupFailed> {
        let key = backup_key(&self.shared.keyring);
        let mut writer = BackupWriter::begin(out, key, &self.manifest, &self.header)?;
        loop {
            let (tree, pairs) = self.piece()?;
            if pairs.is_empty() {
                return Ok(writer.finish()?);
            }
            for (key, value) in &pairs {
                writer.pair(tag(tree), key, value)?;
            }
            let so_far = writer.pairs();
            progress(so_far, writer.inner_mut())?;
        }
    }

    fn piece(&self) -> Result<(Tree, Vec<Pair>), BackupFailed> {
        let database = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        let (freezer, _) = database.as_ref().ok_or(StoreError::Closed)?;
        freezer.piece(PIECE).map_err(|error| match error {
            FrozenError::Backend(error) => LoadError::Backend(error).of(&self.shared.dir).into(),
            FrozenError::TooMuch => BackupFailed::Changed(error.to_string()),
            FrozenError::Released => StoreError::Closed.into(),
        })
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let database = self.shared.database.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((freezer, _)) = database.as_ref() {
            freezer.release();
        }
    }
}

/// The tag of a tree in the file.
fn tag(tree: Tree) -> u8 {
    TREES.iter().find(|(name, _)| *name == tree.as_str()).map(|(_, tag)| *tag).expect("all trees have tags")
}

/// Derived like an index, of a kind that no record has: nobody without the key
/// ring can make it, and it tells nothing about the other keys.
fn backup_key(keyring: &Keyring) -> BackupKey {
    BackupKey::new(&Zeroizing::new(keyring.index("backup", &[b"authentication 1"])))
}

/// What is wrong with a backup as a whole.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file itself.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Its content, its keys, or the store that is made of it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It would replace the store of another installation.
    #[error(
        "the backup is of store {found} and {} holds store {there}: this is another installation; nothing was changed",
        dir.display()
    )]
    OtherStore {
        /// Where the other one is.
        dir: std::path::PathBuf,
        /// Its id.
        there: String,
        /// The backup's.
        found: String,
    },
    /// Something is in the place where the store is made.
    #[error("{} is in the way: look what it is and move it away, then try again", .0.display())]
    InTheWay(std::path::PathBuf),
    /// There is no room.
    #[error("the disk under {} is full: free some space, then try again; nothing was changed", dir.display())]
    DiskFull {
        /// Where.
        dir: std::path::PathBuf,
    },
}

#[cfg(test)]
mod tests;
