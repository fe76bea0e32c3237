//! How an edge gets its certificate: the first one for a join token, the next
//! ones for the certificate before.

use std::{net::IpAddr, sync::Arc, time::Duration};

use nla_domain::{
    clock::Timestamp,
    error::ErrorKind,
    id::EdgeId,
    join::{JoinToken, JoinVerifier},
};
use nla_proto::{convert, failure::Failure, tls::server::ConnectInfo, v1};
use tonic::{Request, Response, Status};

use super::{Context, change::Recorder, edges::check_name_is_free, view};
use crate::{
    allowance::{self, Allowances},
    authz::{Caller, EDGE_REPLACED},
    pki::{Authority, Issued},
    store::{CertificateRecord, Draft, EdgeRecord, JoinRecord, State},
};

const JOIN: &str = "/nla.v1.Enrolment/Join";
const RENEW: &str = "/nla.v1.Enrolment/Renew";
/// A stolen certificate is worth a day; edges renew at half of it.
pub(super) const EDGE_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Attempts to join from one address before the rate applies: a rack of edges
/// behind one address starts at once.
const JOIN_BURST: u32 = 20;
/// Then one per second. A secret of 256 bits needs no slower rate; the rest of
/// the machine does.
const JOIN_REFILL: Duration = Duration::from_secs(1);

/// Renewals of one edge before the rate applies, and then. An edge needs two a
/// day; each is a revision, and revisions push out those from which edges that
/// were away resume.
const RENEW_BURST: u32 = 10;
const RENEW_REFILL: Duration = Duration::from_secs(60);

/// The service.
#[derive(Debug)]
pub(super) struct Enrolment {
    context: Arc<Context>,
    attempts: Allowances,
    renewals: Allowances,
}

impl Enrolment {
    pub(super) fn new(context: Arc<Context>) -> Self {
        let attempts = Allowances::new(JOIN_BURST, JOIN_REFILL);
        Self { context, attempts, renewals: Allowances::new(RENEW_BURST, RENEW_REFILL) }
    }
}

#[tonic::async_trait]
impl v1::enrolment_server::Enrolment for Enrolment {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let missing = || Failure::new(ErrorKind::Internal, "the connection is not one of our listeners'");
        let connection = request.extensions().get::<ConnectInfo>().cloned().ok_or_else(missing)?;
        if self.attempts.take(&allowance::source_of(connection.remote.ip())).is_none() {
            let failure =
                Failure::new(ErrorKind::RateLimited, "too many attempts to join from this address: wait a minute");
            return Err(failure.into());
        }
        let request = request.into_inner();
        let joined = match JoinToken::parse(&request.join_token) {
            Ok(token) => self.admit(token.verifier(), request.csr_pem, connection.remote.ip()).await,
            Err(error) => Err(Failure::new(ErrorKind::InvalidToken, error.to_string()).with_field("join_token")),
        };
        let (edge, issued) = joined.inspect_err(|failure| self.context.refusals.note(JOIN, &connection, failure))?;
        tracing::info!(%edge, remote = %connection.remote, "edge joined");
        Ok(Response::new(v1::JoinResponse {
            edge_id: edge.to_string(),
            certificate: Some(certificate(issued, self.context.authority.certificate_pem())),
        }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let caller = Caller::of(&request)?;
        let edge = caller.edge()?.clone();
        if self.renewals.take(edge.as_str()).is_none() {
            let message = "this edge renews too often: its certificate lives for a day; wait a minute";
            return Err(Failure::new(ErrorKind::RateLimited, message).into());
        }
        let recorder = Recorder::new(RENEW, caller.to_string(), caller.remote().ip().to_string());
        let csr = request.into_inner().csr_pem;
        let authority = Arc::clone(&self.context.authority);
        let serial = caller.serial().to_owned();
        let change = move |draft: &mut Draft<'_>| {
            check_name_is_free(draft.state(), &edge)?;
            // What the gate has seen may have changed since.
            let held = draft.state().edges.get(&edge).and_then(|edge| edge.value.held(&serial)).cloned();
            let held = held.ok_or_else(|| Failure::new(ErrorKind::PermissionDenied, EDGE_REPLACED))?;
            issue(draft, &recorder, &authority, &edge, &csr, Some(held))
        };
        let issued = self.context.store.mutate(&caller.to_string(), change).await?;
        Ok(Response::new(v1::RenewResponse {
            certificate: Some(certificate(issued, self.context.authority.certificate_pem())),
        }))
    }
}

