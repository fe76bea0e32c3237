//! The certificate authority's replacement, phase by phase. Each phase is one
//! transaction together with the bundle that edges are told to trust, so that
//! there is nothing half done: after a crash the phase is the one before or the
//! one after. [`crate::pki::slots`] says what each authority does in it.

use std::sync::Arc;

use nla_domain::{
    clock::Timestamp,
    error::ErrorKind,
    id::EdgeId,
    join::CaPin,
    snapshot::{ItemKind, Settings},
};
use nla_proto::{convert, failure::Failure, v1};
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use super::{
    Context,
    change::{Change, Recorder},
};
use crate::{
    pki::{
        Authority, PkiError,
        slots::{self, Phase},
    },
    store::{CaRecord, CaSlot, CertificateRecord, Draft, RecordKey, State},
};

/// Names in one refusal; the status names all.
const MAX_NAMED: usize = 10;

/// The service.
#[derive(Debug)]
pub(super) struct Authorities(pub(super) Arc<Context>);

#[tonic::async_trait]
impl v1::authorities_server::Authorities for Authorities {
    async fn status(
        &self,
        _request: Request<v1::AuthorityStatusRequest>,
    ) -> Result<Response<v1::AuthorityStatus>, Status> {
        Ok(Response::new(self.state_of_affairs()?))
    }

    async fn prepare(
        &self,
        request: Request<v1::PrepareAuthorityRequest>,
    ) -> Result<Response<v1::AuthorityStatus>, Status> {
        let (change, _) = Change::of(request, "/nla.v1.Authorities/Prepare", |r| &r.idempotency_key)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            must_be(draft.state(), Phase::Steady)?;
            let trust_domain = slots::record(draft.state(), CaSlot::Current).ok_or(PkiError::Missing)?;
            let next = Authority::generate(CaSlot::Next, &trust_domain.trust_domain, draft.now())?;
            commit(draft, recorder, "", move |draft| drop(draft.put(next)));
            Ok(())
        });
        self.answered(answer.await)
    }

    async fn activate(
        &self,
        request: Request<v1::ActivateAuthorityRequest>,
    ) -> Result<Response<v1::AuthorityStatus>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Authorities/Activate", |r| &r.idempotency_key)?;
        let context = Arc::clone(&self.0);
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            must_be(draft.state(), Phase::Prepared)?;
            let waiting = edges_waiting(&context, draft.state(), draft.now());
            if !request.force && !waiting.is_empty() {
                let named = named(waiting.iter().map(|edge| format!("{} ({})", edge.edge_id, edge.reason)));
                return Err(refused(format!(
                    "{} of the edges do not trust the next authority yet: {named}; wait for them, revoke those that are gone, or force the activation and let them join again",
                    waiting.len(),
                )));
            }
            let (next, current) = (taken(draft, CaSlot::Next)?, taken(draft, CaSlot::Current)?);
            commit(draft, recorder, forced(request.force && !waiting.is_empty()), move |draft| {
                draft.remove(&RecordKey::Ca(CaSlot::Next));
                draft.put(CaRecord { slot: CaSlot::Current, ..next });
                draft.put(CaRecord { slot: CaSlot::Previous, ..current });
            });
            Ok(())
        });
        self.answered(answer.await)
    }

    async fn retire(
        &self,
        request: Request<v1::RetireAuthorityRequest>,
    ) -> Result<Response<v1::AuthorityStatus>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Authorities/Retire", |r| &r.idempotency_key)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            must_be(draft.state(), Phase::Activated)?;
            let (certificates, joins) = (held(draft.state(), draft.now()), joins(draft.state(), draft.now()));
            let in_use = !certificates.is_empty() || !joins.is_empty();
            if !request.force && in_use {
                let holders = certificates.iter().map(|held| format!("the certificate of {}", held.holder));
                let joining = joins.iter().map(|join| format!("the join token of {}", join.edge_id));
                return Err(refused(format!(
                    "the previous authority is in use: {}; edges renew by themselves, operators with `nlactl operator renew`, and join tokens end within a day; forcing it locks these out",
                    named(holders.chain(joining)),
                )));
            }
            commit(draft, recorder, forced(request.force && in_use), |draft| {
                draft.remove(&RecordKey::Ca(CaSlot::Previous));
            });
            Ok(())
        });
        self.answered(answer.await)
    }

    async fn rollback(
        &self,
        request: Request<v1::RollbackAuthorityRequest>,
    ) -> Result<Response<v1::AuthorityStatus>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Authorities/Rollback", |r| &r.idempotency_key)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            match Phase::of(draft.state()) {
                Phase::Steady => {
                    return Err(refused("there is one authority and nothing to go back to".to_owned()));
                }
                // Both stay trusted; edges renew under the one that signs again.
                Phase::Activated => {
                    let (current, previous) = (taken(draft, CaSlot::Current)?, taken(draft, CaSlot::Previous)?);
                    commit(draft, recorder, "", move |draft| {
                        draft.remove(&RecordKey::Ca(CaSlot::Previous));
                        draft.put(CaRecord { slot: CaSlot::Current, ..previous });
                        draft.put(CaRecord { slot: CaSlot::Next, ..current });
                    });
                }
                Phase::Prepared => {
                    let certificates = held(draft.state(), draft.now());
                    if !request.force && !certificates.is_empty() {
                        return Err(refused(format!(
                            "the authority that would go has signed valid certificates: those of {}; edges renew by themselves, operators with `nlactl operator renew`; forcing it locks these out",
                            named(certificates.iter().map(|held| held.holder.clone())),
                        )));
                    }
                    let reason = forced(request.force && !certificates.is_empty());
                    commit(draft, recorder, reason, |draft| {
                        draft.remove(&RecordKey::Ca(CaSlot::Next));
                    });
                }
            }
            Ok(())
        });
        self.answered(answer.await)
    }
}

