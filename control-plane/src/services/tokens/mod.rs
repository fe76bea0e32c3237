//! Tokens: made, listed, revoked, rotated. The secret is shown in the answer
//! that makes a token and is kept nowhere but, encrypted, with the answer to
//! its idempotency key.

mod filter;
mod grants;
mod revoke;
mod rotate;
mod selection;

use std::{sync::Arc, time::Duration};

use nla_domain::{
    error::ErrorKind,
    id::TokenId,
    token::{DEFAULT_LIFETIME, Token, TokenText},
};
use nla_proto::{
    convert::{self, ConvertError},
    failure::Failure,
    v1,
};
use tonic::{Request, Response, Status};

pub(super) use self::selection::Selection;
use self::{grants::Grants, rotate::rotate};
use super::{
    Context,
    change::{Change, Recorder, parse},
    view,
};
use crate::store::{Draft, Meta, State, Stored, TokenRecord};

/// A token that outlives a year is forgotten before it ends.
const MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// Overlap of a rotation: agents pick up a new token within days, or never.
const MAX_OVERLAP: Duration = Duration::from_secs(30 * 24 * 3600);
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
        let grants = Grants::read(request)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            grants.check(draft.state())?;
            let text = generate()?;
            let record = TokenRecord {
                token: Token {
                    id: text.id(),
                    verifier: text.verifier(&draft.state().settings.value.pepper),
                    owner: grants.owner,
                    roles: grants.roles,
                    databases: grants.databases,
                    expires_at: Some(draft.now().plus(grants.lifetime)),
                    allowed_cidrs: grants.allowed_cidrs,
                    staleness: grants.staleness,
                    limits: grants.limits,
                },
                purpose: grants.purpose,
                revoked: None,
                predecessor: None,
                successor: None,
            };
            let meta = put(draft, recorder, &record, None, "");
            let token = Some(view::token(&record, &meta));
            Ok(v1::CreateTokenResponse { token, token_text: text.expose().to_owned() })
        });
        Ok(Response::new(answer.await?))
    }

    async fn list(&self, request: Request<v1::ListTokensRequest>) -> Result<Response<v1::ListTokensResponse>, Status> {
        let request = request.into_inner();
        let state = self.0.store.state();
        let now = self.0.clock.now();
        let wanted = |stored: &&Arc<Stored<TokenRecord>>| {
            (request.include_ended || view::is_live(&stored.value, now))
                && (request.owner.is_empty() || stored.value.token.owner == request.owner)
        };
        let found: Vec<_> = state.tokens.values().filter(wanted).take(MAX_LISTED + 1).collect();
        if found.len() > MAX_LISTED {
            let message = format!("there are more than {MAX_LISTED} such tokens: ask for those of one owner");
            return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("owner").into());
        }
        let tokens = found.into_iter().map(|stored| view::token(&stored.value, &stored.meta)).collect();
        Ok(Response::new(v1::ListTokensResponse { tokens }))
    }

    async fn get(&self, request: Request<v1::GetTokenRequest>) -> Result<Response<v1::TokenView>, Status> {
        let state = self.0.store.state();
        let stored = find(&state, parse("id", &request.get_ref().id)?)?;
        Ok(Response::new(view::token(&stored.value, &stored.meta)))
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
        let id: TokenId = parse("id", &request.id)?;
        let overlap = bounded("overlap", request.overlap.as_ref(), Duration::ZERO, Duration::ZERO, MAX_OVERLAP)?;
        let lifetime = lifetime(request.lifetime.as_ref())?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            rotate(draft, recorder, id, overlap, lifetime, request.expected_revision)
        });
        Ok(Response::new(answer.await?))
    }
}

fn lifetime(asked: Option<&prost_types::Duration>) -> Result<Duration, Failure> {
    bounded("lifetime", asked, DEFAULT_LIFETIME, Duration::from_secs(1), MAX_LIFETIME)
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
