//! From the store's state to the items that edges get. What an edge does not
//! need stays here: purposes, revoked tokens (a tombstone takes their place)
//! and tokens that have expired.
//!
//! Which tokens have expired is judged at the time of the state's last change,
//! not now, so that one revision always has the same items and digest, also
//! after a restart. Edges look at the expiry themselves.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use nla_domain::{
    clock::Timestamp,
    id::Revision,
    snapshot::{ItemKey, ItemKind},
};
use nla_proto::{convert, v1};
use prost::Message;

use super::{
    items::{EncodedItem, Walk},
    published::Published,
};
use crate::store::{State, Stored, TokenRecord};

/// A tombstone outlives its token by this, in case an edge's clock is behind.
const TOMBSTONE_MARGIN: Duration = Duration::from_secs(24 * 3600);
/// How long items that time has ended are still named in deltas. An edge that
/// was away for longer finds that its digest differs, and gets everything.
const LAPSE_MEMORY: Duration = Duration::from_secs(7 * 24 * 3600);

/// Encodes a state, taking over from `previous` what has not changed.
pub(super) fn publish(state: &State, previous: Option<&Published>) -> Published {
    let previous = previous.filter(|published| published.epoch == state.epoch);
    let mut encoder = Encoder::beside(previous);
    let settings = &state.settings;
    encoder.add(ItemKind::Settings, "", settings.meta.revision, || v1::Settings::from(&settings.value));
    for (name, database) in state.databases.iter() {
        encoder.add(ItemKind::Database, name.as_str(), database.meta.revision, || v1::Database::from(&database.value));
    }
    for (name, credential) in state.credentials.iter() {
        let revision = credential.meta.revision;
        encoder.add(ItemKind::Credential, name.as_str(), revision, || v1::CredentialItem::from(&credential.value));
    }
    for (name, role) in state.roles.iter() {
        encoder.add(ItemKind::Role, name.as_str(), role.meta.revision, || v1::Role::from(&role.value));
    }
    let as_of = last_change(state);
    for token in state.tokens.values() {
        encoder.token(token, as_of);
    }
    Published::new(state.epoch, state.revision, encoder.items.into_iter().flatten().collect(), encoder.lapsed)
}

struct Encoder<'a> {
    /// The items of the revision before, one walk for each kind. The store's
    /// maps are in the same order.
    previous: [Walk<'a>; KINDS.len()],
    /// By kind, each in order.
    items: [Vec<Arc<EncodedItem>>; KINDS.len()],
    lapsed: Vec<ItemKey>,
}

const KINDS: [ItemKind; 6] = [
    ItemKind::Settings,
    ItemKind::Database,
    ItemKind::Credential,
    ItemKind::Role,
    ItemKind::Token,
    ItemKind::Tombstone,
];

fn place(kind: ItemKind) -> usize {
    KINDS.iter().position(|known| *known == kind).expect("every kind is listed")
}

impl<'a> Encoder<'a> {
    fn beside(previous: Option<&'a Published>) -> Self {
        let items = previous.map(Published::items);
        let room = |kind| items.map_or(0, |items| items.of_kind(kind).len()) + 1;
        Self {
            previous: KINDS.map(|kind| Walk::of_kind(items, kind)),
            items: KINDS.map(|kind| Vec::with_capacity(room(kind))),
            lapsed: Vec::new(),
        }
    }

    fn add<M: Message>(&mut self, kind: ItemKind, id: &str, origin: Revision, message: impl FnOnce() -> M) {
        let place = place(kind);
        let known = self.previous[place].find(id).filter(|item| item.origin == origin);
        let item = match known {
            Some(item) => Arc::clone(item),
            None => {
                let key = ItemKey { kind, id: id.into() };
                Arc::new(EncodedItem::new(key, Bytes::from(message().encode_to_vec()), origin))
            }
        };
        self.items[place].push(item);
    }

    fn token(&mut self, stored: &Stored<TokenRecord>, as_of: Timestamp) {
        let record = &stored.value;
        let (kind, end) = match &record.revoked {
            None => (ItemKind::Token, record.token.expires_at),
            Some(_) => (ItemKind::Tombstone, record.token.expires_at.map(|end| end.plus(TOMBSTONE_MARGIN))),
        };
        let id = record.token.id;
        if end.is_some_and(|end| end <= as_of) {
            if end.is_some_and(|end| end.plus(LAPSE_MEMORY) > as_of) {
                self.lapsed.push(ItemKey { kind, id: id.as_str().into() });
            }
            return;
        }
        match &record.revoked {
            None => self.add(kind, id.as_str(), stored.meta.revision, || v1::Token::from(&record.token)),
            Some(revocation) => self.add(kind, id.as_str(), stored.meta.revision, || v1::Tombstone {
                revoked_at: Some(convert::timestamp(revocation.at)),
            }),
        }
    }
}

/// When the state was last changed, as far as its records tell: the same
/// answer for the same state, whenever it is asked.
fn last_change(state: &State) -> Timestamp {
    let tokens = state.tokens.values().map(|stored| stored.meta.updated_at);
    let databases = state.databases.values().map(|stored| stored.meta.updated_at);
    let credentials = state.credentials.values().map(|stored| stored.meta.updated_at);
    let roles = state.roles.values().map(|stored| stored.meta.updated_at);
    let all = tokens.chain(databases).chain(credentials).chain(roles);
    all.fold(state.settings.meta.updated_at, Timestamp::max)
}
