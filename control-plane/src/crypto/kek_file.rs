//! The key-encryption key's file, and its replacement. A new key lies beside
//! the one in use, as `<file>.next`, until the store's header is wrapped by it;
//! then it takes its place. Which of the two opens the header says how far a
//! replacement that was cut short had come.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{Kek, KekError};

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
    /// [`KekError::Immutable`] where the file is not ours to replace;
    /// otherwise as [`Kek::create`].
    pub fn stage(&self) -> Result<Kek, KekError> {
        let immutable = || KekError::Immutable { path: self.path.clone() };
        if self.path.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
            return Err(immutable());
        }
        let next = self.next_path();
        Kek::create(&next, &self.data_folder).map_err(|error| {
            use nla_proto::files::FileError;
            match &error {
                KekError::File(FileError::Io { source, .. })
                    if matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
                {
                    immutable()
                }
                _ => error,
            }
        })
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
    /// header: where the waiting key does, it is put in place; where the one
    /// in use does, the waiting one was never used and goes. Where neither
    /// does, nothing is touched. Only for whoever holds the store's lock.
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
            let error = |source| KekError::Install { next: next.clone(), path: self.path.clone(), source };
            fs::remove_file(&next).map_err(error)?;
            tracing::warn!(file = %next.display(), "removed a key-encryption key that was never used");
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
            assert!(!file.next_path().exists());
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
        assert!(matches!(file.stage(), Err(KekError::Exists { .. })), "a waiting key is never overwritten");
    }
}
