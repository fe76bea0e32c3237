//! The state at one revision as edges get it: items with their encoded bodies
//! and the digest over all of them. Immutable and shared; the publisher makes
//! a new one for each revision, reusing the bodies that did not change.

use std::sync::{Arc, OnceLock};

use nla_domain::{
    id::{Epoch, Revision},
    snapshot::{Digest, ItemKey, ItemKind},
};
use nla_proto::{convert, v1};
use prost::Message as _;

use super::items::{EncodedItem, Items};

/// Largest message of items. tonic's clients accept 4 MiB unless told
/// otherwise, and a smaller one lets heartbeats through in between.
pub(super) const MAX_CHUNK_BYTES: usize = 1 << 20;

/// All items at one revision.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) epoch: Epoch,
    pub(crate) revision: Revision,
    pub(crate) digest: Digest,
    items: Items,
    /// Items that lately ended by the passing of time alone, which is in no
    /// log of changes.
    lapsed: Vec<ItemKey>,
    /// Cut when the first edge asks for a whole snapshot, then shared.
    chunks: OnceLock<Vec<Arc<v1::SnapshotChunk>>>,
    /// Made when the first edge in quarantine needs it, then shared.
    bare: OnceLock<Arc<Published>>,
}

impl Published {
    pub(super) fn new(epoch: Epoch, revision: Revision, items: Items, lapsed: Vec<ItemKey>) -> Self {
        let digest = Digest::of_items(items.iter().map(|item| (&item.key, &item.digest)));
        Self { epoch, revision, digest, items, lapsed, chunks: OnceLock::new(), bare: OnceLock::new() }
    }

    pub(super) fn item(&self, key: &ItemKey) -> Option<&Arc<EncodedItem>> {
        self.items.get(key)
    }

    pub(super) fn items(&self) -> &Items {
        &self.items
    }

    pub(super) fn lapsed(&self) -> &[ItemKey] {
        &self.lapsed
    }

    /// What an edge in quarantine gets of this state: tombstones, and settings
    /// without a secret. No call can be made with it.
    pub(super) fn bare(&self) -> Arc<Self> {
        let bare = self.bare.get_or_init(|| {
            let settings = self.items.of_kind(ItemKind::Settings).iter().map(|item| {
                let settings = v1::Settings::decode(&*item.body).expect("it was encoded by this process");
                let (strict_staleness, standard_staleness) = (settings.strict_staleness, settings.standard_staleness);
                // It goes on trusting whom it must, to hear of the quarantine's end.
                let settings = v1::Settings {
                    pepper: vec![0; 32],
                    strict_staleness,
                    standard_staleness,
                    ca_bundle_pem: settings.ca_bundle_pem,
                    peppers: vec![],
                };
                Arc::new(EncodedItem::new(item.key.clone(), settings.encode_to_vec().into(), item.origin))
            });
            let items = settings.chain(self.items.of_kind(ItemKind::Tombstone).iter().cloned()).collect();
            Arc::new(Self::new(self.epoch, self.revision, items, self.lapsed.clone()))
        });
        Arc::clone(bare)
    }

    /// The whole state in messages of bounded size.
    pub(super) fn chunks(&self) -> &[Arc<v1::SnapshotChunk>] {
        self.chunks.get_or_init(|| {
            let mut chunks = Vec::new();
            let mut items: Vec<v1::Item> = Vec::new();
            let mut bytes = 0;
            for item in self.items.iter() {
                let item = to_wire(item);
                let length = framed_length(&item);
                if bytes + length > MAX_CHUNK_BYTES && !items.is_empty() {
                    chunks.push(Arc::new(v1::SnapshotChunk { items: std::mem::take(&mut items) }));
                    bytes = 0;
                }
                bytes += length;
                items.push(item);
            }
            if !items.is_empty() {
                chunks.push(Arc::new(v1::SnapshotChunk { items }));
            }
            chunks
        })
    }

