//! Encryption at rest. A key-encryption key outside the data folder ([`Kek`])
//! wraps the data keys ([`Keyring`]); each record is sealed so that it can be
//! neither read, changed, moved nor put back unnoticed ([`sealed`]).

mod kek;
mod kek_file;
mod keyring;
pub mod sealed;

pub use kek::{Kek, KekError};
pub use kek_file::KekFile;
pub use keyring::{Keyring, KeyringError, Tree, WrappedKeys};

/// The operating system has no randomness to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random generator failed")]
pub struct NoRandomness;

/// Fresh random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}
