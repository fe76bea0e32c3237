//! Edges: which there are, what they hold, and how one is let in, drained, put
//! into quarantine or banned.

use std::{sync::Arc, time::Duration};

use ipnet::{IpNet, Ipv4Net};
use nla_domain::{error::ErrorKind, id::EdgeId, join::JoinToken};
use nla_proto::{convert, failure::Failure, v1};
use tonic::{Request, Response, Status};

use super::{
    Context,
    change::{Change, parse, room, text},
    tokens::bounded,
    view,
};
use crate::{
    pki::slots,
    store::{Draft, EdgeRecord, JoinRecord, Pause, RecordKey, Revocation, State, Stored},
};

/// Long enough to start a machine by hand, too short to lie about.
const DEFAULT_JOIN_LIFETIME: Duration = Duration::from_secs(600);
const MAX_JOIN_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Edges of one control plane, banned ones included; lists have no pages.
const MAX_EDGES: usize = 10_000;
/// Ended join tokens that one change forgets: a change has to fit into one
/// record of the log.
const FORGOTTEN_AT_ONCE: usize = 500;
/// Join tokens that are kept at one time.
const MAX_JOINS: usize = 10_000;
/// Networks of one join token.
const MAX_NETWORKS: usize = 20;

/// The service.
#[derive(Debug)]
pub(super) struct Edges(pub(super) Arc<Context>);

#[tonic::async_trait]
impl v1::edges_server::Edges for Edges {
    async fn list(&self, _request: Request<v1::ListEdgesRequest>) -> Result<Response<v1::ListEdgesResponse>, Status> {
        let state = self.0.store.state();
        let with_reach =
            |stored: &Arc<Stored<EdgeRecord>>| self.with_connection(self.with_reach(view::edge(stored), stored));
        let edges = state.edges.values().map(with_reach).collect();
        Ok(Response::new(v1::ListEdgesResponse { edges }))
    }

    async fn get(&self, request: Request<v1::GetEdgeRequest>) -> Result<Response<v1::EdgeView>, Status> {
        let id: EdgeId = parse("id", &request.get_ref().id)?;
        let state = self.0.store.state();
        let missing = || Failure::not_found("edge", id.as_str()).with_field("id");
        let stored = state.edges.get(&id).ok_or_else(missing)?;
        Ok(Response::new(self.with_connection(view::edge(stored))))
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Edges/CreateJoinToken", |r| &r.idempotency_key)?;
        let edge: EdgeId = parse("edge_id", &request.edge_id)?;
        let lifetime = request.lifetime.as_ref();
        let lifetime = bounded("lifetime", lifetime, DEFAULT_JOIN_LIFETIME, Duration::from_secs(1), MAX_JOIN_LIFETIME)?;
        let allowed_cidrs = networks(&request.allowed_cidrs)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            check_name_is_free(draft.state(), &edge)?;
            forget_ended_joins(draft);
            room("edges", draft.state().edges.len(), MAX_EDGES)?;
            room("join tokens", draft.state().joins.len(), MAX_JOINS)?;
            let pin = slots::serving(draft.state())?.pin();
            let token =
                JoinToken::generate(pin).map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
            let expires_at = draft.now().plus(lifetime);
            let from: Vec<String> = allowed_cidrs.iter().map(ToString::to_string).collect();
            let after = serde_json::json!({ "join_token_expires_at": expires_at.to_string(), "allowed_cidrs": from });
            recorder.record(draft, format!("edge/{edge}"), None, Some(after));
            draft.put(JoinRecord { verifier: token.verifier(), edge, expires_at, spent_at: None, allowed_cidrs });
            Ok(v1::CreateJoinTokenResponse {
                join_token: token.to_text().expose().to_owned(),
                expires_at: Some(convert::timestamp(expires_at)),
            })
        });
        Ok(Response::new(answer.await?))
    }

    async fn revoke(&self, request: Request<v1::RevokeEdgeRequest>) -> Result<Response<v1::EdgeView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Edges/Revoke", |r| &r.idempotency_key)?;
        let id: EdgeId = parse("id", &request.id)?;
        text("reason", &request.reason, 0, 500)?;
        let reason = request.reason;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            let missing = || Failure::not_found("edge", id.as_str()).with_field("id");
            let before = Arc::clone(draft.state().edges.get(&id).ok_or_else(missing)?);
            if before.value.revoked.is_some() {
                return Ok(view::edge(&before));
            }
            let mut record = before.value.clone();
            record.revoked = Some(Revocation { at: draft.now(), by: draft.actor().to_owned(), reason: reason.clone() });
            let (old, new) = (view::edge_json(&before.value), view::edge_json(&record));
            recorder.record_why(draft, format!("edge/{id}"), Some(old), Some(new), &reason);
            let meta = draft.put(record.clone());
            Ok(view::edge(&Stored { value: record, meta }))
        });
        Ok(Response::new(answer.await?))
    }

    async fn drain(&self, request: Request<v1::DrainEdgeRequest>) -> Result<Response<v1::EdgeView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Edges/Drain", |r| &r.idempotency_key)?;
        let id: EdgeId = parse("id", &request.id)?;
        text("reason", &request.reason, 0, 500)?;
        Ok(Response::new(self.pause(change, id, |edge| &mut edge.draining, Some(request.reason)).await?))
    }

    async fn resume(&self, request: Request<v1::ResumeEdgeRequest>) -> Result<Response<v1::EdgeView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Edges/Resume", |r| &r.idempotency_key)?;
        let id: EdgeId = parse("id", &request.id)?;
        Ok(Response::new(self.pause(change, id, |edge| &mut edge.draining, None).await?))
    }

    async fn quarantine(&self, request: Request<v1::QuarantineEdgeRequest>) -> Result<Response<v1::EdgeView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Edges/Quarantine", |r| &r.idempotency_key)?;
        let id: EdgeId = parse("id", &request.id)?;
        text("reason", &request.reason, 0, 500)?;
        Ok(Response::new(self.pause(change, id, |edge| &mut edge.quarantine, Some(request.reason)).await?))
    }

    async fn release(&self, request: Request<v1::ReleaseEdgeRequest>) -> Result<Response<v1::EdgeView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Edges/Release", |r| &r.idempotency_key)?;
        let id: EdgeId = parse("id", &request.id)?;
        Ok(Response::new(self.pause(change, id, |edge| &mut edge.quarantine, None).await?))
    }
}

