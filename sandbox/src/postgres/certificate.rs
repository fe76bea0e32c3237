//! The files of the server's TLS certificate, as PostgreSQL wants them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::error::PostgresError;
use crate::certificate;

/// Paths of the files that the server reads and that clients trust.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) ca: PathBuf,
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes the files in `folder`, or keeps those of an earlier start, so that
    /// clients which trust the authority survive a restart of the server.
    ///
    /// # Errors
    /// The files cannot be made or written.
    pub(crate) fn ensure(folder: &Path, account: &Account) -> Result<Self, PostgresError> {
        let files =
            Self { ca: folder.join("ca.pem"), chain: folder.join("server.pem"), key: folder.join("server.key") };
        if files.key.exists() && files.chain.exists() && files.ca.exists() {
            return Ok(files);
        }
        let issued = certificate::issue("NLA sandbox PostgreSQL").map_err(PostgresError::Certificate)?;
        write(&files.ca, &issued.ca, 0o644)?;
        write(&files.chain, &issued.chain, 0o644)?;
        write(&files.key, &issued.key, 0o600)?;
        account.own(&files.key)?;
        Ok(files)
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), PostgresError> {
    // Created empty and closed to others first: the key is never readable, not
    // even for the moment before the mode is set.
    let failed = || PostgresError::file("write", path);
    fs::write(path, "").map_err(failed())?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed())?;
    fs::write(path, text).map_err(failed())
}
