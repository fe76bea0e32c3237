//! A commit in the making: the newest state with the changes of several
//! callers, and the sealed writes that they amount to. Only the writer has
//! one. A refused change is taken back; a failed commit takes back the batch.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use nla_domain::{
    clock::Timestamp,
    error::ErrorKind,
    id::{EdgeId, Revision, TokenId},
    snapshot::ItemKey,
};
use nla_proto::{convert, failure::Failure, v1};
use prost::Message;

use super::{
    backend::Write,
    codec,
    draft::{Draft, undo},
    head::{AuditBody, ChangeBody, ChangedItem, ChangedRecord, HEAD_KEY, Head, chain},
    record::{IngestRecord, Meta, Record, RecordKey},
    state::{Entry, State},
    token_use::{TokenUse, TokenUsesRecord},
};
use crate::crypto::{Keyring, NoRandomness, Tree, sealed::MAX_SEALS};

/// Revisions whose changes are remembered, so that an edge which was away
/// for less resumes by a delta.
pub(super) const CHANGES_KEPT: u64 = 10_000;

/// A record or event larger than this is refused: nothing of ours comes near
/// it, and sled keeps whole pages of records in memory.
const MAX_PLAIN_BYTES: usize = 256 << 10;

/// Starts of one edge whose events are told apart. Events of an earlier start
/// that come after so many later ones would be stored again; without a bound,
/// an edge that restarts for ever would fill the memory.
const MAX_BOOTS: usize = 256;

/// Which items a revision may have changed.
pub(super) type ChangedItems = (Revision, Arc<[ItemKey]>);

/// A committed batch, to be published.
pub(super) struct Done {
    pub(super) state: State,
    pub(super) head: Head,
    pub(super) changes: Vec<ChangedItems>,
}