impl Authorities {
    fn answered(&self, committed: Result<(), Failure>) -> Result<Response<v1::AuthorityStatus>, Status> {
        committed?;
        Ok(Response::new(self.state_of_affairs()?))
    }

    fn state_of_affairs(&self) -> Result<v1::AuthorityStatus, Failure> {
        let (state, now) = (self.0.store.state(), self.0.clock.now());
        let mut authorities = Vec::new();
        for slot in CaSlot::ALL {
            let Some(record) = slots::record(&state, slot) else { continue };
            let fingerprint = CaPin::of(&record.certificate_der);
            let signed = certificates(&state, now).filter(|(_, held)| issuer(&state, held) == Some(fingerprint));
            authorities.push(v1::AuthorityView {
                slot: slot.as_str().to_owned(),
                fingerprint: fingerprint.to_string(),
                expires_at: Some(convert::timestamp(Authority::from_record(record)?.not_after())),
                signs_clients: slot == CaSlot::Current,
                signs_server: slot == slots::serving_slot(&state),
                certificates: signed.count() as u64,
            });
        }
        let phase = Phase::of(&state);
        Ok(v1::AuthorityStatus {
            phase: wire_phase(phase).into(),
            authorities,
            edges_waiting: edges_waiting(&self.0, &state, now),
            held_certificates: held(&state, now),
            held_join_tokens: if phase == Phase::Activated { joins(&state, now) } else { vec![] },
            ca_bundle_pem: slots::bundle_pem(&state),
        })
    }
}

pub(super) fn wire_phase(phase: Phase) -> v1::AuthorityPhase {
    match phase {
        Phase::Steady => v1::AuthorityPhase::Steady,
        Phase::Prepared => v1::AuthorityPhase::Prepared,
        Phase::Activated => v1::AuthorityPhase::Activated,
    }
}

fn refused(message: String) -> Failure {
    Failure::new(ErrorKind::FailedPrecondition, message)
}

fn must_be(state: &State, phase: Phase) -> Result<(), Failure> {
    let found = Phase::of(state);
    if found == phase {
        return Ok(());
    }
    let next = match found {
        Phase::Steady => "prepare the next authority first",
        Phase::Prepared => "the next authority is prepared: activate it, or roll back",
        Phase::Activated => "the new authority is active: retire the previous one, or roll back",
    };
    Err(refused(next.to_owned()))
}

fn forced(forced: bool) -> &'static str {
    if forced { "forced" } else { "" }
}

fn named(mut names: impl Iterator<Item = String>) -> String {
    let first: Vec<String> = names.by_ref().take(MAX_NAMED).collect();
    let more = names.count();
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}

fn taken(draft: &Draft<'_>, slot: CaSlot) -> Result<CaRecord, Failure> {
    Ok(slots::record(draft.state(), slot).ok_or(PkiError::Missing)?.clone())
}

/// Makes the change, tells the edges whom to trust from now on, and records both.
fn commit(draft: &mut Draft<'_>, recorder: &Recorder, reason: &str, change: impl FnOnce(&mut Draft<'_>)) {
    let before = as_json(draft.state());
    change(draft);
    let after = as_json(draft.state());
    let settings = draft.state().settings.value.clone();
    let ca_bundle_pem = slots::bundle_pem(draft.state());
    draft.put(Settings { ca_bundle_pem, ..settings });
    recorder.record_why(draft, "authority", Some(before), Some(after), reason);
}

