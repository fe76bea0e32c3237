//! What the control plane has sent, item by item, and the snapshot made of it.
//! `session` feeds it. Invariants: a change counts only when the digest over
//! all items is the control plane's; an item that cannot be used keeps its last
//! good value of the same epoch; a revoked token never comes back.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use nla_domain::{
    clock::{Timestamp, WallClock},
    id::{Epoch, Revision, TokenId},
    snapshot::{Digest, ItemKey, ItemKind, Snapshot},
};
use nla_proto::{convert::from_item_kind, v1};

use super::{
    item::{self, Value},
    tombstones::Tombstones,
};

/// Items of one state; 50 times what the design counts on.
const MAX_ITEMS: usize = 500_000;
/// Encoded bytes of one state.
const MAX_BYTES: usize = 256 << 20;

/// Why what was sent cannot be used as a whole. Each of them ends the stream,
/// and the next one asks for everything.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A delta that starts elsewhere.
    #[error("a delta starts at revision {from} and this edge holds {held}")]
    Gap {
        /// Where the delta starts.
        from: Revision,
        /// What the edge holds.
        held: Revision,
    },
    /// The two ends do not hold the same.
    #[error("the digest of revision {revision} is not the control plane's")]
    Digest {
        /// The revision in question.
        revision: Revision,
    },
    /// An older revision in the same life of the control plane's state.
    #[error(
        "the control plane offers revision {offered}, older than {held} that this edge holds, and its epoch is the same; \
         was an old copy of its store put in place without `restore`?"
    )]
    WentBack {
        /// What it offers.
        offered: Revision,
        /// What the edge holds.
        held: Revision,
    },
    /// Without them no token can be checked.
    #[error("the control plane sent no usable settings")]
    NoSettings,
    /// More than any edge should hold.
    #[error("the control plane sent more than {MAX_ITEMS} items or {MAX_BYTES} bytes")]
    TooLarge,
    /// A malformed message.
    #[error("the control plane sent a malformed {0}; is this edge older than the control plane?")]
    Malformed(&'static str),
}

/// An item that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefusedItem {
    pub(super) key: ItemKey,
    pub(super) reason: String,
}

/// A new whole state.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) digest: Digest,
    pub(super) refused: Vec<RefusedItem>,
    /// Tokens that are listed as live and were seen revoked in another epoch.
    pub(super) revived: Vec<TokenId>,
}

#[derive(Debug, Clone)]
struct Entry {
    digest: Digest,
    bytes: usize,
    /// The last good value; `None` when there never was one.
    value: Option<Value>,
    /// Whether `value` is what `digest` is of.
    current: bool,
}

type Entries = BTreeMap<ItemKey, Entry>;

#[derive(Debug)]
pub(super) struct Held {
    pub(super) epoch: Epoch,
    pub(super) revision: Revision,
    pub(super) digest: Digest,
    entries: Entries,
}

/// Items of a snapshot that is still arriving.
#[derive(Debug, Default)]
pub(super) struct Arriving {
    entries: Entries,
    refused: Vec<RefusedItem>,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct State {
    held: Option<Held>,
    /// The epoch before the one that is held.
    former: Option<Epoch>,
    tombstones: Tombstones,
    wall: Arc<dyn WallClock>,
}

impl State {
    pub(super) fn new(wall: Arc<dyn WallClock>) -> Self {
        Self { held: None, former: None, tombstones: Tombstones::default(), wall }
    }

    pub(super) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// The epoch that this edge followed before the present one.
    pub(super) fn former(&self) -> Option<Epoch> {
        self.former
    }

    /// Forgets all but the tombstones.
    pub(super) fn clear(&mut self) {
        self.held = None;
    }

    /// Converts a chunk, off to the side.
    pub(super) fn collect(&self, arriving: &mut Arriving, chunk: v1::SnapshotChunk) -> Result<(), StateError> {
        for item in chunk.items {
            let (key, body) = parts(item)?;
            arriving.bytes += body.len() + key.id.len();
            if arriving.bytes > MAX_BYTES || arriving.entries.len() >= MAX_ITEMS {
                return Err(StateError::TooLarge);
            }
            let known = self.held.as_ref().and_then(|held| held.entries.get(&key));
            let entry = entry(&key, &body, known, &mut arriving.refused);
            arriving.entries.insert(key, entry);
        }
        Ok(())
    }

    /// Takes what has arrived as the whole state.
    pub(super) fn snapshot_end(&mut self, arriving: Arriving, end: &v1::SnapshotEnd) -> Result<Applied, StateError> {
        let epoch = Epoch(end.epoch.as_slice().try_into().map_err(|_| StateError::Malformed("epoch"))?);
        let revision = Revision(end.revision);
        let digest = Digest::from_slice(&end.digest).ok_or(StateError::Malformed("digest"))?;
        let Arriving { mut entries, refused, .. } = arriving;
        match &self.held {
            Some(held) if held.epoch == epoch => {
                if revision < held.revision {
                    return Err(StateError::WentBack { offered: revision, held: held.revision });
                }
            }
            // A value of another epoch is not a last good value of this one.
            _ => entries.values_mut().filter(|entry| !entry.current).for_each(|entry| entry.value = None),
        }
        self.adopt(Held { epoch, revision, digest, entries }, refused)
    }

