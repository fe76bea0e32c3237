//! A change in the making. The writer hands a [`Draft`] of the newest state to
//! a service's closure, which checks, writes records and says what happened;
//! the closure's refusal leaves no trace. Because drafts are made one after
//! the other on the newest state, no update can be lost.

use std::sync::Arc;

use nla_domain::{
    clock::Timestamp,
    error::ErrorKind,
    id::{Epoch, Revision},
    snapshot::Settings,
};
use nla_proto::{failure::Failure, v1};

use super::{
    record::{Meta, Record, RecordKey, Stored},
    state::{Entry, State},
};

/// The newest state, with this change's own writes already in it.
#[derive(Debug)]
pub struct Draft<'a> {
    state: &'a mut State,
    actor: &'a str,
    now: Timestamp,
    revision: Revision,
    replaced: Vec<(RecordKey, Option<Entry>)>,
    events: Vec<v1::AdminEvent>,
}

/// What a finished draft asks the writer to commit.
#[derive(Debug)]
pub(super) struct Drafted {
    /// Each place that was written, in order, with what was there before.
    pub(super) replaced: Vec<(RecordKey, Option<Entry>)>,
    pub(super) events: Vec<v1::AdminEvent>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(state: &'a mut State, actor: &'a str, now: Timestamp) -> Self {
        let revision = state.revision.next();
        Self { state, actor, now, revision, replaced: Vec::new(), events: Vec::new() }
    }

    /// The newest state, this draft's writes included.
    pub fn state(&self) -> &State {
        self.state
    }

    /// Wall time of the change.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The revision that this change will make.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Who asks for the change.
    pub fn actor(&self) -> &str {
        self.actor
    }

    /// Makes or changes a record and gives its metadata.
    pub fn put(&mut self, record: impl Into<Record>) -> Meta {
        let record = record.into();
        let key = record.key();
        let (created_at, created_by) = match self.state.meta(&key) {
            // The settings of an empty state were made by nobody.
            Some(meta) if meta.revision != Revision(0) => (meta.created_at, meta.created_by),
            _ => (self.now, self.actor.to_owned()),
        };
        let meta = Meta { revision: self.revision, created_at, updated_at: self.now, created_by };
        let previous = self.state.replace(&key, Some(Entry::new(record, meta.clone())));
        self.replaced.push((key, previous));
        meta
    }

    /// Removes a record; false when there was none.
    pub fn remove(&mut self, key: &RecordKey) -> bool {
        if *key == RecordKey::Settings || self.state.meta(key).is_none() {
            return false;
        }
        let previous = self.state.replace(key, None);
        self.replaced.push((key.clone(), previous));
        true
    }

    /// Adds an audit event. Its revision is filled in when records changed,
    /// and its actor when it is empty. A change without any is refused.
    pub fn event(&mut self, event: v1::AdminEvent) {
        self.events.push(event);
    }

    /// Refuses the change unless the record still is as the caller has read
    /// it: `expected` 0 means that the caller does not mind.
    ///
    /// # Errors
    /// [`ErrorKind::FailedPrecondition`] when the record has another revision
    /// or is not there.
    pub fn expect_revision(&self, key: &RecordKey, expected: u64) -> Result<(), Failure> {
        let found = self.state.meta(key).map(|meta| meta.revision);
        if expected == 0 || found == Some(Revision(expected)) {
            return Ok(());
        }
        let message = match found {
            Some(found) => format!(
                "{key} is at revision {found} and was expected at {expected}: somebody changed it; read it again and repeat the change"
            ),
            None => format!("{key} is not there any more, and was expected at revision {expected}"),
        };
        Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("expected_revision"))
    }

    /// True once a record was written.
    pub(super) fn changed(&self) -> bool {
        !self.replaced.is_empty()
    }

    /// Ends the draft. The revision of the state moves when records changed.
    pub(super) fn finish(mut self) -> Result<Drafted, Failure> {
        if self.changed() {
            if self.events.is_empty() {
                self.undo();
                return Err(Failure::new(ErrorKind::Internal, "a change without an audit event was refused"));
            }
            self.state.revision = self.revision;
        }
        for event in &mut self.events {
            if !self.replaced.is_empty() {
                event.revision = self.revision.0;
            }
            if event.actor.is_empty() {
                self.actor.clone_into(&mut event.actor);
            }
        }
        Ok(Drafted { replaced: self.replaced, events: self.events })
    }

    /// Takes back all writes.
    pub(super) fn undo(&mut self) {
        undo(self.state, &mut self.replaced);
    }
}

/// Puts back what was in those places, newest first.
pub(super) fn undo(state: &mut State, replaced: &mut Vec<(RecordKey, Option<Entry>)>) {
    for (key, previous) in replaced.drain(..).rev() {
        state.replace(&key, previous);
    }
}

/// The state before the first change.
pub(super) fn blank(epoch: Epoch, settings: Settings, now: Timestamp) -> State {
    let meta = Meta { revision: Revision(0), created_at: now, updated_at: now, created_by: String::new() };
    State::empty(epoch, Arc::new(Stored { value: settings, meta }))
}
