//! Every RPC with every kind of caller, over real mTLS: what the table allows
//! is not refused, and everything else is.

use nla_control_plane::authz::rules::{RULES, Rule};
use nla_domain::{join::JoinToken, operator::Level};
use nla_proto::{
    tls::client::{ClientTls, channel},
    v1::{self, audit_client::AuditClient, edges_client::EdgesClient, operators_client::OperatorsClient},
};
use tokio::time::timeout;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_prost::ProstCodec;

use crate::plane::{DEADLINE, Party, Plane, once};

/// Calls a method with an empty message; gives the status of a refusal.
async fn call(channel: &Channel, path: &'static str) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let codec: ProstCodec<v1::StatusRequest, v1::StatusRequest> = ProstCodec::default();
    let messages = tokio_stream::once(v1::StatusRequest {});
    let called = grpc.streaming(Request::new(messages), path.parse().unwrap(), codec);
    timeout(DEADLINE, called).await.expect(path).map(drop)
}

/// Whether the gate, not the handler, said no.
fn refused(called: &Result<(), Status>) -> bool {
    called.as_ref().is_err_and(|status| matches!(status.code(), Code::PermissionDenied | Code::Unimplemented))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Edge,
    RevokedEdge,
    Operator(Level),
    RevokedOperator,
}

fn allowed(rule: Rule, kind: Kind) -> bool {
    match (rule, kind) {
        (Rule::EdgeStream, Kind::RevokedEdge) => true,
        (_, Kind::RevokedEdge | Kind::RevokedOperator) => false,
        (Rule::EdgeStream | Rule::Edge | Rule::AnyPeer, Kind::Edge) => true,
        (Rule::AnyPeer, Kind::Operator(_)) => true,
        (Rule::Operator(levels), Kind::Operator(level)) => levels.contains(&level),
        _ => false,
    }
}

async fn callers(plane: &Plane) -> Vec<(Kind, Party)> {
    let mut callers = vec![(Kind::Edge, plane.edge("e1").await), (Kind::RevokedEdge, plane.edge("e2").await)];
    for level in Level::ALL {
        let party = plane.operator(&format!("of-level-{level}"), nla_proto::convert::level(level)).await;
        callers.push((Kind::Operator(level), party));
    }
    callers.push((Kind::RevokedOperator, plane.operator("gone", v1::Level::Admin).await));
    let request = v1::RevokeOperatorRequest { idempotency_key: once(), name: "gone".to_owned() };
    OperatorsClient::new(plane.admin_channel()).revoke(request).await.unwrap();
    let request = v1::RevokeEdgeRequest { idempotency_key: once(), id: "e2".to_owned(), reason: String::new() };
    EdgesClient::new(plane.admin_channel()).revoke(request).await.unwrap();
    callers
}

#[tokio::test]
async fn every_rpc_follows_its_rule_for_every_caller() {
    let plane = Plane::start().await;
    let mut wrong = Vec::new();
    for (kind, party) in callers(&plane).await {
        let channel = plane.channel(&party);
        for (path, rule) in RULES {
            let called = call(&channel, path).await;
            if refused(&called) == allowed(*rule, kind) {
                wrong.push(format!("{path} by {kind:?}: {called:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn the_enrolment_listener_serves_nothing_but_join() {
    let plane = Plane::start().await;
    let pin = JoinToken::parse(&plane.join_token("e1").await).unwrap().ca_pin();
    let anyone = channel(&format!("https://{}", plane.enrolment), &ClientTls::pinned(pin).unwrap()).unwrap();
    for (path, _) in RULES {
        let called = call(&anyone, path).await;
        assert_eq!(refused(&called), *path != "/nla.v1.Enrolment/Join", "{path}: {called:?}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_control_plane_is_no_certificate() {
    let (plane, other) = (Plane::start().await, Plane::start().await);
    // The other one's key, told to trust this one's server.
    let stranger = Party { ca_pem: plane.admin().ca_pem, ..other.admin() };
    call(&plane.channel(&stranger), "/nla.v1.System/Status").await.unwrap_err();
}

#[tokio::test]
async fn the_store_decides_the_level_and_refusals_are_recorded() {
    let plane = Plane::start().await;
    let viewer = plane.operator("vera", v1::Level::Viewer).await;
    let channel = plane.channel(&viewer);
    for _ in 0..50 {
        let error = call(&channel, "/nla.v1.Tokens/Create").await.unwrap_err();
        assert!(error.message().contains("operator or admin; yours is viewer"), "{error}");
    }
    let mut audit = AuditClient::new(plane.admin_channel());
    let filter = v1::AuditFilter { outcome: v1::Outcome::Refused.into(), ..Default::default() };
    let events = timeout(DEADLINE, async {
        loop {
            let request = v1::ListAuditRequest { filter: Some(filter.clone()), ..Default::default() };
            let events = audit.list(request).await.unwrap().into_inner().events;
            if events.len() >= 10 {
                break events;
            }
        }
    });
    let events = events.await.unwrap();
    assert_eq!(events.len(), 10, "a flood of refusals is bounded in the log");
    let Some(v1::audit_event::Event::Admin(event)) = &events[0].event else { panic!("{events:?}") };
    assert_eq!((event.actor.as_str(), event.action.as_str()), ("operator/vera", "/nla.v1.Tokens/Create"));
    assert_eq!(event.client_address, "127.0.0.1");
}

#[tokio::test]
async fn following_the_audit_log_ends_with_the_certificate() {
    let plane = Plane::start().await;
    let reader = plane.operator("reader", v1::Level::Auditor).await;
    let mut audit = v1::audit_client::AuditClient::new(plane.channel(&reader));
    let mut tail = audit.tail(v1::TailAuditRequest::default()).await.unwrap().into_inner();
    plane.join_token("e1").await;
    tokio::time::timeout(DEADLINE, tail.message()).await.unwrap().unwrap().unwrap();
    plane.clock.advance(std::time::Duration::from_secs(91 * 24 * 3600));
    plane.join_token("e2").await;
    let error = tokio::time::timeout(DEADLINE, tail.message()).await.unwrap().unwrap_err();
    assert!(error.message().contains("expired"), "{error}");
}
