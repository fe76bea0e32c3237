//! The head: one sealed record that says what all the others must be. It is
//! written in the same transaction as they are, so that a record that was
//! removed, or put back to an older copy, shows when the store is opened.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use nla_domain::{
    clock::Timestamp,
    id::{Epoch, Revision},
};
use prost::Message;

/// Its key in the tree `meta`.
pub(super) const HEAD_KEY: &[u8] = b"head";

/// How many records of a kind there are, and the sum of their elements
/// (`Keyring::set_element`) under exclusive or. With a secret key for the
/// elements that is a set hash (Clarke and others, "Incremental multiset hash
/// functions", 2003): a commit costs what it changes, not what is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct KindSum {
    pub(super) count: u64,
    pub(super) sum: [u8; 32],
}

impl KindSum {
    pub(super) fn toggle(&mut self, element: &[u8; 32]) {
        self.sum.iter_mut().zip(element).for_each(|(sum, byte)| *sum ^= byte);
    }
}

/// What the rest of the store must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) epoch: Epoch,
    pub(super) revision: Revision,
    /// Transactions so far; the version that the head is sealed with.
    pub(super) commits: u64,
    /// Records sealed so far by the data keys of `seals_generation`, over all
    /// trees.
    pub(super) seals: u64,
    pub(super) seals_generation: u32,
    /// Number of audit events, which is the position of the last one.
    pub(super) audit_count: u64,
    /// Hash over the last audit event and all before it.
    pub(super) audit_chain: [u8; 32],
    pub(super) kinds: BTreeMap<String, KindSum>,
    /// When it was last restored from a backup.
    pub(super) restored_at: Option<Timestamp>,
    /// The epoch of the store that was backed up then.
    pub(super) former_epoch: Option<Epoch>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HeadBody {
    #[prost(bytes = "vec", tag = "1")]
    epoch: Vec<u8>,
    #[prost(uint64, tag = "2")]
    revision: u64,
    #[prost(uint64, tag = "3")]
    commits: u64,
    #[prost(uint64, tag = "4")]
    seals: u64,
    #[prost(uint64, tag = "5")]
    audit_count: u64,
    #[prost(bytes = "vec", tag = "6")]
    audit_chain: Vec<u8>,
    #[prost(message, repeated, tag = "7")]
    kinds: Vec<KindBody>,
    /// 0 means the first.
    #[prost(uint32, tag = "8")]
    seals_generation: u32,
    /// Microseconds since 1970.
    #[prost(int64, optional, tag = "9")]
    restored_at: Option<i64>,
    /// Empty in a store that was never restored.
    #[prost(bytes = "vec", tag = "10")]
    former_epoch: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KindBody {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(uint64, tag = "2")]
    count: u64,
    #[prost(bytes = "vec", tag = "3")]
    sum: Vec<u8>,
}

impl Head {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            revision: Revision(0),
            commits: 0,
            seals: 0,
            seals_generation: 1,
            audit_count: 0,
            audit_chain: [0; 32],
            kinds: BTreeMap::new(),
            restored_at: None,
            former_epoch: None,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let kinds = self.kinds.iter().map(|(kind, sum)| KindBody {
            kind: kind.clone(),
            count: sum.count,
            sum: sum.sum.to_vec(),
        });
        HeadBody {
            epoch: self.epoch.0.to_vec(),
            revision: self.revision.0,
            commits: self.commits,
            seals: self.seals,
            audit_count: self.audit_count,
            audit_chain: self.audit_chain.to_vec(),
            kinds: kinds.collect(),
            seals_generation: self.seals_generation,
            restored_at: self.restored_at.map(Timestamp::as_micros),
            former_epoch: self.former_epoch.map(|epoch| epoch.0.to_vec()).unwrap_or_default(),
        }
        .encode_to_vec()
    }

    /// Seals by the data keys of that generation.
    pub(super) fn seals_of(&self, generation: u32) -> u64 {
        if self.seals_generation == generation { self.seals } else { 0 }
    }

    /// Counts from here on what the data keys of that generation seal.
    pub(super) fn count_seals_of(&mut self, generation: u32) {
        self.seals = self.seals_of(generation);
        self.seals_generation = generation;
    }

    /// `None` when the bytes are no head.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let body = HeadBody::decode(bytes).ok()?;
        let kinds = body.kinds.into_iter().map(|kind| {
            let sum = KindSum { count: kind.count, sum: kind.sum.try_into().ok()? };
            Some((kind.kind, sum))
        });
        let former_epoch = match body.former_epoch.as_slice() {
            [] => None,
            bytes => Some(Epoch(bytes.try_into().ok()?)),
        };
        Some(Self {
            epoch: Epoch(body.epoch.try_into().ok()?),
            revision: Revision(body.revision),
            commits: body.commits,
            seals: body.seals,
            seals_generation: body.seals_generation.max(1),
            audit_count: body.audit_count,
            audit_chain: body.audit_chain.try_into().ok()?,
            kinds: kinds.collect::<Option<_>>()?,
            restored_at: body.restored_at.map(Timestamp::from_micros),
            former_epoch,
        })
    }
}

/// The chain's next value: a hash over the event's bytes, its position and all
/// before it.
pub(super) fn chain(previous: &[u8; 32], sequence: u64, event: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"nla audit chain 1");
    context.update(previous);
    context.update(&sequence.to_be_bytes());
    context.update(event);
    context.finish().as_ref().try_into().expect("SHA-256 yields 32 bytes")
}

/// An audit event as stored.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AuditBody {
    /// The chain's value at this event.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) chain: Vec<u8>,
    /// The encoded `AuditEvent`.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) event: Vec<u8>,
}

/// What a revision changed.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ChangeBody {
    #[prost(message, repeated, tag = "1")]
    pub(super) records: Vec<ChangedRecord>,
    #[prost(message, repeated, tag = "2")]
    pub(super) items: Vec<ChangedItem>,
}

/// A record that a revision changed.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ChangedRecord {
    /// For messages.
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) index: Vec<u8>,
    /// The element of what was written; empty for a removal.
    #[prost(bytes = "vec", tag = "3")]
    pub(super) element: Vec<u8>,
}

/// An item of the edges' stream that a revision may have changed.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ChangedItem {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(string, tag = "2")]
    pub(super) id: String,
}
