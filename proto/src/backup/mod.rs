//! The form of a backup file. The control plane writes and restores it;
//! `nlactl` looks at it without a key. Invariants: a file that was cut off,
//! changed, put together anew or continued is refused; what is in it is passed
//! on as it was sealed, one pair at a time.
//!
//! ```text
//! NLA backup format 1\n
//! length 4 | manifest, protobuf `BackupManifest`
//! length 4 | the store's header: its id and its wrapped data keys
//! MAC 32 of all before it
//! pairs: tree 1 | key length 4 | value length 4 | key | value
//! end: 0 | number of pairs 8 | SHA-256 32 of all before it | MAC 32 of that
//! ```
//!
//! Numbers are big-endian. Trees come in the order of their tags and keys in
//! their own order, each once. The MACs are HMAC-SHA256 under a key that the
//! store derives from its key ring. Without it the SHA-256 tells damage, but
//! not malice.

mod read;
mod write;

use std::io;

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest, hmac};
use zeroize::Zeroizing;

pub use read::BackupReader;
pub use write::BackupWriter;

/// Tags of the trees. The log of changes comes before the records that it is
/// about, so that a reader remembers the short one of the two.
pub const TREES: [(&str, u8); 4] = [("meta", 1), ("changes", 2), ("state", 3), ("audit", 4)];

/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;

const MAGIC: &[u8] = b"NLA backup format ";
/// Ends the pairs; trees have other tags.
const END: u8 = 0;
/// Names and counts of four trees are far smaller.
const MAX_MANIFEST_BYTES: usize = 64 << 10;
/// Wrapped keys of many generations are far smaller.
const MAX_HEADER_BYTES: usize = 1 << 20;
/// Keys are indexes of 32 bytes or numbers.
const MAX_KEY_BYTES: usize = 1 << 10;
/// The store accepts 256 KiB and adds its seal.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// The key that authenticates the backups of one store.
#[derive(Clone)]
pub struct BackupKey(hmac::Key);

impl std::fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BackupKey [redacted]")
    }
}

impl BackupKey {
    /// From 32 secret bytes.
    pub fn new(bytes: &Zeroizing<[u8; 32]>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice()))
    }

    fn mac(&self, place: &[u8], digest: &[u8; 32]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(place);
        context.update(digest);
        context.sign().as_ref().try_into().expect("HMAC-SHA256 yields 32 bytes")
    }

    fn check(&self, place: &[u8], digest: &[u8; 32], mac: &[u8; 32]) -> Result<(), BackupError> {
        verify_slices_are_equal(&self.mac(place, digest), mac).map_err(|_| BackupError::Foreign)
    }
}

/// Where a MAC stands, so that one is not taken for the other.
const BEGIN_PLACE: &[u8] = b"nla backup begin";
const END_PLACE: &[u8] = b"nla backup end";

/// A sealed value and where it lies in the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupPair {
    /// The tree's tag, 1 or more.
    pub tree: u8,
    /// The key in it.
    pub key: Vec<u8>,
    /// The sealed value.
    pub value: Vec<u8>,
}

/// SHA-256 of a file that comes piece by piece.
#[derive(Clone)]
pub struct BackupHash(digest::Context);

impl std::fmt::Debug for BackupHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BackupHash")
    }
}

impl Default for BackupHash {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl BackupHash {
    /// Adds a piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all pieces.
    pub fn sum(&self) -> [u8; 32] {
        write::sum(&self.0)
    }
}

/// What a whole file amounts to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BackupSum {
    /// Pairs in it.
    pub pairs: u64,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of all its bytes.
    pub sha256: [u8; 32],
}

/// Why a file is not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Another kind of file.
    #[error("this is not a backup of NLA")]
    NotABackup,
    /// Made by a newer version.
    #[error("the backup has format {found} and this version reads format {FORMAT}: use the version that made it")]
    Format {
        /// The file's format.
        found: u32,
    },
    /// It ends too early.
    #[error("the backup is cut off after {bytes} bytes: it was not written or copied to its end; use another one")]
    Cut {
        /// What is there.
        bytes: u64,
    },
    /// It is not what was written.
    #[error("the backup is damaged ({what}): use another one")]
    Damaged {
        /// What does not fit.
        what: &'static str,
    },
    /// The checksum is right and the MAC is not.
    #[error(
        "the backup's seal does not fit: it was damaged, or changed, or put together from several: use another one"
    )]
    Foreign,
    /// The operating system refused.
    #[error("the backup cannot be read or written")]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests;
