//! Tokens: made, listed, revoked, rotated. The secret is shown in the answer
//! that makes a token and is kept nowhere but, encrypted, with the answer to
//! its idempotency key.

mod grants;
mod life;
mod revoke;
mod rotate;
mod selection;
mod update;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use nla_domain::{
    error::ErrorKind,
    id::{Revision, TokenId},
    label::Labels,
    token::{Staleness, Token, TokenText},
};
use nla_proto::{
    convert::{self, ConvertError},
    failure::Failure,
    v1,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use self::{
    grants::Grants,
    rotate::{Rotation, rotate},
    selection::Selection,
    update::Update,
};
use super::{
    Context,
    change::{Change, Recorder, parse},
    view,
};
use crate::store::{Draft, Meta, State, Stored, TokenRecord};

/// Connected edges answer in milliseconds; one that does not is shown as such.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// Tokens in one list; it has no pages.
const MAX_LISTED: usize = 10_000;

/// The service.
#[derive(Debug)]
pub(super) struct Tokens(pub(super) Arc<Context>);

#[tonic::async_trait]
impl v1::tokens_server::Tokens for Tokens {
    async fn create(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Tokens/Create", |r| &r.idempotency_key)?;
        let grants = Grants::read(&self.0.token_policy, request)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            grants.check(draft.state())?;
            let text = generate()?;
            let (pepper_generation, pepper) = draft.state().settings.value.peppers.newest();
            let record = TokenRecord {
                token: Token {
                    id: text.id(),
                    verifier: text.verifier(pepper),
                    pepper_generation,
                    owner: grants.owner,
                    roles: grants.roles,
                    databases: grants.databases,
                    expires_at: grants.life.end(draft.now()),
                    allowed_cidrs: grants.allowed_cidrs,
                    staleness: grants.staleness,
                    limits: grants.limits,
                },
                purpose: grants.purpose,
                revoked: None,
                predecessor: None,
                successor: None,
                labels: grants.labels,
                noticed: None,
            };
            let meta = put(draft, recorder, &record, None, "");
            let token = Some(view::token(&record, &meta));
            Ok(v1::CreateTokenResponse { token, token_text: text.expose().to_owned() })
        });
        Ok(Response::new(answer.await?))
    }

    async fn list(&self, request: Request<v1::ListTokensRequest>) -> Result<Response<v1::ListTokensResponse>, Status> {
        let request = request.into_inner();
        let selection = Selection::read(request.filter.unwrap_or_default())?;
        let state = self.0.store.state();
        let matching = selection.matching(&state, &self.0.sync.uses, self.0.clock.now(), request.include_ended);
        let found: Vec<_> = matching.take(MAX_LISTED + 1).collect();
        if found.len() > MAX_LISTED {
            let message = format!("there are more than {MAX_LISTED} such tokens: ask for those of one owner");
            return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("owner").into());
        }
        let tokens = found.into_iter().map(|stored| self.seen(&state, stored)).collect();
        Ok(Response::new(v1::ListTokensResponse { tokens }))
    }

    async fn get(&self, request: Request<v1::GetTokenRequest>) -> Result<Response<v1::TokenView>, Status> {
        let state = self.0.store.state();
        let stored = find(&state, parse("id", &request.get_ref().id)?)?;
        Ok(Response::new(self.seen(&state, stored)))
    }

    async fn revoke(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Tokens/Revoke", |r| &r.idempotency_key)?;
        Ok(Response::new(revoke::answer(&self.0, change, request).await?))
    }

    async fn rotate(
        &self,
        request: Request<v1::RotateTokenRequest>,
    ) -> Result<Response<v1::RotateTokenResponse>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Tokens/Rotate", |r| &r.idempotency_key)?;
        let wait = bounded("wait", request.wait.as_ref(), DEFAULT_WAIT, Duration::ZERO, super::receipts::MAX_WAIT)?;
        let rotation = Rotation::read(&self.0.token_policy, request)?;
        let ends_old = rotation.ends_old();
        let mut answer =
            change.commit(&self.0.store, move |draft, recorder| rotate(draft, recorder, &rotation)).await?;
        if ends_old {
            let class = view_class(&self.0.store.state(), &answer);
            let receipt = self.0.sync.receipt(Revision(answer.revision), class, Instant::now() + wait).await;
            answer.edges = receipt.edges.into_iter().map(applied).collect();
        }
        Ok(Response::new(answer))
    }

    async fn update(&self, request: Request<v1::UpdateTokenRequest>) -> Result<Response<v1::TokenView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Tokens/Update", |r| &r.idempotency_key)?;
        let update = Update::read(request)?;
        let mut answer = change.commit(&self.0.store, move |draft, recorder| update.apply(draft, recorder)).await?;
        answer.last_use = parse("id", &answer.id).ok().and_then(|id| self.last_use(&self.0.store.state(), &id));
        Ok(Response::new(answer))
    }
}

impl Tokens {
    /// A token as it is shown, with its last use, which is in no record of it.
    fn seen(&self, state: &State, stored: &Stored<TokenRecord>) -> v1::TokenView {
        let last_use = self.last_use(state, &stored.value.token.id);
        v1::TokenView { last_use, ..view::token(&stored.value, &stored.meta) }
    }

    fn last_use(&self, state: &State, id: &TokenId) -> Option<v1::TokenLastUse> {
        self.0.sync.uses.of(state, id).as_ref().map(view::token_use)
    }
}

/// Whether the old token can do nothing more on an edge, and since when.
fn applied(edge: v1::EdgeReceipt) -> v1::EdgeApplied {
    let applied = edge.state() != v1::edge_receipt::State::Pending;
    v1::EdgeApplied { edge_id: edge.edge_id, applied, after: edge.after }
}

/// The class of the token that a rotation has ended.
fn view_class(state: &State, answer: &v1::RotateTokenResponse) -> Staleness {
    let old = answer.predecessor.as_ref().and_then(|old| old.id.parse::<TokenId>().ok());
    old.and_then(|id| state.tokens.get(&id)).map_or(Staleness::Standard, |stored| stored.value.token.staleness)
}

fn labels(wire: BTreeMap<String, String>) -> Result<Labels, Failure> {
    Labels::new(wire).map_err(|error| Failure::invalid("labels", error.to_string()))
}

/// A duration within bounds.
pub(super) fn bounded(
    field: &'static str,
    asked: Option<&prost_types::Duration>,
    default: Duration,
    min: Duration,
    max: Duration,
) -> Result<Duration, Failure> {
    let value = match asked {
        None => default,
        Some(asked) => convert::from_duration(field, asked)?,
    };
    if value < min || value > max {
        let range = format!("must be {} to {} seconds", min.as_secs(), max.as_secs());
        return Err(ConvertError::new(field, range).into());
    }
    Ok(value)
}

fn generate() -> Result<TokenText, Failure> {
    TokenText::generate().map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))
}

fn find(state: &State, id: TokenId) -> Result<&Arc<Stored<TokenRecord>>, Failure> {
    state.tokens.get(&id).ok_or_else(|| Failure::not_found("token", id.as_str()).with_field("id"))
}

fn put(
    draft: &mut Draft<'_>,
    recorder: &Recorder,
    record: &TokenRecord,
    before: Option<&TokenRecord>,
    reason: &str,
) -> Meta {
    let object = format!("token/{}", record.token.id);
    recorder.record_why(draft, object, before.map(view::token_json), Some(view::token_json(record)), reason);
    draft.put(record.clone())
}
