//! Reads a backup, pair by pair, and believes nothing before its end.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use aws_lc_rs::digest::{self, SHA256};
use prost::Message as _;

use super::{
    BEGIN_PLACE, BackupError, BackupKey, BackupPair, BackupSum, END, END_PLACE, FORMAT, MAGIC, MAX_HEADER_BYTES,
    MAX_KEY_BYTES, MAX_MANIFEST_BYTES, MAX_VALUE_BYTES, write::sum,
};
use crate::v1::BackupManifest;

/// A backup that is being read. What it gave counts only once
/// [`BackupReader::next_pair`] has answered `None`.
pub struct BackupReader<R> {
    input: Counted<R>,
    manifest: BackupManifest,
    header: Vec<u8>,
    /// Digest of the beginning, and the MAC that the file has for it.
    begin: ([u8; 32], [u8; 32]),
    key: Option<BackupKey>,
    last: Option<(u8, Vec<u8>)>,
    pairs: BTreeMap<u8, u64>,
    end: Option<BackupSum>,
}

impl<R> std::fmt::Debug for BackupReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupReader").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

struct Counted<R> {
    input: R,
    hash: digest::Context,
    bytes: u64,
}

impl<R: Read> Counted<R> {
    fn take(&mut self, buffer: &mut [u8]) -> Result<(), BackupError> {
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Cut { bytes: self.bytes },
            _ => BackupError::Io(error),
        })?;
        self.hash.update(buffer);
        self.bytes += buffer.len() as u64;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.take(&mut bytes)?;
        Ok(bytes)
    }

    fn length(&mut self, most: usize, what: &'static str) -> Result<usize, BackupError> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).unwrap_or(usize::MAX);
        if length > most { Err(BackupError::Damaged { what }) } else { Ok(length) }
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = vec![0; length];
        self.take(&mut bytes)?;
        Ok(bytes)
    }

    /// The number in the first line.
    fn format(&mut self) -> Result<u32, BackupError> {
        let mut magic = [0; MAGIC.len()];
        match self.take(&mut magic) {
            Ok(()) if magic == *MAGIC => {}
            Err(BackupError::Io(error)) => return Err(error.into()),
            // Too short to tell, or something else.
            _ => return Err(BackupError::NotABackup),
        }
        let mut number: u32 = 0;
        for _ in 0..9 {
            match self.array::<1>()?[0] {
                b'\n' => return Ok(number),
                digit @ b'0'..=b'9' => number = number * 10 + u32::from(digit - b'0'),
                _ => break,
            }
        }
        Err(BackupError::NotABackup)
    }
}

impl<R: Read> BackupReader<R> {
    /// Reads the beginning.
    ///
    /// # Errors
    /// [`BackupError`] when it is not one of a backup, or of another format.
    pub fn open(input: R) -> Result<Self, BackupError> {
        let mut input = Counted { input, hash: digest::Context::new(&SHA256), bytes: 0 };
        let found = input.format()?;
        if found != FORMAT {
            return Err(BackupError::Format { found });
        }
        let length = input.length(MAX_MANIFEST_BYTES, "its manifest is too long")?;
        let manifest = input.bytes(length)?;
        let length = input.length(MAX_HEADER_BYTES, "its header is too long")?;
        let header = input.bytes(length)?;
        let digest = sum(&input.hash);
        let begin = (digest, input.array()?);
        let manifest = BackupManifest::decode(manifest.as_slice())
            .map_err(|_| BackupError::Damaged { what: "its manifest cannot be read" })?;
        Ok(Self { input, manifest, header, begin, key: None, last: None, pairs: BTreeMap::new(), end: None })
    }

    /// What the file says that it is. To be believed after
    /// [`BackupReader::authenticate`].
    pub fn manifest(&self) -> &BackupManifest {
        &self.manifest
    }

    /// The header of the store that was backed up.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Checks the beginning, and with the last pair the end, by that key.
    ///
    /// # Errors
    /// [`BackupError::Foreign`].
    pub fn authenticate(&mut self, key: BackupKey) -> Result<(), BackupError> {
        key.check(BEGIN_PLACE, &self.begin.0, &self.begin.1)?;
        self.key = Some(key);
        Ok(())
    }

    /// The next pair; `None` once the whole file was read and is what was
    /// written.
    ///
    /// # Errors
    /// [`BackupError`]; then nothing of the file may be used.
    pub fn next_pair(&mut self) -> Result<Option<BackupPair>, BackupError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let [tree] = self.input.array()?;
        if tree == END {
            self.finish()?;
            return Ok(None);
        }
        let key_length = self.input.length(MAX_KEY_BYTES, "a key is too long")?;
        let value_length = self.input.length(MAX_VALUE_BYTES, "a record is too long")?;
        let key = self.input.bytes(key_length)?;
        let value = self.input.bytes(value_length)?;
        let place = (tree, key);
        if self.last.as_ref().is_some_and(|last| *last >= place) {
            return Err(BackupError::Damaged { what: "its records are not in their order" });
        }
        *self.pairs.entry(tree).or_default() += 1;
        let pair = BackupPair { tree, key: place.1.clone(), value };
        self.last = Some(place);
        Ok(Some(pair))
    }

    /// Pairs of that tree so far.
    pub fn pairs(&self, tree: u8) -> u64 {
        self.pairs.get(&tree).copied().unwrap_or_default()
    }

    /// What the whole file amounts to, once it was read.
    pub fn sum(&self) -> Option<BackupSum> {
        self.end
    }

    fn finish(&mut self) -> Result<(), BackupError> {
        let counted = u64::from_be_bytes(self.input.array()?);
        let digest = sum(&self.input.hash);
        let written: [u8; 32] = self.input.array()?;
        let mac: [u8; 32] = self.input.array()?;
        if digest != written {
            return Err(BackupError::Damaged { what: "its checksum does not fit" });
        }
        let pairs = self.pairs.values().sum();
        if counted != pairs {
            return Err(BackupError::Damaged { what: "it does not hold as many records as it says" });
        }
        if let Some(key) = &self.key {
            key.check(END_PLACE, &digest, &mac)?;
        }
        let mut more = [0];
        loop {
            match self.input.input.read(&mut more) {
                Ok(0) => break,
                Ok(_) => return Err(BackupError::Damaged { what: "it goes on after its end" }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.end = Some(BackupSum { pairs, bytes: self.input.bytes, sha256: sum(&self.input.hash) });
        Ok(())
    }
}
