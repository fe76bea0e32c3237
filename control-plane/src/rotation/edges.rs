//! What a rotation needs of the edges: one that tries the new credential, and
//! all of them using it.

use std::{sync::Arc, time::Duration};

use nla_domain::{
    clock::Timestamp,
    credential::Credential,
    id::{DatabaseName, EdgeId, Revision},
};
use nla_proto::v1;

use crate::{
    store::{State, Store},
    stream::{Connected, Registry},
};

/// A heartbeat that was under way when the credential was published, and the
/// difference between two clocks.
const FENCE_MARGIN: Duration = Duration::from_secs(10);

/// One edge that is not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) id: EdgeId,
    pub(super) connected: bool,
    /// It took the revision and refused the credential in it.
    pub(super) refused: Option<String>,
}

/// How many edges try a credential that the ones before could not use.
const MOST_TRIES: usize = 3;
/// As edges name the step at which a server refuses a password: another edge
/// would be refused as well, and each refusal counts with the server.
const REFUSED_LOGIN: &str = "authenticate";

/// True for an edge that may hold credentials: enrolled, not banned and not in
/// quarantine.
pub(crate) fn is_trusted(state: &State, edge: &EdgeId) -> bool {
    let record = state.edges.get(edge).map(|stored| &stored.value);
    record.is_some_and(|record| record.revoked.is_none() && record.quarantine.is_none())
}

/// The connected edges that may try a credential.
pub(crate) fn usable(state: &State, registry: &Registry) -> Vec<Arc<Connected>> {
    registry.connected().into_iter().filter(|edge| is_trusted(state, &edge.id)).collect()
}

/// Has one edge log in with a credential that it does not hold.
///
/// # Errors
/// Why none of the edges that may hold credentials could.
pub(crate) async fn verify(store: &Store, registry: &Registry, candidate: &Credential) -> Result<(), String> {
    let mut last = "the edge that could have tried the new password has gone".to_owned();
    let edges = usable(&store.state(), registry);
    for edge in edges.into_iter().take(MOST_TRIES) {
        // Somebody may put it in quarantine while it tries.
        let trusted = || is_trusted(&store.state(), &edge.id);
        match registry.probe_candidate(&edge, candidate, trusted).await {
            Some(result) if result.ok && trusted() => return Ok(()),
            Some(result) if result.ok => last = format!("{} may not try it any more", edge.id),
            Some(result) => {
                last = format!("{} cannot use it, at {}: {}", edge.id, result.stage, result.error);
                if result.stage == REFUSED_LOGIN {
                    break;
                }
            }
            None => last = format!("{} did not answer", edge.id),
        }
    }
    Err(last)
}

/// The edges that do not use the credential of that revision yet. One whose
/// certificate ended long ago has not been served anything since.
pub(super) fn missing(
    state: &State,
    registry: &Registry,
    database: &DatabaseName,
    revision: Revision,
    now: Timestamp,
) -> Vec<Missing> {
    let kind = i32::from(v1::ItemKind::Credential);
    let fence = fenced_after(state);
    let live = state
        .edges
        .values()
        .filter(|edge| edge.value.revoked.is_none() && now < edge.value.certificate.not_after.plus(fence));
    live.filter_map(|edge| {
        let id = edge.value.id.clone();
        let Some(connected) = registry.get(&id) else {
            return Some(Missing { id, connected: false, refused: None });
        };
        let status = connected.status();
        let refused = status.refused.iter().find(|nack| nack.kind == kind && nack.id == database.as_str());
        if let Some(nack) = refused {
            return Some(Missing { id, connected: true, refused: Some(nack.reason.clone()) });
        }
        (status.acknowledged < revision).then_some(Missing { id, connected: true, refused: None })
    })
    .collect()
}

/// After this time no edge serves by what it held before.
pub(super) fn fenced_after(state: &State) -> Duration {
    let settings = &state.settings.value;
    settings.standard_staleness.max(settings.strict_staleness) + FENCE_MARGIN
}
