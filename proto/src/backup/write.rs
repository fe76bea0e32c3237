//! Writes a backup, pair by pair.

use std::io::{self, Write};

use aws_lc_rs::digest::{self, SHA256};
use prost::Message as _;

use super::{BEGIN_PLACE, BackupKey, BackupSum, END, END_PLACE, FORMAT, MAGIC};
use crate::v1::BackupManifest;

/// A backup in the making. Only [`BackupWriter::finish`] makes it whole.
pub struct BackupWriter<W> {
    out: W,
    key: BackupKey,
    /// Over the pairs and all before them; the end holds it.
    inner: digest::Context,
    /// Over the whole file.
    outer: digest::Context,
    pairs: u64,
    bytes: u64,
}

impl<W> std::fmt::Debug for BackupWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupWriter").field("pairs", &self.pairs).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl<W: Write> BackupWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(out: W, key: BackupKey, manifest: &BackupManifest, header: &[u8]) -> io::Result<Self> {
        let (inner, outer) = (digest::Context::new(&SHA256), digest::Context::new(&SHA256));
        let mut writer = Self { out, key, inner, outer, pairs: 0, bytes: 0 };
        writer.put(MAGIC)?;
        writer.put(format!("{FORMAT}\n").as_bytes())?;
        for part in [manifest.encode_to_vec().as_slice(), header] {
            writer.put(&length(part)?)?;
            writer.put(part)?;
        }
        let mac = writer.key.mac(BEGIN_PLACE, &sum(&writer.inner));
        writer.put(&mac)?;
        Ok(writer)
    }

    /// Adds a pair; the caller keeps their order.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn pair(&mut self, tree: u8, key: &[u8], value: &[u8]) -> io::Result<()> {
        debug_assert_ne!(tree, END, "0 ends the pairs");
        self.put(&[tree])?;
        self.put(&length(key)?)?;
        self.put(&length(value)?)?;
        self.put(key)?;
        self.put(value)?;
        self.pairs += 1;
        Ok(())
    }

    /// Pairs so far.
    pub fn pairs(&self) -> u64 {
        self.pairs
    }

    /// What was given to write to.
    pub fn inner_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Makes the file whole, and gives back what was written to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<(BackupSum, W)> {
        self.put(&[END])?;
        self.put(&self.pairs.to_be_bytes())?;
        let digest = sum(&self.inner);
        let mac = self.key.mac(END_PLACE, &digest);
        self.put(&digest)?;
        self.put(&mac)?;
        self.out.flush()?;
        Ok((BackupSum { pairs: self.pairs, bytes: self.bytes, sha256: sum(&self.outer) }, self.out))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.inner.update(bytes);
        self.outer.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn length(part: &[u8]) -> io::Result<[u8; 4]> {
    let length = u32::try_from(part.len()).map_err(|_| io::Error::other("a part of the backup is too long"))?;
    Ok(length.to_be_bytes())
}

/// The value of a digest that goes on.
pub(super) fn sum(context: &digest::Context) -> [u8; 32] {
    context.clone().finish().as_ref().try_into().expect("SHA-256 yields 32 bytes")
}
