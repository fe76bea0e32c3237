//! Why a store could not be made, opened or believed.

use std::{io, path::PathBuf};

use nla_proto::{failure::Failure, files::FileError};

use crate::crypto::{KekError, KeyringError, NoRandomness};

/// Why there is no open store. Nothing on disk was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing there.
    #[error("there is no store in {}: run `nla-control-plane init` first", dir.display())]
    Missing {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// Something there already.
    #[error("{} exists already: nothing was changed; give another data folder, or move this one away", dir.display())]
    Exists {
        /// Where it is.
        dir: PathBuf,
    },
    /// Another process, or this one, has it open.
    #[error("the store in {} is in use{}: stop that process first", dir.display(), holder.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    InUse {
        /// Which folder.
        dir: PathBuf,
        /// Process id as the holder wrote it down.
        holder: Option<u32>,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The header could not be read or written.
    #[error("the store's header cannot be used")]
    File(#[from] FileError),
    /// The header is not one.
    #[error("{} is not a store's header, or it is damaged: restore it from a backup", path.display())]
    Header {
        /// Which file.
        path: PathBuf,
    },
    /// Made by a newer version.
    #[error("the store has format {found} and this version reads format {supported}: use the version that made it")]
    Format {
        /// The store's format.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// The data keys do not open.
    #[error("the store's keys cannot be opened")]
    Keyring(#[from] KeyringError),
    /// The database file cannot be read.
    #[error("the database in {} is damaged or cut off; nothing was changed: restore a backup", dir.display())]
    Unreadable {
        /// Which folder.
        dir: PathBuf,
        /// What sled says.
        #[source]
        source: BackendError,
    },
    /// The records are not what the head says.
    #[error("the store was damaged or tampered with, and nothing was changed: {what}")]
    Damaged {
        /// What does not fit.
        what: String,
    },
    /// The first commit of a new store was refused.
    #[error("the new store could not be filled")]
    First(#[source] Failure),
    /// The key-encryption key cannot be used.
    #[error("the key-encryption key cannot be used")]
    Key(#[source] KekError),
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}

/// What the database below could not do.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// sled's own error.
    #[error("sled")]
    Sled(#[from] sled::Error),
    /// The operating system's.
    #[error("input or output failed")]
    Io(#[from] io::Error),
    /// sled panicked, as it does on some damaged files.
    #[error("sled stopped: {0}")]
    Panic(String),
}

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    /// Nothing was written; a later attempt can succeed.
    #[error(
        "the disk under the store has {} MiB free and {} MiB are kept in reserve: free some space, then repeat the request",
        free_bytes >> 20,
        reserve_bytes >> 20
    )]
    DiskFull {
        /// What is free.
        free_bytes: u64,
        /// What must stay free.
        reserve_bytes: u64,
    },
    /// Something failed on the way: the batch may be there after a restart.
    #[error("the store could not write and takes no more changes: repair the disk, then restart the control plane")]
    Broken(#[from] BackendError),
}
