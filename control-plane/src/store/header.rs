//! The header file beside the database: format, store id and wrapped data
//! keys. It is read before the database is touched, so that a wrong key or a
//! newer format is refused first. It is written last when a store is made, so
//! that a store without it is known to be unfinished.
//!
//! ```text
//! NLA store format 1\n | SHA-256 of the rest 32 | wrapped keys, protobuf
//! ```

use std::path::Path;

use nla_domain::snapshot::Digest;
use nla_proto::files::{self, FileError};
use prost::Message;

use super::error::StoreError;
use crate::crypto::WrappedKeys;

/// The format that this version reads and writes.
pub(super) const FORMAT: u32 = 1;

const NAME: &str = "header";
const MAGIC: &[u8] = b"NLA store format ";

pub(super) fn exists(dir: &Path) -> bool {
    dir.join(NAME).symlink_metadata().is_ok()
}

pub(super) fn write(dir: &Path, keys: &WrappedKeys) -> Result<(), FileError> {
    let body = keys.encode_to_vec();
    let line = format!("{FORMAT}\n");
    write_bytes(dir, &[MAGIC, line.as_bytes(), &Digest::of(&body).0, &body].concat())
}

/// Writes what [`read_bytes`] has read.
pub(super) fn write_bytes(dir: &Path, bytes: &[u8]) -> Result<(), FileError> {
    files::write_private(&dir.join(NAME), bytes)
}

pub(super) fn read_bytes(dir: &Path) -> Result<Vec<u8>, StoreError> {
    Ok(files::read_private(&dir.join(NAME))?.to_vec())
}

pub(super) fn read(dir: &Path) -> Result<WrappedKeys, StoreError> {
    parse(&read_bytes(dir)?, &dir.join(NAME))
}

/// Reads a header's bytes; `path` names it in errors.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<WrappedKeys, StoreError> {
    let path = path.to_owned();
    let Some((found, rest)) = format(bytes) else { return Err(StoreError::Header { path }) };
    if found != FORMAT {
        return Err(StoreError::Format { found, supported: FORMAT });
    }
    let keys = rest.split_at_checked(32).filter(|(sum, body)| Digest::of(body).0 == *sum);
    let keys = keys.and_then(|(_, body)| WrappedKeys::decode(body).ok());
    keys.ok_or(StoreError::Header { path })
}

/// The format's number and what follows its line.
fn format(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let number = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((number, &rest[end + 1..]))
}
