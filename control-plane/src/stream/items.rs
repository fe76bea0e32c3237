//! The items of one revision, in the order of their keys. Most of them are the
//! revision's before: an item is shared between revisions, and finding it again
//! takes no search, so that a revision costs little more than what it changed.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use nla_domain::{
    id::Revision,
    snapshot::{Digest, ItemKey, ItemKind},
};

/// One item, encoded.
pub(crate) struct EncodedItem {
    pub(super) key: ItemKey,
    pub(super) body: Bytes,
    pub(super) digest: Digest,
    /// Revision of the object that it was encoded from.
    pub(super) origin: Revision,
}

impl EncodedItem {
    pub(super) fn new(key: ItemKey, body: Bytes, origin: Revision) -> Self {
        Self { key, digest: Digest::of(&body), body, origin }
    }
}

impl fmt::Debug for EncodedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}@{}", self.key, self.digest, self.origin)
    }
}

/// All items, each key once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Items(Vec<Arc<EncodedItem>>);

impl FromIterator<Arc<EncodedItem>> for Items {
    fn from_iter<T: IntoIterator<Item = Arc<EncodedItem>>>(items: T) -> Self {
        let mut items: Vec<_> = items.into_iter().collect();
        // Runs that are in order already cost one comparison each.
        items.sort_by(|a, b| a.key.cmp(&b.key));
        items.dedup_by(|a, b| a.key == b.key);
        Self(items)
    }
}

impl Items {
    pub(super) fn get(&self, key: &ItemKey) -> Option<&Arc<EncodedItem>> {
        let at = self.0.binary_search_by(|item| item.key.cmp(key)).ok()?;
        self.0.get(at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<EncodedItem>> {
        self.0.iter()
    }

    /// Those of one kind.
    pub(super) fn of_kind(&self, kind: ItemKind) -> &[Arc<EncodedItem>] {
        let from = self.0.partition_point(|item| item.key.kind < kind);
        let to = self.0.partition_point(|item| item.key.kind <= kind);
        &self.0[from..to]
    }
}

/// Walks along the items of one kind while another walk in the same order asks
/// for them.
#[derive(Debug, Default)]
pub(super) struct Walk<'a>(&'a [Arc<EncodedItem>]);

impl<'a> Walk<'a> {
    pub(super) fn of_kind(items: Option<&'a Items>, kind: ItemKind) -> Self {
        Self(items.map_or(&[], |items| items.of_kind(kind)))
    }

    /// The item of that id, when it was not walked past.
    pub(super) fn find(&mut self, id: &str) -> Option<&'a Arc<EncodedItem>> {
        while let Some((first, rest)) = self.0.split_first() {
            match (*first.key.id).cmp(id) {
                std::cmp::Ordering::Less => self.0 = rest,
                std::cmp::Ordering::Equal => return Some(first),
                std::cmp::Ordering::Greater => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(kind: ItemKind, id: &str) -> Arc<EncodedItem> {
        let key = ItemKey { kind, id: id.into() };
        Arc::new(EncodedItem::new(key, Bytes::copy_from_slice(id.as_bytes()), Revision(1)))
    }

    #[test]
    fn items_are_found_by_key_and_along_a_walk() {
        let items: Items =
            [(ItemKind::Token, "b"), (ItemKind::Role, "z"), (ItemKind::Token, "d"), (ItemKind::Tombstone, "a")]
                .map(|(kind, id)| item(kind, id))
                .into_iter()
                .collect();
        let keys: Vec<String> = items.iter().map(|item| item.key.to_string()).collect();
        assert_eq!(keys, ["Role/z", "Token/b", "Token/d", "Tombstone/a"]);
        assert!(items.get(&item(ItemKind::Token, "d").key).is_some());
        assert!(items.get(&item(ItemKind::Token, "a").key).is_none());
        assert_eq!(items.of_kind(ItemKind::Token).len(), 2);
        assert!(items.of_kind(ItemKind::Database).is_empty());
        let mut walk = Walk::of_kind(Some(&items), ItemKind::Token);
        let found: Vec<&str> = ["a", "b", "c", "d", "e"].into_iter().filter(|id| walk.find(id).is_some()).collect();
        assert_eq!(found, ["b", "d"]);
        assert!(Walk::of_kind(None, ItemKind::Token).find("b").is_none());
    }
}
