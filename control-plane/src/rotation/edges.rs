//! What a rotation needs of the edges: one that tries the new credential, and
//! all of them using it.

use std::time::Duration;

use nla_domain::{
    clock::Timestamp,
    credential::Credential,
    id::{DatabaseName, EdgeId, Revision},
};
use nla_proto::v1;

use crate::{store::State, stream::Registry};

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

/// Has one edge log in with a credential that it does not hold.
///
/// # Errors
/// Why no connected edge could.
pub(crate) async fn verify(registry: &Registry, candidate: &Credential) -> Result<(), String> {
    let mut last = "the edge that could have tried the new password has gone".to_owned();
    for edge in registry.connected() {
        match registry.probe_candidate(&edge, candidate).await {
            Some(result) if result.ok => return Ok(()),
            Some(result) => last = format!("{} cannot use it, at {}: {}", edge.id, result.stage, result.error),
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
