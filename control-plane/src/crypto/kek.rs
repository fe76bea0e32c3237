//! The key-encryption key: 32 bytes in a file that lies outside of the data
//! folder, so that a copy of the folder alone opens nothing.

use std::{
    io,
    path::{Path, PathBuf},
};

use nla_domain::secret::Key32;
use nla_proto::files::{self, FileError};
use zeroize::Zeroizing;

use super::{NoRandomness, random};

/// The key that wraps the store's data keys.
#[derive(Clone, Debug)]
pub struct Kek(Key32);

/// Why there is no key-encryption key.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// The file cannot be used as it is.
    #[error("the key-encryption key cannot be used")]
    File(#[from] FileError),
    /// The path cannot be followed.
    #[error("the key-encryption key cannot be read: cannot follow {}", path.display())]
    Path {
        /// Which path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The key lies beside what it protects.
    #[error(
        "the key-encryption key {} lies inside the data folder {}: move it elsewhere, so that a copy of the folder does not hold its own key",
        path.display(),
        folder.display()
    )]
    InsideDataFolder {
        /// The key's path.
        path: PathBuf,
        /// The data folder.
        folder: PathBuf,
    },
    /// Another content.
    #[error("{} is not a key-encryption key: expected 32 bytes, or 64 hexadecimal digits", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// There is a file already.
    #[error("{} exists already and is not overwritten: a store may depend on it", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// It was handed in from elsewhere.
    #[error(
        "{} cannot be replaced here: it is a link or mounted by itself, or its folder cannot be written to; stop the service, make the new key with `nla-control-plane rotate-kek --new-key FILE`, and hand that file in from then on",
        path.display()
    )]
    Immutable {
        /// The key's path.
        path: PathBuf,
    },
    /// Trying to replace it failed.
    #[error(
        "{} cannot be replaced here; repair that, or stop the service, make the new key with `nla-control-plane rotate-kek --new-key FILE`, and hand that file in from then on",
        path.display()
    )]
    NotReplaceable {
        /// The key's path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: FileError,
    },
    /// There is a waiting key, and it does not open this store.
    #[error(
        "the key {} waits and does not open this store: it is another store's, or a replacement was cut short before it was used; move it elsewhere, then try again",
        next.display()
    )]
    Waiting {
        /// Where it waits.
        next: PathBuf,
    },
    /// The new key would be in the place of the old one.
    #[error("{} is the key in use, or where its replacement waits: name another file for the new key", path.display())]
    SamePlace {
        /// What was named.
        path: PathBuf,
    },
    /// The new key's file does not hold the new key any more.
    #[error("{} has changed meanwhile: nothing was changed; try again", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// The new key could not be put in place.
    #[error(
        "the new key-encryption key {} could not take the place of {}: keep both; the next start completes it",
        next.display(),
        path.display()
    )]
    Install {
        /// Where the new key waits.
        next: PathBuf,
        /// Where it belongs.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl Kek {
    /// A key from its bytes, for tests and for providers other than a file.
    pub fn new(key: Key32) -> Self {
        Self(key)
    }

    /// Makes a new key and writes it, as hexadecimal digits, to a file that
    /// only its owner may read.
    ///
    /// # Errors
    /// [`KekError`] when the file exists, lies inside of the data folder or
    /// cannot be written.
    pub fn create(path: &Path, data_folder: &Path) -> Result<Self, KekError> {
        outside(path, data_folder)?;
        if path.symlink_metadata().is_ok() {
            return Err(KekError::Exists { path: path.to_owned() });
        }
        let key = Key32::new(random()?);
        let mut text = Zeroizing::new(String::with_capacity(65));
        for byte in key.expose() {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is a hexadecimal digit"));
            }
        }
        text.push('\n');
        files::write_private(path, text.as_bytes())?;
        Ok(Self(key))
    }

    /// Reads the key from its file.
    ///
    /// # Errors
    /// [`KekError`] unless the file is regular, ours, closed to all others,
    /// outside of the data folder, and holds a key.
    pub fn load(path: &Path, data_folder: &Path) -> Result<Self, KekError> {
        let bytes = files::read_private(path)?;
        outside(path, data_folder)?;
        let malformed = || KekError::Malformed { path: path.to_owned() };
        if let Some(key) = Key32::from_slice(&bytes) {
            return Ok(Self(key));
        }
        let digits = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        if digits.len() != 64 {
            return Err(malformed());
        }
        let mut key = Zeroizing::new([0_u8; 32]);
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or_else(malformed);
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(Key32::new(*key)))
    }

    /// Whether it is the same key.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }

    pub(super) fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// Refuses a path inside the data folder, also through symbolic links and