impl Enrolment {
    /// Spends a join token. Drafts are made one after the other, so that of
    /// two requests with one token only one finds it unspent.
    async fn admit(&self, verifier: JoinVerifier, csr: String, address: IpAddr) -> Result<(EdgeId, Issued), Failure> {
        let authority = Arc::clone(&self.context.authority);
        let change = move |draft: &mut Draft<'_>| {
            let mut join = find(draft.state(), &verifier, draft.now())?;
            check_address(&join, address)?;
            let edge = join.edge.clone();
            check_name_is_free(draft.state(), &edge)?;
            let recorder = Recorder::new(JOIN, format!("edge/{edge}"), address.to_string());
            // Whoever holds the certificate before is not known: it ends here.
            let issued = issue(draft, &recorder, &authority, &edge, &csr, None)?;
            join.spent_at = Some(draft.now());
            draft.put(join);
            Ok((edge, issued))
        };
        self.context.store.mutate("enrolment", change).await
    }
}

/// Compares with every join token in constant time each, so that the answer's
/// time tells nothing about how close a guess was.
fn find(state: &State, verifier: &JoinVerifier, now: Timestamp) -> Result<JoinRecord, Failure> {
    let invalid = |message| Failure::new(ErrorKind::InvalidToken, message).with_field("join_token");
    let all = state.joins.values();
    let found = all.fold(None, |found, join| if join.value.verifier == *verifier { Some(join) } else { found });
    let join = found.ok_or_else(|| invalid("this join token is not known here: it may be of another control plane"))?;
    if join.value.spent_at.is_some() {
        return Err(invalid("this join token was used before: ask an operator for a new one, and who used it"));
    }
    if join.value.expires_at <= now {
        return Err(invalid("this join token has expired: ask an operator for a new one"));
    }
    Ok(join.value.clone())
}

/// By the address of the connection: a header that a proxy could have set is
/// no proof here.
fn check_address(join: &JoinRecord, address: IpAddr) -> Result<(), Failure> {
    // An IPv4 client of a dual-stack socket shows up as ::ffff:a.b.c.d.
    let address = address.to_canonical();
    if join.allowed_cidrs.is_empty() || join.allowed_cidrs.iter().any(|net| net.contains(&address)) {
        return Ok(());
    }
    let message = format!(
        "the join token of edge {} is not accepted from {address}; it was not used up: join from one of its networks, \
         or ask an operator for one that this address may use (`nlactl edge join-token --allow-cidr`)",
        join.edge
    );
    Err(Failure::new(ErrorKind::AddressRefused, message).with_field("join_token"))
}

fn issue(
    draft: &mut Draft<'_>,
    recorder: &Recorder,
    authority: &Authority,
    edge: &EdgeId,
    csr: &str,
    previous: Option<CertificateRecord>,
) -> Result<Issued, Failure> {
    let issued = authority.issue_edge(csr, edge, draft.now(), EDGE_LIFETIME)?;
    let before = draft.state().edges.get(edge).map(|stored| stored.value.clone());
    // An operator has said that this name drains or is in quarantine; a new
    // certificate says nothing to that.
    let record = before.clone().unwrap_or_else(|| EdgeRecord::new(edge.clone(), issued.record.clone()));
    let record = EdgeRecord { certificate: issued.record.clone(), previous, ..record };
    let before = before.as_ref().map(view::edge_json);
    recorder.record(draft, format!("edge/{edge}"), before, Some(view::edge_json(&record)));
    draft.put(record);
    Ok(issued)
}

fn certificate(issued: Issued, ca_pem: String) -> v1::Certificate {
    v1::Certificate {
        chain_pem: issued.certificate_pem,
        ca_bundle_pem: ca_pem,
        expires_at: Some(convert::timestamp(issued.record.not_after)),
    }
}
