//! Storage of the queue, in memory. `AuditQueue` puts events in, `delivery`
//! takes them out. Everything that a spool on disk would do differently is in
//! this file. Invariant: sequence numbers count from 1 without gaps in the
//! order of recording, and an event leaves only when it is stored elsewhere.

use std::{collections::VecDeque, sync::Arc};

use nla_domain::audit::{CallRecord, SqlRecord};

use super::{AuditUnavailable, QueueLimits, RESERVED_BYTES};

#[derive(Debug)]
pub(super) struct Spool {
    limits: QueueLimits,
    events: VecDeque<Event>,
    /// Sequence number of `events[0]`, or of the next event.
    first: u64,
    /// Memory of `events`.
    bytes: usize,
    /// Slots that are not recorded yet.
    reserved: usize,
}

#[derive(Debug)]
struct Event {
    record: Arc<CallRecord>,
    bytes: usize,
}

/// Consecutive events from the front.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) first: u64,
    pub(super) records: Vec<Arc<CallRecord>>,
}

impl Batch {
    /// Sequence number of the last event.
    pub(super) fn last(&self) -> u64 {
        self.first + self.records.len() as u64 - 1
    }
}

impl Spool {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self { limits, events: VecDeque::new(), first: 1, bytes: 0, reserved: 0 }
    }

    pub(super) fn is_full(&self) -> bool {
        let events = self.events.len() + self.reserved;
        let bytes = self.bytes + self.reserved * RESERVED_BYTES;
        events >= self.limits.max_events || bytes + RESERVED_BYTES > self.limits.max_bytes
    }

    pub(super) fn reserve(&mut self) -> Result<(), AuditUnavailable> {
        if self.is_full() {
            return Err(AuditUnavailable);
        }
        self.reserved += 1;
        Ok(())
    }

    /// Turns one reservation into an event.
    pub(super) fn push(&mut self, record: CallRecord) {
        let bytes = size_of_record(&record);
        self.events.push_back(Event { record: Arc::new(record), bytes });
        self.bytes += bytes;
        self.reserved = self.reserved.saturating_sub(1);
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Up to `max_events` and about `max_bytes` from the front, at least one
    /// event; `None` when there is none.
    pub(super) fn front(&self, max_events: usize, max_bytes: usize) -> Option<Batch> {
        let mut bytes = 0;
        let fits = |event: &&Event| {
            let first = bytes == 0;
            bytes += event.bytes;
            first || bytes <= max_bytes
        };
        let records: Vec<_> =
            self.events.iter().take(max_events).take_while(fits).map(|event| Arc::clone(&event.record)).collect();
        (!records.is_empty()).then_some(Batch { first: self.first, records })
    }

    /// Drops all events up to that sequence number.
    pub(super) fn stored_through(&mut self, sequence: u64) {
        while self.first <= sequence {
            let Some(event) = self.events.pop_front() else { return };
            self.bytes -= event.bytes;
            self.first += 1;
        }
    }
}

/// Memory that a record takes, its strings included.
fn size_of_record(record: &CallRecord) -> usize {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let sql = match &record.sql {
        Some(SqlRecord::Full(text) | SqlRecord::Fingerprint(text) | SqlRecord::Hash(text)) => text.len(),
        None => 0,
    };
    let relations: usize = record.relations.iter().map(|name| name.len() + size_of::<String>()).sum();
    size_of::<Event>()
        + size_of::<CallRecord>()
        + record.request_id.len()
        + record.action.len()
        + optional(&record.caller.owner)
        + optional(&record.caller.client_name)
        + optional(&record.rule)
        + optional(&record.sqlstate)
        + sql
        + relations
}
