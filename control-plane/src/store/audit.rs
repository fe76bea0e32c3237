//! Reading the audit log: pages, newest first, for people; ranges, oldest
//! first, for tails; and the walk that proves that nothing is missing.

use std::ops::Bound;

use nla_domain::clock::Timestamp;
use nla_proto::{convert, failure::Failure, v1};
use prost::Message;

use super::{
    backend::{Backend, Pair},
    error::StoreError,
    head::{AuditBody, Head, chain},
    load::{self, LoadError},
};
use crate::crypto::{Keyring, Tree};

/// Events on a page when none is asked for, and at most.
const DEFAULT_PAGE: u32 = 100;
const MAX_PAGE: u32 = 1_000;
/// Events that one page looks at. A filter that matches little would otherwise
/// read the whole log in one call; the page then ends early with a token.
const MAX_SCAN: usize = 100_000;

/// Encoded events of one answer: with one more event it still fits into the 4
/// MiB that gRPC clients accept unless told otherwise. What agents ask may be
/// long, and 1,000 long events would fit into no answer at all.
const MAX_ANSWER_BYTES: usize = 3 << 20;

/// A part of the audit log, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    /// The events.
    pub events: Vec<v1::AuditEvent>,
    /// For the next older page; empty at the log's beginning.
    pub next_page_token: String,
}

/// A filter whose fields have been read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AuditQuery {
    filter: v1::AuditFilter,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl TryFrom<v1::AuditFilter> for AuditQuery {
    type Error = Failure;

    fn try_from(filter: v1::AuditFilter) -> Result<Self, Failure> {
        if !matches!(filter.kind.as_str(), "" | "call" | "admin") {
            return Err(Failure::invalid("filter.kind", "kind must be call, admin or empty"));
        }
        if v1::Outcome::try_from(filter.outcome).is_err() {
            return Err(Failure::invalid("filter.outcome", "no such outcome"));
        }
        let time = |field: &str, at: &Option<prost_types::Timestamp>| {
            at.as_ref().map(|at| convert::from_timestamp(field, at)).transpose()
        };
        let since = time("filter.since", &filter.since)?;
        let until = time("filter.until", &filter.until)?;
        Ok(Self { filter, since, until })
    }
}

impl AuditQuery {
    /// True when the event is asked for. Times are those of the call or
    /// change, not of its arrival.
    pub fn matches(&self, event: &v1::AuditEvent) -> bool {
        let filter = &self.filter;
        let at = event.at.as_ref().and_then(|at| convert::from_timestamp("at", at).ok()).unwrap_or_default();
        if self.since.is_some_and(|since| at < since) || self.until.is_some_and(|until| at >= until) {
            return false;
        }
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        match &event.event {
            Some(v1::audit_event::Event::Call(call)) => {
                filter.kind != "admin"
                    && is(&filter.token, &call.token)
                    && is(&filter.owner, &call.owner)
                    && is(&filter.database, &call.database)
                    && is(&filter.edge, &call.edge)
                    && is(&filter.rule, &call.rule)
                    && (filter.outcome == 0 || filter.outcome == call.outcome)
            }
            Some(v1::audit_event::Event::Admin(admin)) => {
                let (kind, id) = admin.object.split_once('/').unwrap_or_default();
                let about = |wanted: &str, kinds: &[&str]| wanted.is_empty() || (kinds.contains(&kind) && wanted == id);
                filter.kind != "call"
                    && filter.owner.is_empty()
                    && filter.rule.is_empty()
                    && about(&filter.token, &["token"])
                    && about(&filter.database, &["database", "credential"])
                    && about(&filter.edge, &["edge"])
                    && (filter.outcome == 0 || filter.outcome == admin.outcome)
            }
            None => false,
        }
    }
}

/// One event out of the log, with the chain's value at it.
struct Link {
    sequence: u64,
    chain: [u8; 32],
    event: Vec<u8>,
}

fn open(keyring: &Keyring, (key, sealed): &Pair) -> Result<Link, StoreError> {
    let sequence = <[u8; 8]>::try_from(key.as_slice()).map(u64::from_be_bytes);
    let sequence = sequence.map_err(|_| StoreError::damaged("the audit log holds something that is no event"))?;
    let broken = |why: &str| StoreError::damaged(format!("audit event {sequence} does not open: {why}"));
    let opened = keyring.open(Tree::Audit, key, sealed).map_err(|error| broken(&error.to_string()))?;
    let body = AuditBody::decode(opened.plain.as_slice()).map_err(|_| broken("it cannot be read"))?;
    let chain = body.chain.try_into().map_err(|_| broken("it cannot be read"))?;
    Ok(Link { sequence, chain, event: body.event })
}

fn missing(sequence: u64) -> StoreError {
    StoreError::damaged(format!("audit event {sequence} is missing"))
}

