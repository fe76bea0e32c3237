//! New keys around and inside of a wrapped key ring. All of it is a function
//! of the wrapped form and the key-encryption key: the clear keys are in memory
//! only while one of these runs. The caller writes the result to the disk
//! before it is used.

use zeroize::Zeroizing;

use super::{ClearDataKey, ClearKeysGuard, Keyring, KeyringError, Tree, WRAPPING, WrappedKeys, kek_check, open_clear};
use crate::crypto::{
    Kek, random,
    sealed::{DataKey, Place},
};

impl WrappedKeys {
    /// How often the key-encryption key was replaced, plus one.
    pub fn kek_generation(&self) -> u64 {
        // The first goes without a number, as headers from before there were others do.
        self.kek_generation.max(1)
    }

    /// The same keys, wrapped by another key-encryption key of that generation.
    ///
    /// # Errors
    /// [`KeyringError`] when `old` does not open them.
    pub fn rewrapped(&self, old: &Kek, new: &Kek, generation: u64) -> Result<Self, KeyringError> {
        let (store_id, clear) = open_clear(old, self)?;
        let mut wrapped = wrap(new, store_id, &clear)?;
        wrapped.kek_generation = generation;
        checked(new, wrapped)
    }

    /// The same keys and one more for each tree, which seals from then on.
    ///
    /// # Errors
    /// [`KeyringError`] when `kek` does not open them.
    pub fn with_generation(&self, kek: &Kek, generation: u32) -> Result<Self, KeyringError> {
        self.changed(kek, |clear| {
            clear.0.data.retain(|data| data.generation < generation);
            for tree in Tree::ALL {
                let key = random::<32>()?.to_vec();
                clear.0.data.push(ClearDataKey { tree: tree.as_str().into(), generation, key });
            }
            Ok(())
        })
    }

    /// The same keys without those of earlier generations: what they have
    /// sealed can never be opened again.
    ///
    /// # Errors
    /// [`KeyringError`] when `kek` does not open them.
    pub fn without_before(&self, kek: &Kek, generation: u32) -> Result<Self, KeyringError> {
        self.changed(kek, |clear| {
            use zeroize::Zeroize as _;
            let old = clear.0.data.iter_mut().filter(|data| data.generation < generation);
            old.for_each(|data| data.key.zeroize());
            clear.0.data.retain(|data| data.generation >= generation);
            Ok(())
        })
    }

    fn changed(
        &self,
        kek: &Kek,
        change: impl FnOnce(&mut ClearKeysGuard) -> Result<(), KeyringError>,
    ) -> Result<Self, KeyringError> {
        let (store_id, mut clear) = open_clear(kek, self)?;
        change(&mut clear)?;
        let mut wrapped = wrap(kek, store_id, &clear)?;
        wrapped.kek_generation = self.kek_generation;
        checked(kek, wrapped)
    }
}

/// What does not open again must never reach the disk.
fn checked(kek: &Kek, wrapped: WrappedKeys) -> Result<WrappedKeys, KeyringError> {
    Keyring::unwrap(kek, &wrapped)?;
    Ok(wrapped)
}

pub(super) fn wrap(kek: &Kek, store_id: [u8; 16], clear: &ClearKeysGuard) -> Result<WrappedKeys, KeyringError> {
    use prost::Message as _;
    let plain = Zeroizing::new(clear.0.encode_to_vec());
    let place = Place { store: &store_id, tree: WRAPPING, key: b"" };
    let sealed = DataKey::new(kek.expose()).seal(place, 0, 0, &plain)?;
    Ok(WrappedKeys { store_id: store_id.to_vec(), kek_check: kek_check(kek, &store_id), sealed, kek_generation: 0 })
}

impl Keyring {
    /// Takes over the data keys of the same store's ring as it is wrapped now.
    ///
    /// # Errors
    /// [`KeyringError`] when they do not open, or are of another store.
    pub fn adopt(&self, kek: &Kek, wrapped: &WrappedKeys) -> Result<(), KeyringError> {
        let other = Self::unwrap(kek, wrapped)?;
        if other.store_id != self.store_id {
            return Err(KeyringError::Damaged);
        }
        self.data.store(other.data.load_full());
        Ok(())
    }

    /// The generation that seals records of that tree.
    ///
    /// # Panics
    /// Never: each tree has a key.
    pub fn newest(&self, tree: Tree) -> u32 {
        *self.data.load()[&tree].last_key_value().expect("each tree has a key").0
    }

    /// All generations that are kept of any tree, oldest first.
    pub fn generations(&self) -> Vec<u32> {
        let data = self.data.load();
        let mut all: Vec<u32> = data.values().flat_map(|keys| keys.keys().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}
