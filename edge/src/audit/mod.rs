//! The audit events of this edge on their way to the control plane. The
//! pipeline reserves a slot before it works on a request; `delivery` sends what
//! was recorded. Invariants: each slot ends in exactly one event; events leave
//! in order, without gaps, and are kept until the control plane has stored
//! them; when there is no room, requests are refused and no event is dropped.

mod delivery;
mod slot;
mod spool;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nla_domain::{audit::CallRecord, clock::WallClock};
use tokio::sync::Notify;

use self::spool::Spool;
pub use self::{
    delivery::{Delivery, DeliveryError},
    slot::{AuditSlot, Recorded},
};

/// Bounds of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Events that wait, reserved ones included.
    pub max_events: usize,
    /// Their memory.
    pub max_bytes: usize,
}

/// Some minutes of a busy edge without its control plane.
pub const DEFAULT_MAX_EVENTS: usize = 65_536;
/// About 1 KiB for each of them.
pub const DEFAULT_MAX_BYTES: usize = 64 << 20;
/// An event is charged this much until it is recorded: room for the longest
/// statement that the guard reads, and for what stands beside it.
pub const RESERVED_BYTES: usize = 80 << 10;

impl Default for QueueLimits {
    fn default() -> Self {
        Self { max_events: DEFAULT_MAX_EVENTS, max_bytes: DEFAULT_MAX_BYTES }
    }
}

/// There is no room to record another request, so it must not be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit queue is full because the control plane does not take events; calls are refused until it does")]
pub struct AuditUnavailable;

/// Where requests are recorded. Clones share it.
#[derive(Debug, Clone)]
pub struct AuditQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    boot_id: String,
    wall: Arc<dyn WallClock>,
    spool: Mutex<Spool>,
    /// Wakes `delivery` when an event was recorded.
    recorded: Notify,
    /// Wakes those who wait for an empty queue.
    stored: Notify,
}

impl AuditQueue {
    /// An empty queue of a process that calls itself `boot_id`.
    pub fn new(boot_id: String, limits: QueueLimits, wall: Arc<dyn WallClock>) -> Self {
        Self(Arc::new(Shared {
            boot_id,
            wall,
            spool: Mutex::new(Spool::new(limits)),
            recorded: Notify::new(),
            stored: Notify::new(),
        }))
    }

    /// Makes room for one event, at the start of a request.
    ///
    /// # Errors
    /// [`AuditUnavailable`] when the queue is full.
    pub fn reserve(&self) -> Result<AuditSlot, AuditUnavailable> {
        self.spool().reserve()?;
        Ok(AuditSlot::open(self.clone(), self.0.wall.now()))
    }

    /// True while [`Self::reserve`] would refuse.
    pub fn is_full(&self) -> bool {
        self.spool().is_full()
    }

    /// Events that the control plane has not stored yet.
    pub fn waiting(&self) -> u64 {
        u64::try_from(self.spool().len()).unwrap_or(u64::MAX)
    }

    /// Waits until the control plane has stored every recorded event; false
    /// when that took longer than `deadline`.
    pub async fn flush(&self, deadline: Duration) -> bool {
        let emptied = async {
            loop {
                let stored = self.0.stored.notified();
                if self.waiting() == 0 {
                    return;
                }
                stored.await;
            }
        };
        tokio::time::timeout(deadline, emptied).await.is_ok()
    }

    fn push(&self, record: CallRecord) {
        self.spool().push(record);
        self.0.recorded.notify_one();
    }

    fn spool(&self) -> MutexGuard<'_, Spool> {
        // The spool's own methods leave it whole at every point where they
        // could panic, so a poisoned lock still guards a usable queue.
        self.0.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