    /// Applies a change to the state that is held.
    pub(super) fn delta(&mut self, delta: v1::Delta) -> Result<Applied, StateError> {
        let (from, to) = (Revision(delta.from), Revision(delta.to));
        let digest = Digest::from_slice(&delta.digest).ok_or(StateError::Malformed("digest"))?;
        let held = self.held.as_ref().ok_or(StateError::Gap { from, held: Revision::default() })?;
        if from != held.revision || to < from {
            return Err(StateError::Gap { from, held: held.revision });
        }
        let mut entries = held.entries.clone();
        let mut refused = Vec::new();
        for item in delta.upserts {
            let (key, body) = parts(item)?;
            let entry = entry(&key, &body, entries.get(&key), &mut refused);
            entries.insert(key, entry);
        }
        for removed in delta.removals {
            entries.remove(&key_of(removed.kind, removed.id)?);
        }
        if entries.len() > MAX_ITEMS || entries.values().map(|entry| entry.bytes).sum::<usize>() > MAX_BYTES {
            return Err(StateError::TooLarge);
        }
        self.adopt(Held { epoch: held.epoch, revision: to, digest, entries }, refused)
    }

    /// True when that revision and digest are what the edge holds.
    pub(super) fn confirms(&self, revision: u64, digest: &[u8]) -> bool {
        self.held.as_ref().is_some_and(|held| held.revision.0 == revision && held.digest.0 == *digest)
    }

    fn adopt(&mut self, next: Held, refused: Vec<RefusedItem>) -> Result<Applied, StateError> {
        let digest = Digest::of_items(next.entries.iter().map(|(key, entry)| (key, &entry.digest)));
        if digest != next.digest {
            return Err(StateError::Digest { revision: next.revision });
        }
        let now = self.wall.now();
        for entry in next.entries.values() {
            if let Some(Value::Tombstone(id)) = &entry.value
                && !self.tombstones.contains(id)
            {
                let key = ItemKey { kind: ItemKind::Token, id: id.as_str().into() };
                let expires_at = self.held.as_ref().and_then(|held| expiry(&held.entries, &key));
                self.tombstones.insert(*id, expires_at, now);
            }
        }
        let snapshot = Arc::new(snapshot_of(&next, &self.tombstones)?);
        let revived = revived(&next.entries, &self.tombstones);
        if let Some(held) = self.held.as_ref().filter(|held| held.epoch != next.epoch) {
            self.former = Some(held.epoch);
        }
        self.held = Some(next);
        Ok(Applied { snapshot, digest, refused, revived })
    }
}

fn key_of(kind: i32, id: String) -> Result<ItemKey, StateError> {
    let kind = from_item_kind("kind", kind).map_err(|_| StateError::Malformed("kind of item"))?;
    Ok(ItemKey { kind, id: id.into() })
}

fn parts(item: v1::Item) -> Result<(ItemKey, Bytes), StateError> {
    Ok((key_of(item.kind, item.id)?, item.body))
}

fn entry(key: &ItemKey, body: &[u8], known: Option<&Entry>, refused: &mut Vec<RefusedItem>) -> Entry {
    let digest = Digest::of(body);
    let bytes = body.len() + key.id.len();
    // The usual case of a resync: nothing about this item has changed.
    if let Some(known) = known.filter(|known| known.current && known.digest == digest) {
        return known.clone();
    }
    match item::read(key, body) {
        Ok(value) => Entry { digest, bytes, value: Some(value), current: true },
        Err(reason) => {
            refused.push(RefusedItem { key: key.clone(), reason });
            Entry { digest, bytes, value: known.and_then(|known| known.value.clone()), current: false }
        }
    }
}

fn expiry(entries: &Entries, key: &ItemKey) -> Option<Timestamp> {
    match entries.get(key)?.value.as_ref()? {
        Value::Token(token) => token.expires_at,
        _ => None,
    }
}

fn revived(entries: &Entries, tombstones: &Tombstones) -> Vec<TokenId> {
    let token = |entry: &Entry| match &entry.value {
        Some(Value::Token(token)) => Some(token.id),
        _ => None,
    };
    entries.values().filter_map(token).filter(|id| tombstones.contains(id)).collect()
}

fn snapshot_of(held: &Held, tombstones: &Tombstones) -> Result<Snapshot, StateError> {
    let mut settings = None;
    let mut snapshot_tokens = HashMap::new();
    let (mut databases, mut credentials, mut roles) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for value in held.entries.values().filter_map(|entry| entry.value.as_ref()) {
        match value {
            Value::Settings(value) => settings = Some(Arc::clone(value)),
            Value::Database(value) => drop(databases.insert(value.name.clone(), Arc::clone(value))),
            Value::Credential(value) => drop(credentials.insert(value.database.clone(), Arc::clone(value))),
            Value::Role(value) => drop(roles.insert(value.name.clone(), Arc::clone(value))),
            Value::Token(value) if tombstones.contains(&value.id) => {}
            Value::Token(value) => drop(snapshot_tokens.insert(value.id, Arc::clone(value))),
            Value::Tombstone(_) => {}
        }
    }
    Ok(Snapshot {
        epoch: held.epoch,
        revision: held.revision,
        settings: settings.ok_or(StateError::NoSettings)?,
        databases,
        credentials,
        roles,
        tokens: snapshot_tokens,
    })
}

#[cfg(test)]
mod tests;
