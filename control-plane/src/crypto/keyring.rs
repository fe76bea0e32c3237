//! The data keys of one store, by tree and generation, and the keys of its
//! index and head. They exist in clear only in memory; on disk they are
//! wrapped by the key-encryption key.

mod rotation;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use nla_domain::secret::Key32;
use prost::Message;

use super::{
    Kek, NoRandomness, random,
    sealed::{self, DataKey, Opened, Place, Unsealed},
};
use crate::redacted::redacted;

/// Parts of the store that have data keys of their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Tree {
    /// The head: what the other trees must hold.
    Meta,
    /// Records.
    State,
    /// Which records each revision changed.
    Changes,
    /// The audit log.
    Audit,
}

impl Tree {
    /// All trees.
    pub const ALL: [Self; 4] = [Self::Meta, Self::State, Self::Changes, Self::Audit];

    /// The name on disk and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::State => "state",
            Self::Changes => "changes",
            Self::Audit => "audit",
        }
    }
}

/// Why data keys could not be unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The keys were wrapped by another key-encryption key.
    #[error("this is not the key-encryption key of the store: give the key file that was made with it")]
    WrongKek,
    /// The key matches, and what it wraps does not open.
    #[error("the store's wrapped data keys are damaged: restore the header file from a backup")]
    Damaged,
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// What lies on disk. All of it may be public.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WrappedKeys {
    /// Random id of the store.
    #[prost(bytes = "vec", tag = "1")]
    pub store_id: Vec<u8>,
    /// Tells a wrong key-encryption key from damage.
    #[prost(bytes = "vec", tag = "2")]
    pub kek_check: Vec<u8>,
    /// The sealed `ClearKeys`.
    #[prost(bytes = "vec", tag = "3")]
    pub sealed: Vec<u8>,
    /// How often the key-encryption key was replaced, plus one; 0 means never.
    #[prost(uint64, tag = "4")]
    pub kek_generation: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct ClearKeys {
    #[prost(bytes = "vec", tag = "1")]
    index: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    set: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    data: Vec<ClearDataKey>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct ClearDataKey {
    #[prost(string, tag = "1")]
    tree: String,
    #[prost(uint32, tag = "2")]
    generation: u32,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
}

redacted!(ClearKeys, ClearDataKey, Keyring);

/// The clear messages leave no trace in freed memory.
impl Drop for ClearKeysGuard {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.0.index.zeroize();
        self.0.set.zeroize();
        self.0.data.iter_mut().for_each(|data| data.key.zeroize());
    }
}

struct ClearKeysGuard(ClearKeys);

/// The keys of one open store.
pub struct Keyring {
    store_id: [u8; 16],
    index: hmac::Key,
    set: hmac::Key,
    /// By tree; the last generation seals. Replaced whole when keys are rotated.
    data: ArcSwap<DataKeys>,
}

type DataKeys = BTreeMap<Tree, BTreeMap<u32, DataKey>>;

const WRAPPING: &str = "keyring";

impl Keyring {
    /// Fresh keys for a new store, and their wrapped form.
    ///
    /// # Errors
    /// [`KeyringError::NoRandomness`].
    pub fn create(kek: &Kek) -> Result<(Self, WrappedKeys), KeyringError> {
        let store_id = random()?;
        let fresh = || -> Result<Vec<u8>, NoRandomness> { Ok(random::<32>()?.to_vec()) };
        let mut clear = ClearKeysGuard(ClearKeys { index: fresh()?, set: fresh()?, data: vec![] });
        for tree in Tree::ALL {
            clear.0.data.push(ClearDataKey { tree: tree.as_str().into(), generation: 1, key: fresh()? });
        }
        let wrapped = rotation::wrap(kek, store_id, &clear)?;
        let ring = Self::from_clear(store_id, &clear.0).expect("the keys were just made");
        Ok((ring, wrapped))
    }

