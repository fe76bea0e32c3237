//! A file for a secret that the control plane shows only once. Its place is
//! taken before the secret is asked for: a full disk or a missing folder must
//! show while nothing is lost yet.

use std::path::{Path, PathBuf};

use nla_proto::files;

use crate::exit::CliError;

/// A reserved place, removed again unless a secret is written to it.
#[derive(Debug)]
pub(crate) struct SecretFile {
    path: PathBuf,
    written: bool,
}

impl SecretFile {
    /// Takes the place.
    ///
    /// # Errors
    /// [`CliError`] when something is there already or nothing can be written.
    pub(crate) fn reserve(path: &Path) -> Result<Self, CliError> {
        if path.symlink_metadata().is_ok() {
            return Err(CliError::usage(format!("{} exists already and is not overwritten", path.display()))
                .with_next("name another file, or move this one away"));
        }
        files::write_private(path, b"").map_err(|source| CliError::local("cannot write the secret's file", source))?;
        Ok(Self { path: path.to_owned(), written: false })
    }

    /// Writes the secret and a line break, readable by its owner only.
    ///
    /// # Errors
    /// [`CliError`]: the secret is then lost.
    pub(crate) fn write(mut self, secret: &str, remedy: &str) -> Result<PathBuf, CliError> {
        let line = zeroize::Zeroizing::new(format!("{secret}\n"));
        files::write_private(&self.path, line.as_bytes()).map_err(|source| {
            CliError::local("it was created, but its file could not be written and it cannot be shown again", source)
                .with_next(remedy)
        })?;
        self.written = true;
        Ok(self.path.clone())
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        if !self.written {
            // An empty file that stays behind does no harm.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_secret_is_written_privately_and_never_over_something() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        drop(SecretFile::reserve(&path).unwrap());
        assert!(!path.exists());
        SecretFile::reserve(&path).unwrap().write("s3cret", "").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "s3cret\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(SecretFile::reserve(&path).is_err());
        assert!(SecretFile::reserve(&folder.path().join("none/token")).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "s3cret\n");
    }
}
