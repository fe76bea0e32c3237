//! The header file beside the database: format, store id and wrapped data
//! keys. It is read before the database is touched, so that a wrong key or a
//! newer format is refused first. It is written last when a store is made, so
//! that a store without it is known to be unfinished.

use std::path::Path;

use nla_proto::files::{self, FileError};
use prost::Message;

use super::error::StoreError;
use crate::crypto::WrappedKeys;

/// The format that this version reads and writes.
pub(super) const FORMAT: u32 = 1;

const NAME: &str = "header";
const MAGIC: &[u8] = b"NLA store\n";

#[derive(Clone, PartialEq, prost::Message)]
struct HeaderBody {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(message, optional, tag = "2")]
    keys: Option<WrappedKeys>,
    /// Of the store that the header was made for; shown by tools.
    #[prost(string, tag = "3")]
    made_by: String,
}

pub(super) fn exists(dir: &Path) -> bool {
    dir.join(NAME).symlink_metadata().is_ok()
}

pub(super) fn write(dir: &Path, keys: WrappedKeys) -> Result<(), FileError> {
    let made_by = format!("nla-control-plane {}", env!("CARGO_PKG_VERSION"));
    let mut bytes = MAGIC.to_vec();
    bytes.extend(HeaderBody { format: FORMAT, keys: Some(keys), made_by }.encode_to_vec());
    files::write_private(&dir.join(NAME), &bytes)
}

pub(super) fn read(dir: &Path) -> Result<WrappedKeys, StoreError> {
    let path = dir.join(NAME);
    let bytes = files::read_private(&path)?;
    let body = bytes.strip_prefix(MAGIC).and_then(|body| HeaderBody::decode(body).ok());
    let Some(body) = body else { return Err(StoreError::Header { path }) };
    if body.format != FORMAT {
        return Err(StoreError::Format { found: body.format, supported: FORMAT });
    }
    body.keys.ok_or(StoreError::Header { path })
}
