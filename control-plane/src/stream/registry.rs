//! The edges that hold a stream: what each has acknowledged, what it refused,
//! and a way to reach it; and what is known of those that hold none. Sessions
//! write; services read. Nothing here waits for an edge while a lock is held.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nla_domain::{
    clock::Timestamp,
    id::{EdgeId, Revision},
    snapshot::MAX_STALENESS,
};
use nla_proto::v1;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{known::Known, probe::Probes};

/// Requests that wait for an edge's session to pass them on.
const COMMAND_QUEUE: usize = 16;
/// Longest text that an edge tells about itself and that is kept.
const MAX_TEXT_CHARS: usize = 200;

/// All connected edges.
#[derive(Debug)]
pub(crate) struct Registry {
    edges: Mutex<HashMap<EdgeId, Arc<Connected>>>,
    /// At most one for each edge that was ever enrolled.
    known: Mutex<HashMap<EdgeId, Arc<Mutex<Known>>>>,
    /// Wakes those who wait for an edge to get on.
    progress: watch::Sender<()>,
    capacity: usize,
    pub(super) began: Began,
    pub(super) probes: Probes,
}

/// One connected edge.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) id: EdgeId,
    address: SocketAddr,
    boot_id: String,
    version: String,
    mcp_url: String,
    /// What its heartbeats name from now on.
    told: Mutex<Revision>,
    acknowledged: Mutex<Revision>,
    known: Arc<Mutex<Known>>,
    usage: Mutex<Option<v1::Usage>>,
    pub(super) commands: mpsc::Sender<v1::ControlMessage>,
    /// Ends the session: another one has taken its place.
    replaced: CancellationToken,
}

/// The start of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began {
    pub(crate) at: Instant,
    /// By the calendar.
    pub(crate) wall: Timestamp,
    /// The store was restored not long before: edges that it does not know may
    /// have heard from the one that was lost.
    pub(crate) restored: bool,
}

/// What is known of an edge while it is connected.
#[derive(Debug, Clone)]
pub(crate) struct EdgeStatus {
    pub(crate) acknowledged: Revision,
    pub(crate) version: String,
    pub(crate) mcp_url: String,
    pub(crate) address: String,
    pub(crate) usage: Option<v1::Usage>,
    pub(crate) refused: Vec<v1::Nack>,
}

/// No more edges can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many edges are connected as the configuration allows (limits.connected_edges)")]
pub(crate) struct RegistryFull;

impl Began {
    /// Now, on a store that was restored then.
    pub(crate) fn now(wall: Timestamp, restored_at: Option<Timestamp>) -> Self {
        let began = Self { at: Instant::now(), wall, restored: false };
        Self { restored: restored_at.is_some_and(|at| !began.long_after(at)), ..began }
    }

    /// Whether something was over when this process began that takes as long as
    /// the longest bound: no later step of the clock changes the answer, and
    /// one before it would have to be of a day.
    pub(super) fn long_after(&self, at: Timestamp) -> bool {
        self.wall.since(at) > 2 * MAX_STALENESS
    }
}

/// A session's place in the registry; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Membership {
    registry: Arc<Registry>,
    edge: Arc<Connected>,
}

impl Registry {
    /// `enrolled` are the edges that an earlier process may have confirmed
    /// something to. Called before anything is served.
    pub(crate) fn new(capacity: usize, began: Began, enrolled: impl IntoIterator<Item = EdgeId>) -> Arc<Self> {
        let known = enrolled.into_iter().map(|id| (id, Arc::new(Mutex::new(Known::before(began.at))))).collect();
        Arc::new(Self {
            edges: Mutex::default(),
            known: Mutex::new(known),
            progress: watch::Sender::new(()),
            capacity,
            began,
            probes: Probes::default(),
        })
    }

    /// Enters an edge. A session of the same edge that is still there is one
    /// that died unnoticed, or of a copied key: the newer one counts.
    pub(super) fn enter(
        self: &Arc<Self>,
        id: EdgeId,
        address: SocketAddr,
        hello: &v1::Hello,
    ) -> Result<(Membership, mpsc::Receiver<v1::ControlMessage>), RegistryFull> {
        let (commands, inbox) = mpsc::channel(COMMAND_QUEUE);
        let edge = Arc::new(Connected {
            id: id.clone(),
            address,
            boot_id: clip(&hello.boot_id),
            version: clip(&hello.version),
            mcp_url: clip(&hello.mcp_url),
            told: Mutex::default(),
            acknowledged: Mutex::default(),
            known: self.known(&id),
            usage: Mutex::default(),
            commands,
            replaced: CancellationToken::new(),
        });
        let mut edges = lock(&self.edges);
        if edges.len() >= self.capacity && !edges.contains_key(&id) {
            return Err(RegistryFull);
        }
        if let Some(older) = edges.insert(id, Arc::clone(&edge)) {
            tracing::warn!(edge = %older.id, old = %older.address, new = %address, "a second connection replaces the edge's first");
            older.replaced.cancel();
        }
        lock(&edge.known).enter(&edge.boot_id);
        drop(edges);
        Ok((Membership { registry: Arc::clone(self), edge }, inbox))
    }

    pub(crate) fn connected(&self) -> Vec<Arc<Connected>> {
        let mut edges: Vec<_> = lock(&self.edges).values().cloned().collect();
        edges.sort_by(|a, b| a.id.cmp(&b.id));
        edges
    }

