//! From sealed bytes to a state that can be believed. Everything is compared
//! with the head; the first thing that does not fit is named, and nothing is
//! written.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    ops::Bound,
    path::Path,
    sync::Arc,
};

use nla_domain::{
    clock::Timestamp,
    hex,
    id::Revision,
    pepper::Peppers,
    secret::Key32,
    snapshot::{ItemKey, Settings},
};
use nla_proto::{convert, v1};
use prost::Message;

use super::{
    audit,
    backend::{Backend, all},
    batch::{CHANGES_KEPT, ChangedItems},
    codec, draft,
    error::{BackendError, StoreError},
    head::{ChangeBody, HEAD_KEY, Head, KindSum},
    record::RecordKey,
    state::{Entry, State},
};
use crate::crypto::{Keyring, Tree};

/// Audit events that are checked at each start; `verify` checks all.
const AUDIT_TAIL: u64 = 256;

/// A store's content.
pub(super) struct Loaded {
    pub(super) state: State,
    pub(super) head: Head,
    pub(super) elements: HashMap<RecordKey, [u8; 32]>,
    pub(super) changes: VecDeque<ChangedItems>,
}

/// A record under its index key.
struct Found {
    name: String,
    element: [u8; 32],
}

/// The database cannot be read, or is not believed.
#[derive(Debug)]
pub(super) enum LoadError {
    Backend(BackendError),
    Store(StoreError),
}

impl LoadError {
    /// As an error about the store in that folder.
    pub(super) fn of(self, dir: &Path) -> StoreError {
        match self {
            Self::Backend(source) => StoreError::Unreadable { dir: dir.to_owned(), source },
            Self::Store(error) => error,
        }
    }
}

impl From<BackendError> for LoadError {
    fn from(error: BackendError) -> Self {
        Self::Backend(error)
    }
}

impl From<StoreError> for LoadError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

pub(super) fn load(backend: &dyn Backend, keyring: &Keyring) -> Result<Loaded, LoadError> {
    let head = head(backend, keyring)?;
    let mut elements = HashMap::new();
    let mut found = HashMap::new();
    let mut kinds: BTreeMap<String, KindSum> = BTreeMap::new();
    let mut entries = Vec::new();
    for pair in all(backend, Tree::State) {
        let (index, sealed) = pair?;
        let (key, entry) = record(keyring, &index, &sealed)?;
        let element = keyring.set_element(&index, &sealed);
        let sum = kinds.entry(key.kind().into()).or_default();
        sum.count += 1;
        sum.toggle(&element);
        found.insert(index, Found { name: key.to_string(), element });
        elements.insert(key.clone(), element);
        entries.push((key, entry));
    }
    // The log of changes can name a single record; the sums only its kind.
    let changes = changes(backend, keyring, &head, &found)?;
    compare(&head, &kinds)?;
    let mut state = draft::blank(head.epoch, placeholder(), Timestamp::default());
    for (key, entry) in entries {
        state.replace(&key, Some(entry));
    }
    if !elements.contains_key(&RecordKey::Settings) {
        return Err(StoreError::damaged("the settings are missing").into());
    }
    state.revision = head.revision;
    state.restored_at = head.restored_at;
    state.former_epoch = head.former_epoch;
    audit::check_tail(backend, keyring, &head, AUDIT_TAIL)?;
    Ok(Loaded { state, head, elements, changes })
}

/// Settings that are replaced before anyone sees them.
fn placeholder() -> Settings {
    Settings::new(Peppers::first(Key32::new([0; 32])))
}

fn head(backend: &dyn Backend, keyring: &Keyring) -> Result<Head, LoadError> {
    let Some(sealed) = backend.get(Tree::Meta, HEAD_KEY)? else {
        return Err(StoreError::damaged("its head is missing: the database is empty or was cut off").into());
    };
    Ok(open_head(keyring, &sealed)?)
}

pub(super) fn open_head(keyring: &Keyring, sealed: &[u8]) -> Result<Head, StoreError> {
    let opened = keyring
        .open(Tree::Meta, HEAD_KEY, sealed)
        .map_err(|error| StoreError::damaged(format!("its head does not open: {error}")))?;
    let head = Head::decode(&opened.plain).filter(|head| head.commits == opened.version);
    head.ok_or_else(|| StoreError::damaged("its head cannot be read"))
}

