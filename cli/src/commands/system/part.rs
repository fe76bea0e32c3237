//! A file that gets its name once it is whole: until then it is `NAME.part`,
//! which goes when the command fails.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::exit::CliError;

/// The file in the making.
#[derive(Debug)]
pub(super) struct PartFile {
    file: File,
    path: PathBuf,
    part: PathBuf,
    overwrite: bool,
    named: bool,
}

fn local(message: &str, path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let message = format!("cannot {message} {}", path.display());
    move |source| CliError::local(message, source)
}

impl PartFile {
    /// Takes the place, readable by its owner only.
    pub(super) fn create(path: &Path, overwrite: bool) -> Result<Self, CliError> {
        refuse_existing(path, overwrite)?;
        let mut part = OsString::from(path);
        part.push(".part");
        let part = PathBuf::from(part);
        let mut options = File::options();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&part);
        let file = file.map_err(local("create", &part))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CliError::usage(format!("{} is being written by another nlactl", part.display()))
                    .with_next("wait for its end, or name another file"));
            }
            Err(TryLockError::Error(error)) => return Err(local("lock", &part)(error)),
        }
        // A command that was killed may have left some of it.
        file.set_len(0).map_err(local("write", &part))?;
        Ok(Self { file, path: path.to_owned(), part, overwrite, named: false })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.file.write_all(bytes).map_err(local("write", &self.part))
    }

    /// Makes what was written outlive a loss of power, for `look` to read.
    pub(super) fn finish(mut self, look: impl FnOnce(&Path) -> Result<(), CliError>) -> Result<(), CliError> {
        self.file.sync_all().map_err(local("write", &self.part))?;
        look(&self.part)?;
        refuse_existing(&self.path, self.overwrite)?;
        fs::rename(&self.part, &self.path).map_err(local("name", &self.path))?;
        self.named = true;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(local("sync", folder))
    }
}

fn refuse_existing(path: &Path, overwrite: bool) -> Result<(), CliError> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => Err(CliError::usage(format!("{} is a folder: name a file", path.display()))),
        Ok(_) if !overwrite => Err(CliError::usage(format!("{} exists and is not overwritten", path.display()))
            .with_next("name another file, or add --force")),
        _ => Ok(()),
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.named {
            // What stays has no name that anyone would take for a backup's.
            let _ = fs::remove_file(&self.part);
        }
    }
}