    /// What is known of an edge, connected or not.
    pub(super) fn known(&self, id: &EdgeId) -> Arc<Mutex<Known>> {
        let unknown = || {
            // The store that was lost may have known an edge of this name.
            let known = if self.began.restored { Known::before(self.began.at) } else { Known::default() };
            Arc::new(Mutex::new(known))
        };
        Arc::clone(lock(&self.known).entry(id.clone()).or_insert_with(unknown))
    }

    /// Changes with each acknowledgement, with each state that is sent and when
    /// an edge goes.
    pub(super) fn progress(&self) -> watch::Receiver<()> {
        self.progress.subscribe()
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.edges).len()
    }

    pub(crate) fn get(&self, id: &EdgeId) -> Option<Arc<Connected>> {
        lock(&self.edges).get(id).cloned()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut edges = lock(&self.registry.edges);
        if edges.get(&self.edge.id).is_some_and(|current| Arc::ptr_eq(current, &self.edge)) {
            edges.remove(&self.edge.id);
        }
        drop(edges);
        self.registry.progress.send_replace(());
    }
}

impl std::ops::Deref for Membership {
    type Target = Connected;

    fn deref(&self) -> &Connected {
        &self.edge
    }
}

impl Connected {
    pub(crate) fn status(&self) -> EdgeStatus {
        EdgeStatus {
            acknowledged: *lock(&self.acknowledged),
            version: self.version.clone(),
            mcp_url: self.mcp_url.clone(),
            address: self.address.to_string(),
            usage: lock(&self.usage).clone(),
            refused: lock(&self.known).refused(),
        }
    }

    pub(super) fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// The oldest revision that a heartbeat of this session may still confirm.
    pub(super) fn told(&self) -> Revision {
        *lock(&self.told)
    }

    /// The edge has said something.
    pub(super) fn heard(&self) {
        lock(&self.known).heard(Instant::now());
    }

    /// A stamp that was received at `received` is about to be echoed with
    /// `revision`: the edge may go on by that one for as long as its bound says.
    pub(super) fn echo(&self, revision: Revision, received: Instant) {
        lock(&self.known).echo(&self.boot_id, revision, received);
    }

    pub(super) fn use_report(&self, usage: v1::Usage) {
        *lock(&self.usage) = Some(usage);
    }

    pub(super) fn refuse(&self, mut nack: v1::Nack) {
        nack.id = clip(&nack.id);
        nack.reason = clip(&nack.reason);
        lock(&self.known).refuse(nack);
    }

    /// An item was sent anew: what the edge said of it before no longer counts.
    pub(super) fn forget_refusal(&self, kind: i32, id: &str) {
        lock(&self.known).forget_refusal(kind, id);
    }

    pub(super) fn forget_refusals(&self) {
        lock(&self.known).forget_refusals();
    }

    pub(super) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }
}

impl Membership {
    /// The edge decides by that revision, and has cut so many calls for it.
    pub(super) fn acknowledge(&self, revision: Revision, calls_cut: u32) {
        let mut held = lock(&self.edge.acknowledged);
        *held = revision.max(*held);
        drop(held);
        // Receipts look at all edges: only for what is new.
        if lock(&self.edge.known).acknowledge(&self.edge.boot_id, revision, calls_cut, Instant::now()) {
            self.registry.progress.send_replace(());
        }
    }

    /// The edge was sent that revision. No heartbeat names an older one any more.
    pub(super) fn tell(&self, revision: Revision) {
        *lock(&self.edge.told) = revision;
        self.registry.progress.send_replace(());
    }
}

fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARS).collect()
}

/// What the locks guard is always whole, also after a panic elsewhere.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{super::known::MAX_REFUSED_ITEMS, *};

    fn enter(
        registry: &Arc<Registry>,
        id: &str,
    ) -> Result<(Membership, mpsc::Receiver<v1::ControlMessage>), RegistryFull> {
        registry.enter(id.parse().unwrap(), "127.0.0.1:1".parse().unwrap(), &v1::Hello::default())
    }

    #[tokio::test]
    async fn a_second_connection_replaces_the_first_and_keeps_its_place() {
        let registry = Registry::new(1, Began::now(Timestamp::from_micros(0), None), []);
        let (first, _inbox) = enter(&registry, "e1").unwrap();
        assert_eq!(enter(&registry, "e2").unwrap_err(), RegistryFull);
        let (second, _inbox) = enter(&registry, "e1").unwrap();
        first.replaced().await;
        drop(first);
        assert_eq!(registry.count(), 1, "the first one's end must not remove the second");
        drop(second);
        assert_eq!(registry.count(), 0);
        assert!(enter(&registry, "e2").is_ok());
    }

    #[test]
    fn what_edges_say_is_bounded() {
        let registry = Registry::new(1, Began::now(Timestamp::from_micros(0), None), []);
        let (edge, _inbox) = enter(&registry, "e1").unwrap();
        for n in 0..1_000 {
            let reason = "x".repeat(10_000);
            edge.refuse(v1::Nack { revision: 1, kind: 4, id: format!("r{n}"), reason });
        }
        let status = edge.status();
        assert_eq!(status.refused.len(), MAX_REFUSED_ITEMS);
        assert!(status.refused.iter().all(|nack| nack.reason.len() <= MAX_TEXT_CHARS));
        edge.forget_refusal(4, "r0");
        assert_eq!(edge.status().refused.len(), MAX_REFUSED_ITEMS - 1);
    }
}