pub(super) struct Batch<'a> {
    keyring: &'a Keyring,
    /// The element of each record in the head's sums.
    elements: &'a mut HashMap<RecordKey, [u8; 32]>,
    replaced_elements: Vec<(RecordKey, Option<[u8; 32]>)>,
    state: State,
    head: Head,
    pub(super) writes: Vec<Write>,
    changes: Vec<ChangedItems>,
    now: Timestamp,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        state: &State,
        head: &Head,
        elements: &'a mut HashMap<RecordKey, [u8; 32]>,
        keyring: &'a Keyring,
        now: Timestamp,
    ) -> Self {
        Self {
            keyring,
            elements,
            replaced_elements: Vec::new(),
            state: state.clone(),
            head: head.clone(),
            writes: Vec::new(),
            changes: Vec::new(),
            now,
        }
    }

    /// Lets a closure change the newest state.
    pub(super) fn change<T>(
        &mut self,
        actor: &str,
        change: impl FnOnce(&mut Draft<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let before = self.state.revision;
        let mut draft = Draft::new(&mut self.state, actor, self.now);
        let value = match catch_unwind(AssertUnwindSafe(|| change(&mut draft))) {
            Ok(Ok(value)) => value,
            Ok(Err(failure)) => {
                draft.undo();
                return Err(failure);
            }
            Err(_) => {
                draft.undo();
                return Err(Failure::new(ErrorKind::Internal, "a change failed by a defect; nothing was changed"));
            }
        };
        let mut drafted = draft.finish()?;
        let mark = self.mark();
        let sealed = self.seal_changed(&drafted.replaced).and_then(|()| {
            let events = std::mem::take(&mut drafted.events);
            events.into_iter().try_for_each(|event| self.append_admin(event))
        });
        if let Err(failure) = sealed {
            self.roll_back(mark);
            undo(&mut self.state, &mut drafted.replaced);
            self.state.revision = before;
            return Err(failure);
        }
        Ok(value)
    }

    /// Appends events of an edge, each once; answers up to which number they
    /// are stored. Events behind a gap are left for when the gap is filled.
    pub(super) fn ingest(
        &mut self,
        edge: &EdgeId,
        boot: &str,
        first: u64,
        events: Vec<v1::CallEvent>,
    ) -> Result<u64, Failure> {
        let place = (edge.clone(), boot.to_owned());
        let stored = self.state.ingests.get(&place).map_or(0, |entry| entry.value.stored_through);
        if first > stored.saturating_add(1) {
            return Ok(stored);
        }
        let known = usize::try_from(stored + 1 - first).unwrap_or(usize::MAX);
        let mark = self.mark();
        let mut through = stored;
        for event in events.into_iter().skip(known) {
            through += 1;
            let event = v1::CallEvent { edge: edge.to_string(), boot_id: boot.into(), boot_sequence: through, ..event };
            // An event that comes without a time happened by now.
            let at = event.at.unwrap_or_else(|| convert::timestamp(self.now));
            if let Err(failure) = self.append(at, v1::audit_event::Event::Call(event)) {
                self.roll_back(mark);
                return Err(failure);
            }
        }
        if through == stored {
            return Ok(stored);
        }
        let record = IngestRecord { edge: edge.clone(), boot: boot.into(), stored_through: through, at: self.now };
        if let Err(failure) = self.put_ingest(record) {
            self.roll_back(mark);
            return Err(failure);
        }
        Ok(through)
    }

    fn put_ingest(&mut self, record: IngestRecord) -> Result<(), Failure> {
        let meta = Meta {
            revision: self.state.revision,
            created_at: self.now,
            updated_at: self.now,
            created_by: format!("edge/{}", record.edge),
        };
        let forgotten = self.state.ingest_to_forget(&record.edge, &record.boot, MAX_BOOTS);
        let record = Record::Ingest(record);
        let mut replaced = Vec::new();
        let puts = std::iter::once((record.key(), Some(Entry::new(record, meta))));
        for (key, entry) in puts.chain(forgotten.map(|key| (key, None))) {
            let previous = self.state.replace(&key, entry);
            replaced.push((key, previous));
        }
        let sealed = replaced.iter().try_for_each(|(key, _)| self.seal_record(key).map(|_| ()));
        sealed.inspect_err(|_| undo(&mut self.state, &mut replaced))
    }

    /// Keeps when tokens were last used.
    pub(super) fn put_token_uses(&mut self, uses: Vec<(TokenId, TokenUse)>) -> Result<(), Failure> {
        let mut shards: HashMap<u8, Vec<(TokenId, TokenUse)>> = HashMap::new();
        for (token, used) in uses {
            shards.entry(TokenUsesRecord::shard_of(&token)).or_default().push((token, used));
        }
        let mark = self.mark();
        let mut replaced = Vec::new();
        for (shard, uses) in shards {
            let key = RecordKey::TokenUses(shard);
            let held = self.state.token_uses.get(&shard);
            let created_at = held.map_or(self.now, |stored| stored.meta.created_at);
            let mut record =
                held.map_or_else(|| TokenUsesRecord { shard, uses: BTreeMap::new() }, |stored| stored.value.clone());
            record.set(uses);
            let meta = Meta {
                revision: self.state.revision,
                created_at,
                updated_at: self.now,
                created_by: "control-plane".to_owned(),
            };
            let previous = self.state.replace(&key, Some(Entry::new(Record::TokenUses(record), meta)));
            replaced.push((key, previous));
        }
        let sealed = replaced.iter().try_for_each(|(key, _)| self.seal_record(key).map(|_| ()));
        sealed.inspect_err(|_| {
            undo(&mut self.state, &mut replaced);
            self.roll_back(mark);
        })
    }

    /// Appends an administrative event by itself, such as a refused attempt.
    pub(super) fn append_admin(&mut self, event: v1::AdminEvent) -> Result<(), Failure> {
        self.append(convert::timestamp(self.now), v1::audit_event::Event::Admin(event))
    }

    fn append(&mut self, at: prost_types::Timestamp, event: v1::audit_event::Event) -> Result<(), Failure> {
        let sequence = self.head.audit_count + 1;
        let event = v1::AuditEvent { sequence, at: Some(at), event: Some(event) }.encode_to_vec();
        let chained = chain(&self.head.audit_chain, sequence, &event);
        let body = AuditBody { chain: chained.to_vec(), event }.encode_to_vec();
        self.seal(Tree::Audit, sequence.to_be_bytes().to_vec(), sequence, &body)?;
        self.head.audit_count = sequence;
        self.head.audit_chain = chained;
        Ok(())
    }

    fn seal_changed(&mut self, replaced: &[(RecordKey, Option<Entry>)]) -> Result<(), Failure> {
        if replaced.is_empty() {
            return Ok(());
        }
        let mut body = ChangeBody::default();
        let mut items = Vec::new();
        let mut seen = HashSet::new();
        for (key, _) in replaced {
            if !seen.insert(key) {
                continue;
            }
            let (index, element) = self.seal_record(key)?;
            let element = element.map(|element| element.to_vec()).unwrap_or_default();
            body.records.push(ChangedRecord { name: key.to_string(), index: index.to_vec(), element });
            items.extend(key.items());
        }
        body.items = items
            .iter()
            .map(|item| ChangedItem { kind: convert::item_kind(item.kind).into(), id: item.id.to_string() })
            .collect();
        let revision = self.state.revision;
        self.seal(Tree::Changes, revision.0.to_be_bytes().to_vec(), revision.0, &body.encode_to_vec())?;
        if let Some(old) = revision.0.checked_sub(CHANGES_KEPT).filter(|old| *old > 0) {
            self.writes.push(Write { tree: Tree::Changes, key: old.to_be_bytes().to_vec(), value: None });
        }
        self.head.revision = revision;
        self.changes.push((revision, items.into()));
        Ok(())
    }

    /// Seals or removes one record as the state has it, and moves the head's
    /// sum; answers its index key and its new element.
    fn seal_record(&mut self, key: &RecordKey) -> Result<([u8; 32], Option<[u8; 32]>), Failure> {
        let index = self.keyring.index(key.kind(), &key.parts());
        let element = match self.state.entry(key) {
            Some(entry) => {
                let revision = entry.meta().revision.0;
                let plain = codec::encode(&entry);
                // What cannot be read back would keep the store from opening.
                if let Err(error) = codec::decode(&plain) {
                    return Err(Failure::invalid(error.field.clone(), format!("{key} cannot be stored: {error}")));
                }
                Some(self.seal(Tree::State, index.to_vec(), revision, &plain)?)
            }
            None => {
                self.writes.push(Write { tree: Tree::State, key: index.to_vec(), value: None });
                None
            }
        };
        let previous = match element {
            Some(element) => self.elements.insert(key.clone(), element),
            None => self.elements.remove(key),
        };
        let sum = self.head.kinds.entry(key.kind().into()).or_default();
        if let Some(previous) = &previous {
            sum.toggle(previous);
            sum.count -= 1;
        }
        if let Some(element) = &element {
            sum.toggle(element);
            sum.count += 1;
        }
        self.replaced_elements.push((key.clone(), previous));
        Ok((index, element))
    }

    /// Adds a sealed write; answers its element.
    fn seal(&mut self, tree: Tree, key: Vec<u8>, version: u64, plain: &[u8]) -> Result<[u8; 32], Failure> {
        if plain.len() > MAX_PLAIN_BYTES {
            let message = format!("a record of {} bytes is too large: at most {MAX_PLAIN_BYTES}", plain.len());
            return Err(Failure::new(ErrorKind::InvalidArgument, message));
        }
        if self.head.seals >= MAX_SEALS {
            let message = "the store's data keys have sealed as much as they may: start a new store";
            return Err(Failure::new(ErrorKind::Unavailable, message));
        }
        let value = self.keyring.seal(tree, &key, version, plain).map_err(no_randomness)?;
        self.head.seals += 1;
        let element = self.keyring.set_element(&key, &value);
        self.writes.push(Write { tree, key, value: Some(value) });
        Ok(element)
    }

    /// Adds the head, which makes the writes one commit.
    pub(super) fn seal_head(&mut self) -> Result<(), NoRandomness> {
        self.head.commits += 1;
        // The head, and the mark after it.
        self.head.seals += 2;
        let value = self.keyring.seal(Tree::Meta, HEAD_KEY, self.head.commits, &self.head.encode())?;
        self.writes.push(Write { tree: Tree::Meta, key: HEAD_KEY.to_vec(), value: Some(value) });
        Ok(())
    }

    fn mark(&self) -> Mark {
        Mark {
            writes: self.writes.len(),
            changes: self.changes.len(),
            elements: self.replaced_elements.len(),
            head: self.head.clone(),
        }
    }

    fn roll_back(&mut self, mark: Mark) {
        self.writes.truncate(mark.writes);
        self.changes.truncate(mark.changes);
        self.restore_elements(mark.elements);
        self.head = mark.head;
    }

    fn restore_elements(&mut self, down_to: usize) {
        for (key, previous) in self.replaced_elements.drain(down_to..).rev() {
            match previous {
                Some(element) => self.elements.insert(key, element),
                None => self.elements.remove(&key),
            };
        }
    }

    /// The commit is durable.
    pub(super) fn done(self) -> Done {
        Done { state: self.state, head: self.head, changes: self.changes }
    }

    /// The commit failed: the batch leaves no trace.
    pub(super) fn abandon(mut self) {
        self.restore_elements(0);
    }
}

struct Mark {
    writes: usize,
    changes: usize,
    elements: usize,
    head: Head,
}

fn no_randomness(error: NoRandomness) -> Failure {
    Failure::new(ErrorKind::Unavailable, error.to_string())
}
