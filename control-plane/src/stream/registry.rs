//! The edges that hold a stream: what each has acknowledged, what it refused,
//! and a way to reach it; and what is known of those that hold none. Sessions
//! write; services read. Nothing here waits for an edge while a lock is held.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nla_domain::id::{EdgeId, Revision};
use nla_proto::v1;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{known::Known, probe::Probes};

/// Refused items that are kept per edge; more of them say nothing new.
const MAX_REFUSED_ITEMS: usize = 100;
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
    report: Mutex<Report>,
    pub(super) commands: mpsc::Sender<v1::ControlMessage>,
    /// Ends the session: another one has taken its place.
    replaced: CancellationToken,
}

#[derive(Debug, Default)]
struct Report {
    usage: Option<v1::Usage>,
    refused: BTreeMap<(i32, String), v1::Nack>,
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

/// A session's place in the registry; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Membership {
    registry: Arc<Registry>,
    edge: Arc<Connected>,
}

impl Registry {
    /// `enrolled` are the edges that an earlier process may have confirmed
    /// something to. Called before anything is served.
    pub(crate) fn new(capacity: usize, enrolled: impl IntoIterator<Item = EdgeId>) -> Arc<Self> {
        let now = Instant::now();
        let known = enrolled.into_iter().map(|id| (id, Arc::new(Mutex::new(Known::before(now))))).collect();
        Arc::new(Self {
            edges: Mutex::default(),
            known: Mutex::new(known),
            progress: watch::Sender::new(()),
            capacity,
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
            report: Mutex::default(),
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
        Arc::clone(lock(&self.known).entry(id.clone()).or_default())
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
        let report = lock(&self.report);
        EdgeStatus {
            acknowledged: *lock(&self.acknowledged),
            version: self.version.clone(),
            mcp_url: self.mcp_url.clone(),
            address: self.address.to_string(),
            usage: report.usage.clone(),
            refused: report.refused.values().cloned().collect(),
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
        lock(&self.known).echo(revision, received);
    }

    pub(super) fn use_report(&self, usage: v1::Usage) {
        lock(&self.report).usage = Some(usage);
    }

    pub(super) fn refuse(&self, mut nack: v1::Nack) {
        nack.id = clip(&nack.id);
        nack.reason = clip(&nack.reason);
        let mut report = lock(&self.report);
        let key = (nack.kind, nack.id.clone());
        if report.refused.len() < MAX_REFUSED_ITEMS || report.refused.contains_key(&key) {
            report.refused.insert(key, nack);
        }
    }

    /// An item was sent anew: what the edge said of it before no longer counts.
    pub(super) fn forget_refusal(&self, kind: i32, id: &str) {
        let mut report = lock(&self.report);
        if !report.refused.is_empty() {
            report.refused.remove(&(kind, id.to_owned()));
        }
    }

    pub(super) fn forget_refusals(&self) {
        lock(&self.report).refused.clear();
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
        lock(&self.edge.known).acknowledge(revision, calls_cut, Instant::now());
        self.registry.progress.send_replace(());
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
    use super::*;

    fn enter(
        registry: &Arc<Registry>,
        id: &str,
    ) -> Result<(Membership, mpsc::Receiver<v1::ControlMessage>), RegistryFull> {
        registry.enter(id.parse().unwrap(), "127.0.0.1:1".parse().unwrap(), &v1::Hello::default())
    }

    #[tokio::test]
    async fn a_second_connection_replaces_the_first_and_keeps_its_place() {
        let registry = Registry::new(1, []);
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
        let registry = Registry::new(1, []);
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
