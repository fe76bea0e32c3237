//! The mark: the number of the last commit, kept in a file beside the
//! database. A database file that was cut off at certain places, or put back
//! as a whole, looks like a sound but older one to itself; the mark knows
//! better. It is written after each commit is durable, and never before, so
//! that it is never ahead of a sound database. It is not synced each time: a
//! loss of power may take it back a little, which only makes it less sharp.
//!
//! Putting back the whole folder is beyond what files in it can show.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use nla_proto::files;

use super::error::StoreError;
use crate::crypto::{Keyring, Tree};

const NAME: &str = "mark";
const KEY: &[u8] = b"mark";

#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    file: File,
}

impl Mark {
    /// Makes the mark of a new store. Replaces one that an unfinished store
    /// has left.
    pub(super) fn create(dir: &Path, keyring: &Keyring, commits: u64) -> Result<Self, StoreError> {
        let path = dir.join(NAME);
        files::write_private(&path, &keyring.seal(Tree::Meta, KEY, commits, b"")?)?;
        Self::open(dir)
    }

    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(NAME);
        match File::options().read(true).write(true).open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::damaged("its mark is missing: restore a backup"))
            }
            Err(source) => Err(StoreError::Io { action: "open", path, source }),
        }
    }

    /// The number of the last commit of which it knows.
    pub(super) fn read(&self, keyring: &Keyring) -> Result<u64, StoreError> {
        let sealed = std::fs::read(&self.path).map_err(|source| self.error("read", source))?;
        let opened = keyring.open(Tree::Meta, KEY, &sealed);
        opened.map(|mark| mark.version).map_err(|error| StoreError::damaged(format!("its mark does not open: {error}")))
    }

    /// Moves it, after that commit is durable.
    pub(super) fn advance(&self, keyring: &Keyring, commits: u64) -> Result<(), StoreError> {
        let sealed = keyring.seal(Tree::Meta, KEY, commits, b"")?;
        // In place: all marks have the same length, far below a sector's.
        self.file.write_all_at(&sealed, 0).map_err(|source| self.error("write", source))
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|source| self.error("sync", source))
    }

    fn error(&self, action: &'static str, source: io::Error) -> StoreError {
        StoreError::Io { action, path: self.path.clone(), source }
    }
}
