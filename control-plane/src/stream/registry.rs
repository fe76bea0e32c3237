//! The edges that hold a stream: what each has acknowledged, what it refused,
//! and a way to reach it. Sessions write; services read. Nothing here waits
//! for an edge while a lock is held.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nla_domain::id::{EdgeId, Revision};
use nla_proto::v1;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::probe::Probes;

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
    acknowledged: watch::Sender<Revision>,
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
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { edges: Mutex::default(), capacity, probes: Probes::default() })
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
            acknowledged: watch::Sender::new(Revision(0)),
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
            acknowledged: *self.acknowledged.borrow(),
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

    pub(super) fn acknowledge(&self, revision: Revision) {
        self.acknowledged.send_if_modified(|held| {
            let newer = revision > *held;
            *held = revision.max(*held);
            newer
        });
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

    /// Waits until the edge decides by `revision` or a later one.
    ///
    /// Returns how long that took since `since`; `None` when the edge went away
    /// or the deadline passed.
    pub(crate) async fn applied(&self, revision: Revision, since: Instant, deadline: Instant) -> Option<Duration> {
        let mut acknowledged = self.acknowledged.subscribe();
        tokio::select! {
            reached = timeout_at(deadline, acknowledged.wait_for(|held| *held >= revision)) => {
                reached.ok()?.ok()?;
                Some(since.elapsed())
            }
            // The session has ended: nobody is there to acknowledge.
            () = self.commands.closed() => None,
        }
    }
}

fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARS).collect()
}

/// What the locks guard is always whole, also after a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
        let registry = Registry::new(1);
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

    #[tokio::test(start_paused = true)]
    async fn waiting_for_an_acknowledgement_ends_in_every_case() {
        let registry = Registry::new(3);
        let now = Instant::now();
        let deadline = now + Duration::from_secs(5);
        let (edge, inbox) = enter(&registry, "e1").unwrap();
        edge.acknowledge(Revision(4));
        edge.acknowledge(Revision(3));
        assert!(edge.applied(Revision(4), now, deadline).await.is_some());
        assert_eq!(edge.applied(Revision(5), now, deadline).await, None, "after the deadline");
        drop(inbox);
        let later = Instant::now() + Duration::from_secs(3600);
        assert_eq!(edge.applied(Revision(5), now, later).await, None, "after the end of the session");
        assert!(Instant::now() < later);
    }

    #[test]
    fn what_edges_say_is_bounded() {
        let registry = Registry::new(1);
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
