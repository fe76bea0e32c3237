//! Files that hold keys and certificates. A private file is readable by its
//! owner only, is written in one step, and is refused when others can read it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// No key, certificate bundle or configuration of ours comes near this.
const MAX_BYTES: u64 = 1 << 20;

/// Why a file was not used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others can read or change the file.
    #[error(
        "{} can be read or changed by others (mode {mode:03o}): run `chmod 600` on it, and replace what it holds if anyone may have read it",
        path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory, device, pipe or symbolic link.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// Which file.
        path: PathBuf,
    },
    /// Someone else's file.
    #[error("{} belongs to another user (uid {uid}): it must belong to the user that runs this program, or to root", path.display())]
    Owner {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// More than a key or certificate can be.
    #[error("{} is larger than {MAX_BYTES} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { action, path, source }
}

/// Reads a file that only its owner may read. Kubernetes and systemd hand out
/// secrets as symbolic links to such files, so links are followed, and what
/// they lead to is checked on the open file, which nobody can swap any more.
///
/// # Errors
/// [`FileError`] unless it is a regular file, ours or root's, closed to group
/// and others, and of a sane size.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let (file, metadata) = open(path)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    let uid = metadata.uid();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Err(FileError::Owner { path: path.to_owned(), uid });
    }
    read(file, path).map(Zeroizing::new)
}

/// Reads a file that may be public, such as a certificate.
///
/// # Errors
/// [`FileError`] unless it is a regular file of a sane size.
pub fn read_public(path: &Path) -> Result<Vec<u8>, FileError> {
    let (file, _) = open(path)?;
    read(file, path)
}

fn open(path: &Path) -> Result<(File, fs::Metadata), FileError> {
    // O_NONBLOCK: opening a pipe must not wait for its writer.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("the flag is a small constant");
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(io_error("read", path))?;
    let metadata = file.metadata().map_err(io_error("read", path))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular { path: path.to_owned() });
    }
    Ok((file, metadata))
}

fn read(file: File, path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::with_capacity(4_096);
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Writes a file that only its owner may read, in one step: a reader sees the
/// old content or the new, never a part, also after a crash.
///
/// # Errors
/// [`FileError::Io`]; the old content is then still there.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, 0o600)
}

/// Like [`write_private`], for what everyone may read.
///
/// # Errors
/// [`FileError::Io`]; the old content is then still there.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, 0o644)
}

/// Makes a folder that only its owner may enter.
///
/// # Errors
/// [`FileError::Io`], also when the folder exists.
pub fn create_private_dir(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path).map_err(io_error("create", path))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let result = (|| {
        // A leftover of a crashed process with our number would block us.
        let _ = fs::remove_file(&temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    })();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(io_error("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_must_be_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_private(&path, b"secret").unwrap();
        for (mode, accepted) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o660, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_private(&path).is_ok(), accepted, "{mode:o}");
        }
    }

    #[test]
    fn written_files_have_their_mode_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [("a", 0o600), ("b", 0o644)] {
            let path = folder.path().join(name);
            for content in [b"one".as_slice(), b"two"] {
                write(&path, content, mode).unwrap();
                assert_eq!(fs::read(&path).unwrap(), content);
            }
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_not_a_sane_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read_public(folder.path()), Err(FileError::NotRegular { .. })));
        assert!(matches!(read_public(&folder.path().join("none")), Err(FileError::Io { .. })));
        let large = folder.path().join("large");
        fs::write(&large, vec![0; MAX_BYTES as usize + 1]).unwrap();
        assert!(matches!(read_public(&large), Err(FileError::TooLarge { .. })));
        assert!(matches!(read_private(Path::new("/dev/null")), Err(FileError::NotRegular { .. })));
    }
}