    pub(super) fn end(&self) -> v1::SnapshotEnd {
        v1::SnapshotEnd { epoch: self.epoch.0.to_vec(), revision: self.revision.0, digest: self.digest.0.to_vec() }
    }

    pub(super) fn heartbeat(&self, echo: u64) -> v1::Heartbeat {
        v1::Heartbeat { revision: self.revision.0, digest: self.digest.0.to_vec(), echo, ..Default::default() }
    }

    /// The step from `from` to this state, given the keys that may have changed
    /// in between; `None` when it does not fit into one message, which has to
    /// be atomic.
    pub(super) fn delta(&self, from: Revision, changed: impl IntoIterator<Item = ItemKey>) -> Option<v1::Delta> {
        let mut delta =
            v1::Delta { from: from.0, to: self.revision.0, digest: self.digest.0.to_vec(), ..v1::Delta::default() };
        let mut bytes = 0;
        for key in changed {
            match self.items.get(&key) {
                Some(item) => {
                    let item = to_wire(item);
                    bytes += framed_length(&item);
                    delta.upserts.push(item);
                }
                None => {
                    bytes += key.id.len() + 8;
                    delta
                        .removals
                        .push(v1::ItemKeyMessage { kind: convert::item_kind(key.kind).into(), id: key.id.into() });
                }
            }
            if bytes > MAX_CHUNK_BYTES {
                return None;
            }
        }
        Some(delta)
    }
}

/// Length inside of a message: the item, its tag and its length.
fn framed_length(item: &v1::Item) -> usize {
    item.encoded_len() + 6
}

fn to_wire(item: &EncodedItem) -> v1::Item {
    v1::Item { kind: convert::item_kind(item.key.kind).into(), id: item.key.id.to_string(), body: item.body.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: ItemKind, id: &str) -> ItemKey {
        ItemKey { kind, id: id.into() }
    }

    fn published(revision: u64, items: &[(ItemKey, usize)]) -> Published {
        let encode = |(key, length): &(ItemKey, usize)| {
            Arc::new(EncodedItem::new(key.clone(), vec![1; *length].into(), Revision(revision)))
        };
        Published::new(Epoch::default(), Revision(revision), items.iter().map(encode).collect(), vec![])
    }

    #[test]
    fn chunks_hold_all_items_once_and_stay_small() {
        let items: Vec<_> = (0..50).map(|n| (key(ItemKind::Role, &format!("r{n:02}")), 100_000)).collect();
        let state = published(1, &items);
        let chunks = state.chunks();
        assert!(chunks.len() >= 5, "{}", chunks.len());
        assert!(chunks.iter().all(|chunk| chunk.encoded_len() <= MAX_CHUNK_BYTES));
        let ids: Vec<&str> = chunks.iter().flat_map(|chunk| &chunk.items).map(|item| item.id.as_str()).collect();
        assert_eq!(ids, items.iter().map(|(key, _)| &*key.id).collect::<Vec<_>>());
        assert!(published(1, &[]).chunks().is_empty());
    }

    #[test]
    fn a_delta_tells_what_is_there_from_what_is_gone() {
        let state = published(7, &[(key(ItemKind::Role, "a"), 3)]);
        let delta = state.delta(Revision(5), [key(ItemKind::Role, "a"), key(ItemKind::Token, "t")]).unwrap();
        assert_eq!((delta.from, delta.to), (5, 7));
        assert_eq!(delta.upserts.len(), 1);
        assert_eq!(delta.removals[0].id, "t");
        assert_eq!(delta.digest, state.digest.0);
    }

    #[test]
    fn a_delta_too_large_for_one_message_is_none() {
        let items: Vec<_> = (0..11).map(|n| (key(ItemKind::Role, &format!("r{n:02}")), 100_000)).collect();
        let state = published(1, &items);
        assert!(state.delta(Revision(0), items.iter().map(|(key, _)| key.clone())).is_none());
        assert!(state.delta(Revision(0), items[..9].iter().map(|(key, _)| key.clone())).is_some());
    }
}
