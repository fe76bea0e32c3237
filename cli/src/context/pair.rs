//! The two files of a context that are replaced together: certificate and key.
//! There is no rename of two files at once, so both are written beside the old
//! ones first, the key is put in place before the certificate, and whoever finds
//! only the new certificate waiting completes the step. Called by
//! `nlactl operator renew`, and before a context is read.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use nla_proto::files;

use super::Entry;
use crate::exit::CliError;

/// A new pair that waits beside the old one; removed again unless installed.
#[derive(Debug)]
pub(crate) struct Staged {
    certificate: PathBuf,
    key: PathBuf,
    installed: bool,
}

impl Staged {
    /// Writes the new pair beside the entry's files.
    ///
    /// # Errors
    /// [`CliError::Local`]; nothing was changed then.
    pub(crate) fn write(entry: &Entry, folder: &Path, certificate: &[u8], key: &[u8]) -> Result<Self, CliError> {
        let staged =
            Self { certificate: folder.join(&entry.certificate), key: folder.join(&entry.key), installed: false };
        // The key first: a certificate that waits alone means a step to complete.
        files::write_private(&next(&staged.key), key)
            .and_then(|()| files::write_private(&next(&staged.certificate), certificate))
            .map_err(|source| CliError::local("cannot write the new certificate", source))?;
        Ok(staged)
    }

    /// The entry with the new pair in place of the old.
    pub(crate) fn entry(&self, old: &Entry) -> Entry {
        Entry { certificate: next(&self.certificate), key: next(&self.key), ..old.clone() }
    }

    /// Puts the new pair in place of the old.
    ///
    /// # Errors
    /// [`CliError::Local`]; the next command completes what was begun.
    pub(crate) fn install(mut self) -> Result<(), CliError> {
        self.installed = true;
        put(&self.key).and_then(|()| put(&self.certificate)).map_err(cannot_replace)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.installed {
            // A certificate must never wait alone. What cannot be removed now is
            // overwritten by the next renewal.
            let gone = match fs::remove_file(next(&self.certificate)) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            };
            if gone {
                let _ = fs::remove_file(next(&self.key));
            }
        }
    }
}

/// Completes a replacement that was cut short between its two steps.
pub(super) fn settle(entry: &Entry, folder: &Path) -> Result<(), CliError> {
    let certificate = folder.join(&entry.certificate);
    let waits = |path: &Path| next(path).symlink_metadata().is_ok();
    if waits(&certificate) && !waits(&folder.join(&entry.key)) {
        put(&certificate).map_err(cannot_replace)?;
    }
    Ok(())
}

fn cannot_replace(source: io::Error) -> CliError {
    CliError::local("cannot put the new certificate in the place of the old one", source)
        .with_next("make the folder of the certificate writable, and run any nlactl command again")
}

/// Renames and makes it last. Another command may have done it already.
fn put(path: &Path) -> io::Result<()> {
    match fs::rename(next(path), path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn next(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".next");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn entry() -> Entry {
        Entry {
            name: "a".into(),
            url: "https://cp:7443".into(),
            certificate: "a.crt".into(),
            key: "a.key".into(),
            ca: "ca.crt".into(),
        }
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        files::write_public(&folder.path().join("a.crt"), b"old").unwrap();
        files::write_private(&folder.path().join("a.key"), b"old").unwrap();
        folder
    }

    fn held(folder: &Path) -> (Vec<u8>, Vec<u8>, usize) {
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        (read("a.crt"), read("a.key"), fs::read_dir(folder).unwrap().count())
    }

    #[test]
    fn a_pair_is_replaced_whole_or_not() {
        let folder = folder();
        let path = folder.path();
        drop(Staged::write(&entry(), path, b"new", b"new").unwrap());
        assert_eq!(held(path), (b"old".into(), b"old".into(), 2));
        let nowhere = Entry { certificate: "no/a.crt".into(), ..entry() };
        Staged::write(&nowhere, path, b"new", b"new").unwrap_err();
        assert_eq!(held(path), (b"old".into(), b"old".into(), 2));
        Staged::write(&entry(), path, b"new", b"new").unwrap().install().unwrap();
        assert_eq!(held(path), (b"new".into(), b"new".into(), 2));
        for name in ["a.crt", "a.key"] {
            assert_eq!(fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_replacement_that_was_cut_short_is_completed() {
        let folder = folder();
        let path = folder.path();
        // Cut short before the first step: the old pair stays.
        std::mem::forget(Staged::write(&entry(), path, b"new", b"new").unwrap());
        settle(&entry(), path).unwrap();
        assert_eq!(held(path), (b"old".into(), b"old".into(), 4));
        // And between the two.
        put(&path.join("a.key")).unwrap();
        settle(&entry(), path).unwrap();
        assert_eq!(held(path), (b"new".into(), b"new".into(), 2));
        settle(&entry(), path).unwrap();
    }
}
