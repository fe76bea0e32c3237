//! The key-encryption key's file, and its replacement. A new key lies beside
//! the one in use, as `<file>.next`, until the store's header is wrapped by it;
//! then it takes its place. Which of the two opens the header says how far a
//! replacement that was cut short had come. A waiting key that does not open
//! the header may be the only one of another store that shares the file, so
//! that it is never removed, only named.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use nla_proto::files::{self, FileError};

use super::{Kek, KekError, kek::resolve};

/// Where the key-encryption key lies.
#[derive(Clone, Debug)]
pub struct KekFile {
    path: PathBuf,
    data_folder: PathBuf,
}

impl KekFile {
    /// The key in `path`, of the store in `data_folder`.
    pub fn new(path: impl Into<PathBuf>, data_folder: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), data_folder: data_folder.into() }
    }

    /// The file itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a new key waits.
    pub fn next_path(&self) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(".next");
        name.into()
    }

    /// Refuses a place for a new key that is the key's own, or that of the key
    /// which waits: also through links and through `..`.
    ///
    /// # Errors
    /// [`KekError::SamePlace`], or when a path cannot be followed.
    pub fn must_not_be(&self, path: &Path) -> Result<(), KekError> {
        let named = resolve(path)?;
        for taken in [self.path.clone(), self.next_path()] {
            if resolve(&taken)? == named {
                return Err(KekError::SamePlace { path: path.to_owned() });
            }
        }
        Ok(())
    }

    /// Reads the key.
    ///
    /// # Errors
    /// As [`Kek::load`].
    pub fn load(&self) -> Result<Kek, KekError> {
        Kek::load(&self.path, &self.data_folder)
    }

    /// Makes a new key that waits beside the one in use, on the disk.
    ///
    /// # Errors
    /// [`KekError::Immutable`] where the file is not ours to replace,
    /// [`KekError::Waiting`] where a key waits already; otherwise as
    /// [`Kek::create`].
    pub fn stage(&self) -> Result<Kek, KekError> {
        self.must_be_free()?;
        Kek::create(&self.next_path(), &self.data_folder).map_err(|error| match error {
            KekError::File(error) => self.not_replaceable(error),
            error => error,
        })
    }

    /// Takes back what [`Self::stage`] has made, where the header is known not
    /// to be wrapped by it.
    pub(crate) fn unstage(&self, staged: &Kek) {
        let next = self.next_path();
        if Kek::load(&next, &self.data_folder).is_ok_and(|waiting| waiting.is(staged))
            && let Err(error) = fs::remove_file(&next)
        {
            tracing::warn!(%error, file = %next.display(), "a key-encryption key that was never used stays");
        }
    }

    /// Replaces the file by one of the same content, in the way a new key takes
    /// its place: a file that is mounted by itself lets another be made beside
    /// it, and refuses only the rename. After the header is wrapped by a new
    /// key that would be found out too late.
    ///
    /// # Errors
    /// As [`Self::stage`]; [`KekError::NotReplaceable`] for any other reason.
    pub fn rehearse(&self) -> Result<(), KekError> {
        self.must_be_free()?;
        let bytes = files::read_private(&self.path)?;
        files::write_private(&self.path, &bytes).map_err(|error| self.not_replaceable(error))
    }

    fn must_be_free(&self) -> Result<(), KekError> {
        if self.path.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
            return Err(KekError::Immutable { path: self.path.clone() });
        }
        let next = self.next_path();
        if next.symlink_metadata().is_ok() {
            return Err(KekError::Waiting { next });
        }
        Ok(())
    }

    fn not_replaceable(&self, error: FileError) -> KekError {
        use io::ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
        let path = self.path.clone();
        match error {
            FileError::Io { source, .. }
                if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem | ResourceBusy | CrossesDevices) =>
            {
                KekError::Immutable { path }
            }
            source => KekError::NotReplaceable { path, source },
        }
    }

    /// Puts the key that waits in the place of the one before, for good.
    ///
    /// # Errors
    /// [`KekError::Install`]; the next start does it then.
    pub fn install(&self) -> Result<(), KekError> {
        let error = |source| KekError::Install { next: self.next_path(), path: self.path.clone(), source };
        fs::rename(self.next_path(), &self.path).map_err(error)?;
        self.sync_folder().map_err(error)
    }

    /// Ends a replacement that was cut short, and gives the key that opens the
    /// header: where only the waiting key does, it is put in place; otherwise
    /// nothing is touched. Only for whoever holds the store's lock.
    ///
    /// # Errors
    /// [`KekError`] when a file cannot be used.
    pub fn settle(&self, opens: impl Fn(&Kek) -> bool) -> Result<Kek, KekError> {
        let next = self.next_path();
        if next.symlink_metadata().is_err() {
            return self.load();
        }
        let current = self.load();
        if let Ok(key) = &current
            && opens(key)
        {
            let what =
                "a key-encryption key waits that does not belong to this store, or was never used: it is left alone";
            tracing::warn!(file = %next.display(), "{what}");
            return current;
        }
        match Kek::load(&next, &self.data_folder) {
            Ok(waiting) if opens(&waiting) => {
                self.install()?;
                tracing::warn!(file = %self.path.display(), "completed the replacement of the key-encryption key");
                Ok(waiting)
            }
            _ => current,
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn file(folder: &tempfile::TempDir) -> (KekFile, Kek) {
        let file = KekFile::new(folder.path().join("kek"), folder.path().join("data"));
        let key = Kek::create(file.path(), &folder.path().join("data")).unwrap();
        (file, key)
    }

    #[test]
    fn the_key_that_opens_the_header_is_the_one_in_use_afterwards() {
        for committed in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (file, old) = file(&folder);
            let new = file.stage().unwrap();
            let right = if committed { &new } else { &old };
            let settled = file.settle(|key| key.expose() == right.expose()).unwrap();
            assert_eq!(settled.expose(), right.expose());
            assert_eq!(file.load().unwrap().expose(), right.expose());
            assert_eq!(file.next_path().exists(), !committed, "it may be another store's only key");
            // Nothing is left to do.
            assert_eq!(file.settle(|_| false).unwrap().expose(), right.expose());
        }
    }

    #[test]
    fn where_neither_opens_the_header_nothing_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let (file, old) = file(&folder);
        file.stage().unwrap();
        assert_eq!(file.settle(|_| false).unwrap().expose(), old.expose());
        assert!(file.next_path().exists());
        // A waiting key that others can read is not believed either.
        let open = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
        fs::set_permissions(file.next_path(), open).unwrap();
        assert_eq!(file.settle(|key| key.expose() != old.expose()).unwrap().expose(), old.expose());
    }

    #[test]
    fn a_key_that_is_handed_in_from_elsewhere_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = file(&folder);
        symlink(file.path(), folder.path().join("link")).unwrap();
        let linked = KekFile::new(folder.path().join("link"), folder.path().join("data"));
        assert!(matches!(linked.stage(), Err(KekError::Immutable { .. })));
        assert!(!linked.next_path().exists());
        file.stage().unwrap();
        let waiting = fs::read(file.next_path()).unwrap();
        assert!(matches!(file.stage(), Err(KekError::Waiting { .. })));
        assert!(matches!(file.rehearse(), Err(KekError::Waiting { .. })), "before anything is asked for");
        assert_eq!(fs::read(file.next_path()).unwrap(), waiting, "a waiting key is never overwritten");
    }

    #[test]
    fn a_rehearsal_renames_over_the_key_and_leaves_its_content() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = file(&folder);
        // Held open, so that its number is not given to the new one.
        let former = File::open(file.path()).unwrap();
        let content = fs::read(file.path()).unwrap();
        file.rehearse().unwrap();
        assert_ne!(fs::metadata(file.path()).unwrap().ino(), former.metadata().unwrap().ino());
        assert_eq!(fs::read(file.path()).unwrap(), content);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_key_has_a_place_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (file, _) = file(&folder);
        symlink(file.path(), folder.path().join("link")).unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        for taken in ["kek", "kek.next", "link", "sub/../kek.next"] {
            let refused = file.must_not_be(&folder.path().join(taken));
            assert!(matches!(refused, Err(KekError::SamePlace { .. })), "{taken}: {refused:?}");
        }
        file.must_not_be(&folder.path().join("new")).unwrap();
    }

    #[test]
    fn only_what_was_staged_here_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let (file, old) = file(&folder);
        let staged = file.stage().unwrap();
        file.unstage(&old);
        assert!(file.next_path().exists());
        file.unstage(&staged);
        assert!(!file.next_path().exists());
    }
}
