//! Makes the newest state available to all sessions, encoded once. The watch
//! holds the newest revision only, so that a session that is behind skips what
//! lies in between, and no session can hold up the publisher.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use nla_domain::{
    id::{EdgeId, Revision},
    snapshot::{Digest, ItemKey, ItemKind},
};
use nla_proto::v1;
use tokio::{sync::watch, time::Instant};

use super::{Published, commits::Commits, encode};
use crate::store::{EdgeRecord, State, Store, Stored};

/// Revisions whose digests are remembered, to notice at once that an edge
/// holds something else.
const REMEMBERED_DIGESTS: usize = 4_096;

/// The published state.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    pub(super) store: Store,
    newest: watch::Sender<Arc<Published>>,
    digests: Arc<Mutex<VecDeque<(Revision, Digest)>>>,
    commits: Arc<Commits>,
}

impl Publisher {
    /// Publishes the store's present state; [`Publisher::run`] follows it.
    pub(crate) fn new(store: Store) -> Self {
        let published = encode::publish(&store.state(), None);
        let digests = VecDeque::from([(published.revision, published.digest)]);
        Self {
            store,
            newest: watch::Sender::new(Arc::new(published)),
            digests: Arc::new(Mutex::new(digests)),
            commits: Arc::default(),
        }
    }

    /// Publishes each new state, for ever. If it fails, edges would follow a
    /// state that is not the store's: the program must end.
    pub(crate) async fn run(self) -> Result<Infallible, PublisherFailed> {
        let mut revisions = self.store.revisions();
        loop {
            let current = *revisions.borrow_and_update();
            let previous = Arc::clone(&self.newest.borrow());
            if previous.revision != current {
                self.commits.note(current, Instant::now());
                let state = self.store.state();
                // Encoding many items takes milliseconds, which heartbeats must not feel.
                let published = tokio::task::spawn_blocking(move || encode::publish(&state, Some(&previous)))
                    .await
                    .map_err(|_| PublisherFailed)?;
                self.remember(&published);
                self.newest.send_replace(Arc::new(published));
            }
            revisions.changed().await.map_err(|_| PublisherFailed)?;
        }
    }

    fn remember(&self, published: &Published) {
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if digests.len() == REMEMBERED_DIGESTS {
            digests.pop_front();
        }
        digests.push_back((published.revision, published.digest));
    }

    /// The newest state and its successors.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Published>> {
        self.newest.subscribe()
    }

    /// The newest state, not older than what the store holds at this moment:
    /// an edge that connects after a revocation never sees the state before.
    pub(super) async fn newest(&self, published: &mut watch::Receiver<Arc<Published>>) -> Option<Arc<Published>> {
        let committed = self.store.state().revision;
        let newest = published.wait_for(|published| published.revision >= committed).await.ok()?;
        Some(Arc::clone(&newest))
    }

    /// The store's newest state, which may be newer than what is published.
    pub(super) fn state(&self) -> Arc<State> {
        self.store.state()
    }

    /// When a revision was committed, as far as that is remembered.
    pub(super) fn committed_at(&self, revision: Revision) -> Option<Instant> {
        self.commits.at(revision)
    }

    /// What the store knows of an edge at this moment; `None` when it was never
    /// enrolled here.
    pub(super) fn edge(&self, edge: &EdgeId) -> Option<Arc<Stored<EdgeRecord>>> {
        self.store.state().edges.get(edge).cloned()
    }

    /// The step from the revision that an edge says it holds, with that digest,
    /// to `current`. `None` means that the edge needs everything.
    pub(super) fn resume(&self, current: &Published, from: Revision, digest: Option<Digest>) -> Option<v1::Delta> {
        if let Some(known) = self.digest_at(from)
            && digest != Some(known)
        {
            return None;
        }
        self.step(current, from, None)
    }

    /// The same without doubt about what is held. Both states are of the same
    /// kind: whole ones, or bare ones.
    pub(super) fn step(&self, current: &Published, from: Revision, held: Option<&Published>) -> Option<v1::Delta> {
        let mut changed = self.store.changes(from, current.revision)?;
        changed.extend(current.lapsed().iter().cloned());
        // Name no removal of what the edge cannot hold.
        changed.retain(|key| {
            current.item(key).is_some()
                || held.map_or_else(|| !never_was(current, key), |held| held.item(key).is_some())
        });
        changed.sort_unstable();
        changed.dedup();
        current.delta(from, changed)
    }

    fn digest_at(&self, revision: Revision) -> Option<Digest> {
        let digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        let at = digests.binary_search_by_key(&revision, |(revision, _)| *revision).ok()?;
        Some(digests[at].1)
    }
}

/// A token that is there was never revoked, so that it never had a tombstone.
fn never_was(current: &Published, key: &ItemKey) -> bool {
    key.kind == ItemKind::Tombstone && current.item(&ItemKey { kind: ItemKind::Token, id: key.id.clone() }).is_some()
}

/// The publisher cannot go on.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the store's changes cannot be published any more")]
pub(crate) struct PublisherFailed;
