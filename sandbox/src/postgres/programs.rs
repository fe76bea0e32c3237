//! Finds PostgreSQL's server programs. Called once for each server; nothing is
//! installed here, that is the work of `scripts/setup`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::PostgresError;

/// A folder that holds `initdb` and `postgres`.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Looks in the given folder, else in `NLA_PG_BIN`, `PATH`, the folders of the
    /// system's packages (newest version first) and what `scripts/setup` fetched.
    ///
    /// # Errors
    /// [`PostgresError::ProgramsMissing`]. A folder that was asked for by name is
    /// the only one looked at, so that a typing error cannot pick another version.
    pub(crate) fn find(asked: Option<&Path>) -> Result<Self, PostgresError> {
        let named = asked.map(Path::to_owned).or_else(|| env::var_os("NLA_PG_BIN").map(PathBuf::from));
        let candidates = named.map_or_else(usual_folders, |folder| vec![folder]);
        for folder in &candidates {
            // Links are followed: PATH may hold a lone link to initdb, and
            // initdb wants its siblings beside it.
            let Ok(initdb) = folder.join("initdb").canonicalize() else { continue };
            if let Some(folder) = initdb.parent()
                && folder.join("postgres").is_file()
            {
                return Ok(Self { folder: folder.to_owned() });
            }
        }
        let searched: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
        Err(PostgresError::ProgramsMissing { searched: searched.join(", ") })
    }

    /// The folder that holds them.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Path of one program.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What `postgres --version` prints, such as `postgres (PostgreSQL) 15.18`.
    ///
    /// # Errors
    /// The program cannot be run.
    pub(crate) fn version(&self) -> Result<String, PostgresError> {
        let program = self.path("postgres");
        let output = Command::new(&program)
            .arg("--version")
            .output()
            .map_err(|source| PostgresError::Run { program, source })?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

fn usual_folders() -> Vec<PathBuf> {
    let mut folders: Vec<_> =
        env::var_os("PATH").iter().flat_map(env::split_paths).filter(|folder| !folder.as_os_str().is_empty()).collect();
    folders.extend(versions_below(Path::new("/usr/lib/postgresql")));
    // scripts/setup fetches into .cache at the project's root; tests run in the
    // folder of their crate, the demo anywhere inside.
    if let Ok(here) = env::current_dir() {
        folders.extend(here.ancestors().map(|folder| folder.join(".cache/postgresql/bin")));
    }
    folders
}

/// `bin` of each version below `root`, newest first.
fn versions_below(root: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_by(|left, right| right.cmp(left));
    versions.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first_by_number_not_by_text() {
        let root = tempfile::tempdir().unwrap();
        for name in ["9", "15", "18", "notes"] {
            fs::create_dir_all(root.path().join(name).join("bin")).unwrap();
        }
        let found: Vec<_> = versions_below(root.path())
            .iter()
            .map(|path| path.strip_prefix(root.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(found, ["18/bin", "15/bin", "9/bin"]);
    }

    #[test]
    fn a_folder_asked_for_by_name_is_not_replaced_by_another() {
        let empty = tempfile::tempdir().unwrap();
        let error = Programs::find(Some(empty.path())).unwrap_err();
        assert!(error.to_string().contains(&empty.path().display().to_string()), "{error}");
    }

    #[test]
    fn the_server_of_this_machine_is_found_and_tells_its_version() {
        let version = Programs::find(None).unwrap().version().unwrap();
        assert!(version.contains("PostgreSQL"), "{version}");
    }
}
