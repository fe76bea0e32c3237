//! The other half of an edge's renewal: its first stream with the new
//! certificate ends the one before. `sync` calls it. Invariant: the certificate
//! before is ended only by proof that the new one has arrived.

use nla_domain::id::EdgeId;

use super::{change::Recorder, view};
use crate::{
    authz::Caller,
    store::{Draft, EdgeRecord, State, Store},
};

const METHOD: &str = "/nla.v1.EdgeSync/Sync";

/// Ends the certificate before the one that this caller shows, if it is still
/// held. When that cannot be stored, it ends by itself within a day, which is
/// no reason to keep an edge from following.
pub(super) async fn settle(store: &Store, caller: &Caller) {
    let Ok(edge) = caller.edge() else { return };
    if renewed(&store.state(), edge, caller.serial()).is_none() {
        return;
    }
    let (edge, serial) = (edge.clone(), caller.serial().to_owned());
    let recorder = Recorder::new(METHOD, caller.to_string(), caller.remote().ip().to_string());
    let change = move |draft: &mut Draft<'_>| {
        let Some(before) = renewed(draft.state(), &edge, &serial).cloned() else { return Ok(()) };
        let record = EdgeRecord { previous: None, ..before.clone() };
        let (old, new) = (view::edge_json(&before), view::edge_json(&record));
        recorder.record(draft, format!("edge/{edge}"), Some(old), Some(new));
        draft.put(record);
        Ok(())
    };
    if let Err(failure) = store.mutate(&caller.to_string(), change).await {
        tracing::warn!(%caller, %failure, "the certificate that this edge has renewed could not be ended");
    }
}

/// The edge, if it is in the middle of a renewal to that serial number.
fn renewed<'a>(state: &'a State, edge: &EdgeId, serial: &[u8]) -> Option<&'a EdgeRecord> {
    let record = &state.edges.get(edge)?.value;
    (record.previous.is_some() && record.certificate.serial == serial).then_some(record)
}
