//! The key-encryption key replaced offline, where the service may not write
//! beside it. Called by `nla-control-plane rotate-kek`. The store's lock keeps
//! it apart from the service.

use std::{path::Path, sync::Arc};

use nla_domain::clock::SystemClock;

use crate::{
    config::Config,
    crypto::{Kek, KekError, KekFile},
    store::{Store, StoreError, StoreOptions},
};

/// Why the key was not replaced.
#[derive(Debug, thiserror::Error)]
pub enum RotateKekError {
    /// The new key cannot be made or read.
    #[error("the new key cannot be used")]
    Key(#[source] KekError),
    /// The store cannot be opened, or the service runs.
    #[error("cannot replace the store's key")]
    Store(#[source] StoreError),
    /// A task that died.
    #[error("the replacement was cut short: run it again")]
    Cut,
}

/// Wraps the store's keys by the key in `new_key`, which is made when there is
/// none, and gives the generation that this key is. Repeated after a crash, it
/// completes what was begun.
///
/// # Errors
/// [`RotateKekError`]; the old key opens the store then.
pub async fn rotate_kek(config: &Config, new_key: &Path) -> Result<u64, RotateKekError> {
    let (config, new_key) = (config.clone(), new_key.to_owned());
    let replaced = tokio::task::spawn_blocking(move || {
        let file = KekFile::new(&config.key_file, &config.data_dir);
        // There it would be the old key, or be taken for what waits beside it.
        file.must_not_be(&new_key).map_err(RotateKekError::Key)?;
        let new = if new_key.symlink_metadata().is_ok() {
            Kek::load(&new_key, &config.data_dir)
        } else {
            Kek::create(&new_key, &config.data_dir)
        };
        let new = new.map_err(RotateKekError::Key)?;
        let options = StoreOptions::new(&config.data_dir, Arc::new(SystemClock));
        Store::rewrap(&options, &file, &new_key, &new).map_err(RotateKekError::Store)
    });
    replaced.await.map_err(|_| RotateKekError::Cut)?
}
