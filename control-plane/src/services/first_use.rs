//! The other half of an edge's renewal: its first stream with the new
//! certificate ends the one before. After a restore it is also how the store learns
//! of certificates that were issued since the backup. `sync` calls it. Invariant: the certificate
//! before is ended only by proof that the new one has arrived.

use nla_domain::id::EdgeId;

use super::{change::Recorder, view};
use crate::{
    authz::Caller,
    store::{CertificateRecord, Draft, EdgeRecord, State, Store},
};

const METHOD: &str = "/nla.v1.EdgeSync/Sync";

/// Ends the certificate before the one that this caller shows, if it is still
/// held. When that cannot be stored, it ends by itself within a day, which is
/// no reason to keep an edge from following.
pub(super) async fn settle(store: &Store, caller: &Caller) {
    let Ok(edge) = caller.edge() else { return };
    adopt(store, caller, edge).await;
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

/// Takes over a certificate that the edge got after the backup from which the
/// store was restored, and ends those before it. When that cannot be stored,
/// the stream is refused, and the edge comes back.
async fn adopt(store: &Store, caller: &Caller, edge: &EdgeId) {
    let (serial, not_after) = (caller.serial().to_owned(), caller.not_after());
    // The gate does not tell which of the authorities has signed it.
    let (edge, shown) = (edge.clone(), CertificateRecord { serial, not_after, issuer: Vec::new() });
    if unknown(&store.state(), &edge, &shown).is_none() {
        return;
    }
    let recorder = Recorder::new(METHOD, caller.to_string(), caller.remote().ip().to_string());
    let change = move |draft: &mut Draft<'_>| {
        let Some(before) = unknown(draft.state(), &edge, &shown).cloned() else { return Ok(()) };
        let record = EdgeRecord { certificate: shown, previous: None, ..before.clone() };
        let (old, new) = (view::edge_json(&before), view::edge_json(&record));
        let reason = "the certificate was issued after the backup that was restored";
        recorder.record_why(draft, format!("edge/{edge}"), Some(old), Some(new), reason);
        draft.put(record);
        Ok(())
    };
    if let Err(failure) = store.mutate(&caller.to_string(), change).await {
        tracing::warn!(%caller, %failure, "the certificate that this edge got after the backup could not be taken over");
    }
}

/// The edge, if it shows a certificate of after the backup.
fn unknown<'a>(state: &'a State, edge: &EdgeId, shown: &CertificateRecord) -> Option<&'a EdgeRecord> {
    let record = &state.edges.get(edge)?.value;
    let unknown = record.revoked.is_none() && state.renewed_after_backup(record, &shown.serial, shown.not_after);
    unknown.then_some(record)
}

/// The edge, if it is in the middle of a renewal to that serial number.
fn renewed<'a>(state: &'a State, edge: &EdgeId, serial: &[u8]) -> Option<&'a EdgeRecord> {
    let record = &state.edges.get(edge)?.value;
    (record.previous.is_some() && record.certificate.serial == serial).then_some(record)
}