pub(super) fn record(keyring: &Keyring, index: &[u8], sealed: &[u8]) -> Result<(RecordKey, Entry), StoreError> {
    let name = || hex::encode(&index[..index.len().min(4)]);
    let opened = keyring
        .open(Tree::State, index, sealed)
        .map_err(|error| StoreError::damaged(format!("the record at {} does not open: {error}", name())))?;
    let (record, meta) = codec::decode(&opened.plain)
        .map_err(|error| StoreError::damaged(format!("the record at {} cannot be read: {error}", name())))?;
    let key = record.key();
    if keyring.index(key.kind(), &key.parts()).as_slice() != index || meta.revision.0 != opened.version {
        return Err(StoreError::damaged(format!("{key} is not at its place")));
    }
    Ok((key, Entry::new(record, meta)))
}

pub(super) fn compare(head: &Head, found: &BTreeMap<String, KindSum>) -> Result<(), StoreError> {
    let kinds: HashSet<&String> = head.kinds.keys().chain(found.keys()).collect();
    for kind in kinds {
        let expected = head.kinds.get(kind).copied().unwrap_or_default();
        let found = found.get(kind).copied().unwrap_or_default();
        if expected.count != found.count {
            return Err(StoreError::damaged(format!(
                "there must be {} records of kind {kind} and there are {}: one was removed or put back",
                expected.count, found.count
            )));
        }
        if expected.sum != found.sum {
            return Err(StoreError::damaged(format!("a record of kind {kind} was put back to an older copy")));
        }
    }
    Ok(())
}

/// Reads the log of changes, newest first, and holds each record against its
/// last change.
fn changes(
    backend: &dyn Backend,
    keyring: &Keyring,
    head: &Head,
    found: &HashMap<Vec<u8>, Found>,
) -> Result<VecDeque<ChangedItems>, LoadError> {
    let oldest = oldest_change(head);
    let mut log = VecDeque::new();
    let mut expected = head.revision.0;
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    for pair in backend.range(Tree::Changes, Bound::Unbounded, Bound::Unbounded).rev() {
        let (key, sealed) = pair?;
        if key != expected.to_be_bytes() || expected < oldest {
            return Err(misfit(expected).into());
        }
        let body = open_change(keyring, expected, &sealed)?;
        for record in body.records {
            let present = found.get(&record.index);
            if !seen.contains(&record.index) && present.map_or(&[][..], |found| &found.element) != record.element {
                return Err(StoreError::damaged(difference(present, &record.name, record.element.is_empty())).into());
            }
            seen.insert(record.index);
        }
        let items = body.items.into_iter().map(|item| {
            let kind = convert::from_item_kind("kind", item.kind)?;
            Ok(ItemKey { kind, id: item.id.into() })
        });
        let items: Vec<ItemKey> = items
            .collect::<Result<_, convert::ConvertError>>()
            .map_err(|error| StoreError::damaged(format!("the log of changes at revision {expected}: {error}")))?;
        log.push_front((Revision(expected), Arc::from(items)));
        expected -= 1;
    }
    if expected + 1 != oldest {
        return Err(lacks(expected).into());
    }
    Ok(log)
}

/// The first revision whose changes are remembered.
pub(super) fn oldest_change(head: &Head) -> u64 {
    head.revision.0.saturating_sub(CHANGES_KEPT) + 1
}

/// What a revision changed.
pub(super) fn open_change(keyring: &Keyring, revision: u64, sealed: &[u8]) -> Result<ChangeBody, StoreError> {
    let body = keyring.open(Tree::Changes, &revision.to_be_bytes(), sealed).map_err(|error| error.to_string());
    let body = body.and_then(|opened| ChangeBody::decode(opened.plain.as_slice()).map_err(|e| e.to_string()));
    body.map_err(|error| {
        StoreError::damaged(format!("the log of changes does not open at revision {revision}: {error}"))
    })
}

pub(super) fn misfit(revision: u64) -> StoreError {
    StoreError::damaged(format!(
        "the log of changes does not fit at revision {revision}: an entry was removed or put back"
    ))
}

pub(super) fn lacks(revision: u64) -> StoreError {
    StoreError::damaged(format!("the log of changes lacks revision {revision}: an entry was removed"))
}

fn difference(present: Option<&Found>, name: &str, removed: bool) -> String {
    match present {
        None => gone(name),
        Some(found) if removed => back(&found.name),
        Some(found) => older(&found.name),
    }
}

/// How a record differs from what was last written at its place.
pub(super) fn gone(name: &str) -> String {
    format!("{name} is missing: it was removed from the database")
}

pub(super) fn back(name: &str) -> String {
    format!("{name} is back although it was removed")
}

pub(super) fn older(name: &str) -> String {
    format!("{name} was put back to an older copy")
}

/// For [`audit`]: an event's body as the reader wants it.
pub(super) fn event(bytes: &[u8]) -> Result<v1::AuditEvent, StoreError> {
    v1::AuditEvent::decode(bytes)
        .map_err(|error| StoreError::damaged(format!("an audit event cannot be read: {error}")))
}
