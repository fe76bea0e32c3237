//! A place for one event, taken before a request is worked on. The pipeline
//! fills the record in as gates are passed. Invariant: a slot that is dropped
//! without being recorded (the client went away, a panic) becomes an event too.

use std::mem;

use nla_domain::{
    audit::{CallRecord, CallerRecord, Outcome},
    clock::Timestamp,
    error::ErrorKind,
};
use tokio::time::Instant;
use uuid::Uuid;

use super::AuditQueue;

/// A reserved place for the event of one request.
#[derive(Debug)]
#[must_use = "dropping a slot records the request as cancelled"]
pub struct AuditSlot {
    queue: AuditQueue,
    began: Instant,
    /// What is known so far; taken when the event is recorded.
    record: Option<CallRecord>,
}

/// Proof that a request was recorded.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an answer may leave only with this proof"]
pub struct Recorded(());

impl AuditSlot {
    pub(super) fn open(queue: AuditQueue, at: Timestamp) -> Self {
        let record = CallRecord {
            at,
            request_id: Uuid::now_v7().to_string(),
            action: "mcp".to_owned(),
            caller: CallerRecord::default(),
            database: None,
            sql: None,
            relations: Vec::new(),
            // What is recorded if nothing else is said any more.
            outcome: Outcome::Cancelled,
            reason: Some(ErrorKind::Cancelled.reason()),
            rule: None,
            sqlstate: None,
            rows: 0,
            bytes: 0,
            truncated: false,
            duration: Default::default(),
            database_duration: Default::default(),
        };
        Self { queue, began: Instant::now(), record: Some(record) }
    }

    /// What is known so far. It starts with the time, a fresh request id, the
    /// action `mcp` and the outcome "cancelled"; fill it in as gates are passed,
    /// so that an event that ends early still says what is known.
    pub fn record_mut(&mut self) -> &mut CallRecord {
        self.record.as_mut().expect("the record is taken only by methods that end the slot")
    }

    /// Records what [`Self::record_mut`] holds, with the time that it took.
    pub fn finish(mut self) -> Recorded {
        self.end();
        Recorded(())
    }

    /// Records `record` as it is, instead of what was filled in.
    pub fn record(mut self, record: CallRecord) -> Recorded {
        self.record = None;
        self.queue.push(record);
        Recorded(())
    }

    fn end(&mut self) {
        if let Some(mut record) = mem::take(&mut self.record) {
            record.duration = self.began.elapsed();
            self.queue.push(record);
        }
    }
}

impl Drop for AuditSlot {
    fn drop(&mut self) {
        if let Some(record) = self.record.as_mut()
            && std::thread::panicking()
        {
            record.outcome = Outcome::Failed;
            record.reason = Some(ErrorKind::Internal.reason());
        }
        self.end();
    }
}