/// through `..`. Neither needs to exist yet.
fn outside(path: &Path, data_folder: &Path) -> Result<(), KekError> {
    let resolved_path = resolve(path)?;
    let resolved_folder = resolve(data_folder)?;
    // The path as it is written counts too: a link inside the folder to a key
    // outside of it would be copied as the key by most tools.
    let written = std::path::absolute(path).map_err(|source| KekError::Path { path: path.to_owned(), source })?;
    if resolved_path.starts_with(&resolved_folder) || written.starts_with(&resolved_folder) {
        return Err(KekError::InsideDataFolder { path: path.to_owned(), folder: data_folder.to_owned() });
    }
    Ok(())
}

/// The real path of the longest existing beginning, with the rest appended.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, KekError> {
    let error = |source| KekError::Path { path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(error)?;
    let mut rest = Vec::new();
    let mut existing = absolute.as_path();
    loop {
        match existing.canonicalize() {
            Ok(mut real) => {
                real.extend(rest.iter().rev());
                return Ok(real);
            }
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else {
                    return Err(error(source));
                };
                rest.push(name.to_owned());
                existing = parent;
            }
            Err(source) => return Err(error(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn a_key_file_is_closed_to_others_reads_back_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (path, data) = (folder.path().join("kek"), folder.path().join("data"));
        let key = Kek::create(&path, &data).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Kek::load(&path, &data).unwrap().expose(), key.expose());
        assert!(matches!(Kek::create(&path, &data), Err(KekError::Exists { .. })));
        assert_eq!(Kek::load(&path, &data).unwrap().expose(), key.expose());
        assert_eq!(format!("{key:?}"), "Kek([redacted])");
    }

    #[test]
    fn contents() {
        let folder = tempfile::tempdir().unwrap();
        let (path, data) = (folder.path().join("kek"), folder.path().join("data"));
        let cases: [(&[u8], Option<u8>); 8] = [
            (&[7; 32], Some(7)),
            (&[b'1'; 64], Some(0x11)),
            (b"abababababababababababababababababababababababababababababababab\n", Some(0xab)),
            (&[7; 31], None),
            (&[7; 33], None),
            (&[b'g'; 64], None),
            (&[0xff; 64], None),
            (b"", None),
        ];
        for (content, expected) in cases {
            files::write_private(&path, content).unwrap();
            match (Kek::load(&path, &data), expected) {
                (Ok(key), Some(byte)) => assert_eq!(key.expose(), &[byte; 32]),
                (Err(KekError::Malformed { .. }), None) => {}
                (other, _) => panic!("{content:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, data) = (folder.path().join("kek"), folder.path().join("data"));
        Kek::create(&path, &data).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o644, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(Kek::load(&path, &data), Err(KekError::File(FileError::Exposed { .. }))), "{mode:o}");
        }
        assert!(matches!(Kek::load(folder.path(), &data), Err(KekError::File(FileError::NotRegular { .. }))));
        assert!(matches!(Kek::load(&folder.path().join("no"), &data), Err(KekError::File(FileError::Io { .. }))));
    }

    #[test]
    fn a_key_inside_the_data_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir_all(data.join("deep")).unwrap();
        let outer = folder.path().join("kek");
        Kek::create(&outer, &data).unwrap();
        files::write_private(&data.join("real"), &[1; 32]).unwrap();
        symlink(data.join("real"), folder.path().join("link-in")).unwrap();
        symlink(&outer, data.join("link-out")).unwrap();
        symlink(&data, folder.path().join("alias")).unwrap();
        let inside = ["data/real", "data/deep/../real", "link-in", "data/link-out", "alias/real"];
        for path in inside {
            let result = Kek::load(&folder.path().join(path), &data);
            assert!(matches!(result, Err(KekError::InsideDataFolder { .. })), "{path}: {result:?}");
        }
        assert!(matches!(Kek::create(&data.join("deep/new"), &data), Err(KekError::InsideDataFolder { .. })));
        assert!(matches!(
            Kek::load(&folder.path().join("alias/real"), &folder.path().join("alias")),
            Err(KekError::InsideDataFolder { .. })
        ));
        Kek::load(&outer, &data).unwrap();
        // A sibling whose name begins alike is not inside.
        Kek::create(&folder.path().join("data-kek"), &data).unwrap();
    }
}
