//! Operators: who may administer, and how much.

use std::{sync::Arc, time::Duration};

use nla_domain::{clock::Timestamp, error::ErrorKind, id::OperatorName, operator::Level};
use nla_proto::{convert, failure::Failure, v1};
use tonic::{Request, Response, Status};

use super::{
    Context,
    change::{Change, Recorder, parse, room},
    renewal::{self, Renewing},
    tokens::bounded,
    view,
};
use crate::{
    allowance::Allowances,
    pki::slots,
    store::{Draft, OperatorRecord, Revocation, State},
};

/// As long as a token.
pub(super) const DEFAULT_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// Operators of one control plane; lists have no pages.
const MAX_OPERATORS: usize = 1_000;
/// Join tokens that end with their maker: a change has to fit into one record
/// of the log. Nobody makes more in the day that they live.
const MAX_ENDED_JOINS: usize = 500;

/// The service.
#[derive(Debug)]
pub(super) struct Operators {
    context: Arc<Context>,
    renewals: Allowances,
}

impl Operators {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, renewals: renewal::allowances() }
    }
}

#[tonic::async_trait]
impl v1::operators_server::Operators for Operators {
    async fn create(
        &self,
        request: Request<v1::CreateOperatorRequest>,
    ) -> Result<Response<v1::CreateOperatorResponse>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Operators/Create", |r| &r.idempotency_key)?;
        let name: OperatorName = parse("name", &request.name)?;
        let level: Level = convert::from_level("level", request.level).map_err(Failure::from)?;
        let minimum = Duration::from_secs(60);
        let lifetime = bounded("lifetime", request.lifetime.as_ref(), DEFAULT_LIFETIME, minimum, MAX_LIFETIME)?;
        let answer = change.commit(&self.context.store, move |draft, recorder| {
            if draft.state().operators.contains_key(&name) {
                let message = format!("the operator {name} exists or existed: choose another name");
                return Err(Failure::new(ErrorKind::Conflict, message).with_field("name"));
            }
            room("operators", draft.state().operators.len(), MAX_OPERATORS)?;
            let issued =
                slots::signing(draft.state())?.issue_operator(&request.csr_pem, &name, draft.now(), lifetime)?;
            let record = OperatorRecord { name, level, certificate: issued.record, next: None, revoked: None };
            recorder.record(draft, format!("operator/{}", record.name), None, Some(view::operator_json(&record)));
            let meta = draft.put(record.clone());
            Ok(v1::CreateOperatorResponse {
                operator: Some(view::operator(&record, &meta)),
                certificate_pem: issued.certificate_pem,
                ca_bundle_pem: slots::bundle_pem(draft.state()),
            })
        });
        Ok(Response::new(answer.await?))
    }

    async fn list(
        &self,
        _request: Request<v1::ListOperatorsRequest>,
    ) -> Result<Response<v1::ListOperatorsResponse>, Status> {
        let state = self.context.store.state();
        let operators = state.operators.values().map(|stored| view::operator(&stored.value, &stored.meta)).collect();
        Ok(Response::new(v1::ListOperatorsResponse { operators }))
    }

    async fn revoke(&self, request: Request<v1::RevokeOperatorRequest>) -> Result<Response<v1::OperatorView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Operators/Revoke", |r| &r.idempotency_key)?;
        let name: OperatorName = parse("name", &request.name)?;
        let answer = change.commit(&self.context.store, move |draft, recorder| {
            let missing = || Failure::not_found("operator", name.as_str()).with_field("name");
            let before = Arc::clone(draft.state().operators.get(&name).ok_or_else(missing)?);
            if before.value.revoked.is_some() {
                return Ok(view::operator(&before.value, &before.meta));
            }
            keep_one_admin(draft.state(), &name, draft.now())?;
            let mut record = before.value.clone();
            let by = draft.actor().to_owned();
            record.revoked = Some(Revocation { at: draft.now(), by, reason: String::new() });
            let (old, new) = (view::operator_json(&before.value), view::operator_json(&record));
            recorder.record(draft, format!("operator/{name}"), Some(old), Some(new));
            let meta = draft.put(record.clone());
            end_join_tokens(draft, recorder, &format!("operator/{name}"));
            Ok(view::operator(&record, &meta))
        });
        Ok(Response::new(answer.await?))
    }

    async fn renew(
        &self,
        request: Request<v1::RenewOperatorRequest>,
    ) -> Result<Response<v1::RenewOperatorResponse>, Status> {
        let caller = Renewing::of(&request, &self.renewals)?;
        let (change, request) = Change::of(request, "/nla.v1.Operators/Renew", |r| &r.idempotency_key)?;
        let answer = change.commit(&self.context.store, move |draft, recorder| {
            renewal::renew(draft, recorder, &caller, &request.csr_pem)
        });
        Ok(Response::new(answer.await?))
    }

    async fn finish_renewal(
        &self,
        request: Request<v1::FinishRenewalRequest>,
    ) -> Result<Response<v1::OperatorView>, Status> {
        let caller = Renewing::of(&request, &self.renewals)?;
        let (change, _) = Change::of(request, "/nla.v1.Operators/FinishRenewal", |r| &r.idempotency_key)?;
        let answer =
            change.commit(&self.context.store, move |draft, recorder| renewal::finish(draft, recorder, &caller));
        Ok(Response::new(answer.await?))
    }
}

/// A join token that waits would still let its maker in, as an edge, with
/// every credential; nothing else shows it or takes it back.
fn end_join_tokens(draft: &mut Draft<'_>, recorder: &Recorder, maker: &str) {
    let now = draft.now();
    let made = draft.state().joins.values().filter(|join| join.meta.created_by == maker);
    let made: Vec<_> = made
        .filter(|join| join.value.spent_at.is_none() && join.value.expires_at > now)
        .map(|join| join.value.clone())
        .take(MAX_ENDED_JOINS)
        .collect();
    for mut join in made {
        let before = serde_json::json!({ "join_token_expires_at": join.expires_at.to_string() });
        let after = serde_json::json!({ "join_token_expires_at": now.to_string() });
        recorder.record(draft, format!("edge/{}", join.edge), Some(before), Some(after));
        join.expires_at = now;
        draft.put(join);
    }
}

/// Without an admin nobody could ever make one again.
fn keep_one_admin(state: &State, leaving: &OperatorName, now: Timestamp) -> Result<(), Failure> {
    let is_admin =
        |record: &OperatorRecord| record.level == Level::Admin && record.revoked.is_none() && record.expires_at() > now;
    let leaves_admin = state.operators.get(leaving).is_some_and(|operator| is_admin(&operator.value));
    let others = state.operators.values().any(|other| other.value.name != *leaving && is_admin(&other.value));
    if leaves_admin && !others {
        let message = format!("{leaving} is the last admin: create another one first");
        return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("name"));
    }
    Ok(())
}