/// The events before a position, newest first, that the query asks for.
pub(super) fn page(
    backend: &dyn Backend,
    keyring: &Keyring,
    last: u64,
    query: &AuditQuery,
    size: u32,
) -> Result<AuditPage, LoadError> {
    let size = usize::try_from(if size == 0 { DEFAULT_PAGE } else { size.min(MAX_PAGE) }).unwrap_or(usize::MAX);
    let (mut events, mut bytes) = (Vec::new(), 0);
    let mut expected = last;
    let to = last.to_be_bytes();
    let pairs = backend.range(Tree::Audit, Bound::Unbounded, Bound::Included(&to)).rev();
    for pair in pairs.take(MAX_SCAN) {
        let link = open(keyring, &pair?)?;
        if link.sequence != expected {
            return Err(missing(expected).into());
        }
        expected -= 1;
        let event = load::event(&link.event)?;
        if query.matches(&event) {
            events.push(event);
            bytes += link.event.len();
            if events.len() == size || bytes > MAX_ANSWER_BYTES {
                break;
            }
        }
    }
    let next_page_token = if expected == 0 { String::new() } else { expected.to_string() };
    Ok(AuditPage { events, next_page_token })
}

/// A position out of a page token; the newest for an empty one.
pub(super) fn position(page_token: &str, newest: u64) -> Result<u64, Failure> {
    if page_token.is_empty() {
        return Ok(newest);
    }
    let position = page_token.parse().ok().filter(|position| (1..=newest).contains(position));
    position.ok_or_else(|| Failure::invalid("page_token", "not a page token of this log: start again without one"))
}

/// The events after a position up to another one, oldest first.
pub(super) fn after(
    backend: &dyn Backend,
    keyring: &Keyring,
    after: u64,
    last: u64,
    limit: usize,
) -> Result<Vec<v1::AuditEvent>, LoadError> {
    if after >= last {
        return Ok(vec![]);
    }
    let (from, to) = ((after + 1).to_be_bytes(), last.to_be_bytes());
    let (mut events, mut bytes) = (Vec::new(), 0);
    let pairs = backend.range(Tree::Audit, Bound::Included(&from), Bound::Included(&to));
    for (pair, expected) in pairs.take(limit).zip(after + 1..) {
        let link = open(keyring, &pair?)?;
        if link.sequence != expected {
            return Err(missing(expected).into());
        }
        events.push(load::event(&link.event)?);
        bytes += link.event.len();
        if bytes > MAX_ANSWER_BYTES {
            break;
        }
    }
    Ok(events)
}

/// Checks the newest events against the head, and that none is newer.
pub(super) fn check_tail(backend: &dyn Backend, keyring: &Keyring, head: &Head, tail: u64) -> Result<(), LoadError> {
    let end = head.audit_count.to_be_bytes();
    if let Some(pair) = backend.range(Tree::Audit, Bound::Excluded(&end), Bound::Unbounded).next() {
        let link = open(keyring, &pair?)?;
        return Err(StoreError::damaged(format!("audit event {} is newer than the head", link.sequence)).into());
    }
    walk(backend, keyring, head, head.audit_count.saturating_sub(tail) + 1).map(|_| ())
}

/// Checks the events from a position to the one that the head names; answers
/// how many there were.
pub(super) fn walk(backend: &dyn Backend, keyring: &Keyring, head: &Head, from: u64) -> Result<u64, LoadError> {
    if from > head.audit_count {
        return Ok(0);
    }
    let mut walk = Walk::from(from);
    let (start, end) = (from.to_be_bytes(), head.audit_count.to_be_bytes());
    for pair in backend.range(Tree::Audit, Bound::Included(&start), Bound::Included(&end)) {
        walk.step(keyring, &pair?)?;
    }
    Ok(walk.end(head)?)
}

/// A walk along the log, event by event.
pub(super) struct Walk {
    from: u64,
    expected: u64,
    /// Unknown when the walk begins in the middle.
    previous: Option<[u8; 32]>,
}

impl Walk {
    pub(super) fn from(from: u64) -> Self {
        Self { from, expected: from, previous: (from == 1).then_some([0; 32]) }
    }

    /// Takes the next event.
    pub(super) fn step(&mut self, keyring: &Keyring, pair: &Pair) -> Result<(), StoreError> {
        let link = open(keyring, pair)?;
        if link.sequence != self.expected {
            return Err(missing(self.expected));
        }
        if self.previous.is_some_and(|previous| chain(&previous, link.sequence, &link.event) != link.chain) {
            let what = format!("audit event {} does not follow the one before it", link.sequence);
            return Err(StoreError::damaged(what));
        }
        self.previous = Some(link.chain);
        self.expected += 1;
        Ok(())
    }

    /// Whether it ended at the event that the head names; how many there were.
    pub(super) fn end(self, head: &Head) -> Result<u64, StoreError> {
        if self.expected <= head.audit_count {
            return Err(missing(self.expected));
        }
        if self.previous != Some(head.audit_chain) {
            return Err(StoreError::damaged("the last audit event is not the one that the head names"));
        }
        Ok(self.expected - self.from)
    }
}
