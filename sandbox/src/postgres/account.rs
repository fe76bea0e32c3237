//! The account that the server runs as. PostgreSQL refuses root, so root hands
//! the data folder to `postgres` or `nobody` and starts the programs as that
//! account; everybody else starts them as themselves.

use std::env;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::PostgresError;

/// Who runs the server programs.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// `None`: whoever runs us.
    other: Option<Other>,
}

#[derive(Clone, Debug)]
struct Other {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account for a server started by whoever runs us.
    ///
    /// # Errors
    /// We are root and no other account is known.
    pub(crate) fn choose() -> Result<Self, PostgresError> {
        // A new file belongs to our effective user; there is no safe call in
        // the standard library that tells it.
        let place = env::temp_dir();
        let uid = tempfile::tempfile()
            .and_then(|file| file.metadata())
            .map_err(PostgresError::file("create a file in", &place))?
            .uid();
        if uid != 0 {
            return Ok(Self { other: None });
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let other = ["postgres", "nobody"].iter().find_map(|name| entry(&passwd, name));
        Ok(Self { other: Some(other.ok_or(PostgresError::NoAccount)?) })
    }

    /// A command that runs as this account, in `folder`, without the caller's
    /// environment: PGDATA, PGHOST and their kin must not reach the server.
    pub(crate) fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").current_dir(folder);
        for kept in ["PATH", "LD_LIBRARY_PATH"] {
            if let Some(value) = env::var_os(kept) {
                command.env(kept, value);
            }
        }
        if let Some(other) = &self.other {
            // Setting the user as root also clears the supplementary groups.
            command.uid(other.uid).gid(other.gid);
        }
        command
    }

    /// Gives a file or folder to the account.
    ///
    /// # Errors
    /// The owner cannot be changed.
    pub(crate) fn own(&self, path: &Path) -> Result<(), PostgresError> {
        match &self.other {
            Some(other) => {
                chown(path, Some(other.uid), Some(other.gid)).map_err(PostgresError::file("change the owner of", path))
            }
            None => Ok(()),
        }
    }

    /// Mode of a folder of ours that the account must be able to pass through.
    pub(crate) fn passage_mode(&self) -> u32 {
        if self.other.is_some() { 0o711 } else { 0o700 }
    }

    /// True when the server runs as somebody else than we do.
    pub(crate) fn is_other(&self) -> bool {
        self.other.is_some()
    }

    /// Text that tells apart what different accounts own.
    pub(crate) fn label(&self) -> String {
        self.other.as_ref().map_or_else(|| "own".to_owned(), |other| other.uid.to_string())
    }

    /// Makes sure that the account can enter `folder`. Asked of the system by
    /// entering it, since modes alone do not tell (access lists, mounts).
    ///
    /// # Errors
    /// [`PostgresError::Unreachable`] with the first closed folder on the way.
    pub(crate) fn check_reach(&self, folder: &Path) -> Result<(), PostgresError> {
        let Some(other) = &self.other else { return Ok(()) };
        let enters = |path: &Path| {
            self.command(Path::new("/bin/sh"), path)
                .args(["-c", "exit 0"])
                .status()
                .is_ok_and(|status| status.success())
        };
        if enters(folder) {
            return Ok(());
        }
        let mut way: Vec<&Path> = folder.ancestors().collect();
        way.reverse();
        let closed = way.into_iter().find(|path| !enters(path)).unwrap_or(folder);
        Err(PostgresError::Unreachable { account: other.name.clone(), path: PathBuf::from(closed) })
    }
}

fn entry(passwd: &str, name: &str) -> Option<Other> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (found == name && uid != 0).then(|| Other { name: name.to_owned(), uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_by_its_whole_name_and_never_root() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody2:x:7:8::/:\nnobody:x:65534:65533:nobody:/:/bin/false\nzero:x:0:5::/:\nbroken\n";
        for (name, expected) in [("nobody", Some((65534, 65533))), ("zero", None), ("root", None), ("broken", None)] {
            assert_eq!(entry(passwd, name).map(|other| (other.uid, other.gid)), expected, "{name}");
        }
    }
}