    /// Opens the keys of an existing store.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn unwrap(kek: &Kek, wrapped: &WrappedKeys) -> Result<Self, KeyringError> {
        let (store_id, clear) = open_clear(kek, wrapped)?;
        Self::from_clear(store_id, &clear.0).ok_or(KeyringError::Damaged)
    }

    /// The store's id.
    pub fn store_id(&self) -> &[u8; 16] {
        &self.store_id
    }

    fn from_clear(store_id: [u8; 16], clear: &ClearKeys) -> Option<Self> {
        let mut data = DataKeys::new();
        for entry in &clear.data {
            let tree = Tree::ALL.into_iter().find(|tree| tree.as_str() == entry.tree)?;
            let key = Key32::from_slice(&entry.key)?;
            data.entry(tree).or_default().insert(entry.generation, DataKey::new(key.expose()));
        }
        let complete = Tree::ALL.iter().all(|tree| data.contains_key(tree));
        let keys = complete && clear.index.len() == 32 && clear.set.len() == 32;
        keys.then(|| Self {
            store_id,
            index: hmac::Key::new(hmac::HMAC_SHA256, &clear.index),
            set: hmac::Key::new(hmac::HMAC_SHA256, &clear.set),
            data: ArcSwap::new(Arc::new(data)),
        })
    }

    /// Seals a record for its place.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn seal(&self, tree: Tree, key: &[u8], version: u64, plain: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        let data = self.data.load();
        let (generation, data_key) = data[&tree].last_key_value().expect("each tree has a key");
        data_key.seal(self.place(tree, key), *generation, version, plain)
    }

    /// Opens what is at that place.
    ///
    /// # Errors
    /// [`Unsealed`] when it is not what was sealed there.
    pub fn open(&self, tree: Tree, key: &[u8], sealed: &[u8]) -> Result<Opened, Unsealed> {
        let generation = sealed::generation(sealed)?;
        let data = self.data.load();
        let data_key = data[&tree].get(&generation).ok_or(Unsealed::Generation(generation))?;
        data_key.open(self.place(tree, key), sealed)
    }

    /// The key under which a record lies: it tells the same record again and
    /// reveals nothing about its name.
    pub fn index(&self, kind: &str, parts: &[&[u8]]) -> [u8; 32] {
        mac(&self.index, std::iter::once(kind.as_bytes()).chain(parts.iter().copied()))
    }

    /// A record's share in the head's digest of all records. It is keyed, so
    /// that nobody can look for other sets of records with the same sum.
    pub fn set_element(&self, key: &[u8], sealed: &[u8]) -> [u8; 32] {
        mac(&self.set, [key, sealed].into_iter())
    }

    fn place<'a>(&'a self, tree: Tree, key: &'a [u8]) -> Place<'a> {
        Place { store: &self.store_id, tree: tree.as_str(), key }
    }
}

fn open_clear(kek: &Kek, wrapped: &WrappedKeys) -> Result<([u8; 16], ClearKeysGuard), KeyringError> {
    let store_id: [u8; 16] = wrapped.store_id.as_slice().try_into().map_err(|_| KeyringError::Damaged)?;
    let place = Place { store: &store_id, tree: WRAPPING, key: b"" };
    let Ok(opened) = DataKey::new(kek.expose()).open(place, &wrapped.sealed) else {
        let right = kek_check(kek, &store_id) == wrapped.kek_check;
        return Err(if right { KeyringError::Damaged } else { KeyringError::WrongKek });
    };
    let clear = ClearKeysGuard(ClearKeys::decode(opened.plain.as_slice()).map_err(|_| KeyringError::Damaged)?);
    Ok((store_id, clear))
}

fn mac<'a>(key: &hmac::Key, parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        context.update(part);
    }
    context.sign().as_ref().try_into().expect("HMAC-SHA256 yields 32 bytes")
}

fn kek_check(kek: &Kek, store_id: &[u8; 16]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, kek.expose());
    mac(&key, [b"nla key check".as_slice(), store_id].into_iter())[..8].to_vec()
}

#[cfg(test)]
mod tests;