impl Edges {
    /// Records that an edge drains or is in quarantine for `reason`, or no
    /// more. Its session sees that in the store, at once or when the edge
    /// connects.
    async fn pause(
        &self,
        change: Change,
        id: EdgeId,
        which: fn(&mut EdgeRecord) -> &mut Option<Pause>,
        reason: Option<String>,
    ) -> Result<v1::EdgeView, Failure> {
        let stored = change.commit(&self.0.store, move |draft, recorder| {
            let missing = || Failure::not_found("edge", id.as_str()).with_field("id");
            let before = Arc::clone(draft.state().edges.get(&id).ok_or_else(missing)?);
            check_name_is_free(draft.state(), &id)?;
            let mut record = before.value.clone();
            let pause = which(&mut record);
            if pause.as_ref().map(|pause| &pause.reason) == reason.as_ref() {
                return Ok(view::edge(&before));
            }
            let since = pause.as_ref().map_or_else(|| draft.now(), |pause| pause.since);
            *pause = reason.clone().map(|reason| Pause { since, reason });
            let (old, new) = (view::edge_json(&before.value), view::edge_json(&record));
            let why = reason.as_deref().unwrap_or_default();
            recorder.record_why(draft, format!("edge/{id}"), Some(old), Some(new), why);
            let meta = draft.put(record.clone());
            Ok(view::edge(&Stored { value: record, meta }))
        });
        Ok(self.with_connection(stored.await?))
    }

    /// Adds when the edge was heard, and by when it refuses calls if it is out of reach.
    fn with_reach(&self, mut view: v1::EdgeView, stored: &Stored<EdgeRecord>) -> v1::EdgeView {
        view.last_heard_at = self.0.sync.last_heard_at(&stored.value.id);
        let connected = self.0.sync.registry.get(&stored.value.id).is_some();
        view.fenced_at = if connected { None } else { self.0.sync.fenced_at(stored) };
        view
    }

    /// Adds what is known of the edge while it is connected.
    fn with_connection(&self, mut view: v1::EdgeView) -> v1::EdgeView {
        let id: Option<EdgeId> = view.id.parse().ok();
        if let Some(connected) = id.and_then(|id| self.0.sync.registry.get(&id)) {
            let status = connected.status();
            view.connected = true;
            view.acknowledged_revision = status.acknowledged.0;
            view.version = status.version;
            view.mcp_url = status.mcp_url;
            view.address = status.address;
            view.web_certificate_expires_at = status.usage.as_ref().and_then(|usage| usage.web_certificate_expires_at);
            view.usage = status.usage;
            view.refused_items = status.refused;
        }
        view
    }
}

/// Networks of a join token. One that stands for IPv4 in IPv6 becomes the IPv4
/// network that it means, since addresses are compared in that form.
fn networks(texts: &[String]) -> Result<Vec<IpNet>, Failure> {
    if texts.len() > MAX_NETWORKS {
        let message = format!("a join token may have at most {MAX_NETWORKS} networks");
        return Err(Failure::invalid("allowed_cidrs", message));
    }
    let network = |(at, text): (usize, &String)| {
        let field = format!("allowed_cidrs[{at}]");
        let net: IpNet = match text.parse::<std::net::IpAddr>() {
            Ok(address) => address.into(),
            Err(_) => parse(&field, text)?,
        };
        let mapped = match net {
            IpNet::V6(net) if net.prefix_len() >= 96 => {
                net.addr().to_ipv4_mapped().and_then(|address| Ipv4Net::new(address, net.prefix_len() - 96).ok())
            }
            _ => None,
        };
        Ok(mapped.map_or(net, IpNet::V4).trunc())
    };
    texts.iter().enumerate().map(network).collect()
}

/// A banned name stays banned: certificates that were issued under it may
/// still be valid and must not work again because somebody reused the name.
pub(super) fn check_name_is_free(state: &State, edge: &EdgeId) -> Result<(), Failure> {
    if state.edges.get(edge).is_some_and(|edge| edge.value.revoked.is_some()) {
        let message = format!("the edge {edge} was revoked: join under another name");
        return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("edge_id"));
    }
    Ok(())
}

fn forget_ended_joins(draft: &mut Draft<'_>) {
    let now = draft.now();
    let ended = draft.state().joins.values().filter(|join| join.value.expires_at <= now);
    let keys: Vec<RecordKey> =
        ended.map(|join| RecordKey::Join(*join.value.verifier.as_bytes())).take(FORGOTTEN_AT_ONCE).collect();
    for key in keys {
        draft.remove(&key);
    }
}
