//! The form of a sealed record, and AES-256-GCM around it (NIST SP 800-38D):
//!
//! ```text
//! format 1 | generation 4 | version 8 | nonce 12 | ciphertext | tag 16
//! ```
//!
//! The first three fields, the store's id, the tree and the key are associated
//! data: a record that was moved to another key, tree or store, or whose
//! version was rewritten, does not open. An older copy of a record at its own
//! place does open; the store's head notices that one.
//!
//! Nonces are 96 random bits. By SP 800-38D section 8.3 one key may then seal
//! at most 2^32 records; the store counts and refuses the next
//! ([`MAX_SEALS`]).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::{NoRandomness, random};

/// Seals that one data key may make.
pub const MAX_SEALS: u64 = 1 << 32;

const FORMAT: u8 = 1;
const HEADER: usize = 1 + 4 + 8;
const TAG: usize = 16;

/// What a record is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Which store.
    pub store: &'a [u8; 16],
    /// Which tree.
    pub tree: &'a str,
    /// Which key in it.
    pub key: &'a [u8],
}

/// A record does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    /// Too short to be a record.
    #[error("it is cut off")]
    Cut,
    /// Sealed by a newer program, or not by us.
    #[error("its format {0} is not known to this version")]
    Format(u8),
    /// Its data key is not in the key ring.
    #[error("its data key (generation {0}) is not in the key ring")]
    Generation(u32),
    /// The bytes are not what was sealed here.
    #[error("it was altered, moved here from elsewhere, or sealed by another key")]
    Altered,
}

/// A record's content.
#[derive(Debug)]
pub struct Opened {
    /// The version that it was sealed with.
    pub version: u64,
    /// The content.
    pub plain: Zeroizing<Vec<u8>>,
}

/// One data key.
pub(super) struct DataKey(LessSafeKey);

impl DataKey {
    pub(super) fn new(bytes: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("AES-256 takes 32 bytes")))
    }

    pub(super) fn seal(
        &self,
        place: Place<'_>,
        generation: u32,
        version: u64,
        plain: &[u8],
    ) -> Result<Vec<u8>, NoRandomness> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut out = Vec::with_capacity(HEADER + NONCE_LEN + plain.len() + TAG);
        out.push(FORMAT);
        out.extend_from_slice(&generation.to_be_bytes());
        out.extend_from_slice(&version.to_be_bytes());
        let aad = associated(place, &out);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let body = &mut out[HEADER + NONCE_LEN..];
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body)
            .expect("records are far below the 64 GiB that GCM takes");
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    pub(super) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Opened, Unsealed> {
        let (header, rest) = sealed.split_at_checked(HEADER).ok_or(Unsealed::Cut)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(Unsealed::Cut)?;
        if body.len() < TAG {
            return Err(Unsealed::Cut);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealed::Cut)?;
        let mut plain = Zeroizing::new(body.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(associated(place, header)), &mut plain)
            .map_err(|_| Unsealed::Altered)?
            .len();
        plain.truncate(length);
        let version = header[5..].try_into().map_err(|_| Unsealed::Cut)?;
        Ok(Opened { version: u64::from_be_bytes(version), plain })
    }
}

/// The generation that a sealed record names.
pub(crate) fn generation(sealed: &[u8]) -> Result<u32, Unsealed> {
    match sealed {
        [] => Err(Unsealed::Cut),
        [FORMAT, a, b, c, d, ..] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        [FORMAT, ..] => Err(Unsealed::Cut),
        [format, ..] => Err(Unsealed::Format(*format)),
    }
}

/// Each part with its length, so that no two places give the same bytes.
fn associated(place: Place<'_>, header: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + place.tree.len() + place.key.len());
    for part in [place.store.as_slice(), place.tree.as_bytes(), place.key, header] {
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}