fn as_json(state: &State) -> Value {
    let of = |slot| slots::record(state, slot).map(|record| CaPin::of(&record.certificate_der).to_string());
    json!({
        "phase": Phase::of(state).as_str(),
        "current": of(CaSlot::Current),
        "next": of(CaSlot::Next),
        "previous": of(CaSlot::Previous),
    })
}

/// The valid certificates of everybody who is let in.
fn certificates(state: &State, now: Timestamp) -> impl Iterator<Item = (String, &CertificateRecord)> {
    let edges = state.edges.values().map(|stored| &stored.value).filter(|edge| edge.revoked.is_none());
    let edges = edges.flat_map(|edge| {
        let certificates = [Some(&edge.certificate), edge.previous.as_ref()].into_iter().flatten();
        certificates.map(|held| (format!("edge/{}", edge.id), held))
    });
    let operators = state.operators.values().map(|stored| &stored.value).filter(|operator| operator.revoked.is_none());
    let operators = operators.flat_map(|operator| {
        let certificates = [Some(&operator.certificate), operator.next.as_ref()].into_iter().flatten();
        certificates.map(|held| (format!("operator/{}", operator.name), held))
    });
    edges.chain(operators).filter(move |(_, held)| held.not_after > now)
}

/// Who has signed a certificate, as far as it is shown. What was signed before
/// that was recorded is taken for the oldest authority's.
fn issuer(state: &State, held: &CertificateRecord) -> Option<CaPin> {
    let known = [CaSlot::Previous, CaSlot::Current, CaSlot::Next].into_iter();
    let mut known =
        known.filter_map(|slot| slots::record(state, slot)).map(|record| CaPin::of(&record.certificate_der));
    if held.issuer.is_empty() { known.next() } else { known.find(|pin| pin.0.as_slice() == held.issuer) }
}

/// Valid certificates that the current authority has not signed.
fn held(state: &State, now: Timestamp) -> Vec<v1::HeldCertificate> {
    let current = slots::record(state, CaSlot::Current).map(|record| CaPin::of(&record.certificate_der));
    certificates(state, now)
        .filter(|(_, held)| {
            // Who has signed what was signed before that was recorded is not
            // known: it counts for any authority that may go.
            let issuer = issuer(state, held);
            let several = CaSlot::ALL.into_iter().filter(|slot| slots::record(state, *slot).is_some()).count() > 1;
            // One of an authority that is trusted no more opens nothing.
            if held.issuer.is_empty() { several } else { issuer.is_some() && issuer != current }
        })
        .map(|(holder, held)| v1::HeldCertificate {
            holder,
            issuer: issuer(state, held).map(|pin| pin.to_string()).unwrap_or_default(),
            expires_at: Some(convert::timestamp(held.not_after)),
        })
        .collect()
}

/// Join tokens that wait to be used. All of them name the authority that signs
/// the control plane's certificate.
fn joins(state: &State, now: Timestamp) -> Vec<v1::HeldJoinToken> {
    let joins = state.joins.values().map(|stored| &stored.value);
    let waiting = joins.filter(|join| join.spent_at.is_none() && join.expires_at > now);
    waiting
        .map(|join| v1::HeldJoinToken {
            edge_id: join.edge.to_string(),
            expires_at: Some(convert::timestamp(join.expires_at)),
        })
        .collect()
}

/// Edges with a valid certificate that have not confirmed the state in which
/// the next authority came in. An edge keeps the authorities before it confirms.
fn edges_waiting(context: &Context, state: &State, now: Timestamp) -> Vec<v1::EdgeTrust> {
    let Some(next) = state.authorities.get(&CaSlot::Next) else { return vec![] };
    let live = state.edges.values().map(|stored| &stored.value);
    let live = live.filter(|edge| edge.revoked.is_none() && edge.certificate.not_after > now);
    let why = |id: &EdgeId| {
        let Some(connected) = context.sync.registry.get(id) else { return Some("not connected") };
        let status = connected.status();
        let settings = convert::item_kind(ItemKind::Settings);
        match () {
            () if status.refused.iter().any(|nack| nack.kind == i32::from(settings)) => Some("could not keep it"),
            () if status.acknowledged < next.meta.revision => Some("has not confirmed it yet"),
            () => None,
        }
    };
    live.filter_map(|edge| {
        why(&edge.id).map(|reason| v1::EdgeTrust { edge_id: edge.id.to_string(), reason: reason.to_owned() })
    })
    .collect()
}
