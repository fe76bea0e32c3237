//! Quarantine of an edge: it keeps its stream and gets tombstones only, over
//! restarts, until it is released with the whole state.

use nla_domain::{error::ErrorKind, snapshot::ItemKind};
use nla_proto::{
    failure::Failure,
    v1::{self, control_message::Message as ToEdge, edge_message::Message as FromEdge, edges_client::EdgesClient},
};
use prost::Message as _;
use tokio::time::timeout;
use tonic::Status;

use crate::{
    drain::told,
    plane::{DEADLINE, Follower, Held, Plane, Told, once},
};

async fn quarantine(plane: &Plane, id: &str, reason: &str) -> Result<v1::EdgeView, Status> {
    let request = v1::QuarantineEdgeRequest { idempotency_key: once(), id: id.into(), reason: reason.into() };
    EdgesClient::new(plane.admin_channel()).quarantine(request).await.map(tonic::Response::into_inner)
}

async fn release(plane: &Plane, id: &str) -> Result<v1::EdgeView, Status> {
    let request = v1::ReleaseEdgeRequest { idempotency_key: once(), id: id.into() };
    EdgesClient::new(plane.admin_channel()).release(request).await.map(tonic::Response::into_inner)
}

async fn revoke(plane: &Plane, id: &str) -> v1::RevokeTokenResponse {
    let request = v1::RevokeTokenRequest { idempotency_key: once(), ids: vec![id.into()], ..Default::default() };
    let mut tokens = v1::tokens_client::TokensClient::new(plane.admin_channel());
    tokens.revoke(request).await.unwrap().into_inner()
}

/// An edge whose stamps are never echoed can admit no call, so that nobody waits
/// for it.
async fn holds_lease(follower: &mut Follower) {
    follower.send(FromEdge::Usage(v1::Usage { stamp: 1, ..Default::default() })).await;
    let echoed =
        async { while !matches!(follower.next().await, Ok(Some(ToEdge::Heartbeat(beat))) if beat.echo == 1) {} };
    timeout(DEADLINE, echoed).await.expect("the stamp is echoed");
}

fn ordered(reason: &str) -> ToEdge {
    ToEdge::Quarantine(v1::Quarantine { reason: reason.into() })
}

/// Settings without a secret, these tombstones, and nothing else.
fn holds_only(held: &Held, tombstones: &[&str]) {
    let expected: Vec<String> = tombstones.iter().map(|id| format!("Tombstone/{id}")).collect();
    let (settings, rest): (Vec<_>, Vec<_>) = held.items.iter().partition(|(key, _)| key.kind == ItemKind::Settings);
    assert_eq!(rest.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>(), expected);
    let settings = v1::Settings::decode(settings[0].1.as_slice()).unwrap();
    assert_eq!(settings.pepper, vec![0; 32], "the pepper is a secret");
    assert!(settings.strict_staleness.is_some() && settings.standard_staleness.is_some());
}

#[tokio::test]
async fn an_edge_in_quarantine_gets_tombstones_only_until_it_is_released() {
    let mut plane = Plane::start().await;
    plane.shop().await;
    let (kept, ended) = (plane.token().await, plane.token().await);
    let [kept, ended] = [kept, ended].map(|token| token.token.unwrap().id);
    let (e1, e2) = (plane.edge("e1").await, plane.edge("e2").await);
    let mut follower = Follower::connect(plane.channel(&e1), Held::default()).await.unwrap();
    let mut other = Follower::connect(plane.channel(&e2), Held::default()).await.unwrap();
    follower.reach(plane.revision().await).await;
    let whole = follower.held.ids();

    let view = quarantine(&plane, "e1", "odd calls").await.unwrap();
    assert_eq!((view.connected, view.quarantine_reason.as_str()), (true, "odd calls"));
    assert_eq!(told(&mut follower).await, ordered("odd calls"));
    assert_eq!(follower.advance().await.unwrap(), Told::Everything);
    holds_only(&follower.held, &[]);
    follower.reach(plane.revision().await).await;
    other.reach(plane.revision().await).await;

    // What happens meanwhile arrives as steps, without a secret, and counts as applied.
    other.reach(plane.revision().await).await;
    for edge in [&mut follower, &mut other] {
        holds_lease(edge).await;
    }
    let revoking = tokio::spawn({
        let (channel, id) = (plane.admin_channel(), ended.clone());
        async move {
            let request = v1::RevokeTokenRequest { idempotency_key: once(), ids: vec![id], ..Default::default() };
            v1::tokens_client::TokensClient::new(channel).revoke(request).await.unwrap().into_inner()
        }
    });
    let before = follower.held.revision;
    while follower.held.revision == before {
        assert_eq!(follower.advance().await.unwrap(), Told::Step { upserts: 1, removals: 0 });
    }
    other.reach(follower.held.revision).await;
    let applied = revoking.await.unwrap().receipt.unwrap().edges;
    assert!(
        applied.len() == 2 && applied.iter().all(|edge| edge.state() == v1::edge_receipt::State::Applied),
        "{applied:?}"
    );
    holds_only(&follower.held, &[&ended]);
    plane.token().await;
    assert_eq!(follower.advance().await.unwrap(), Told::Step { upserts: 0, removals: 0 });
    quarantine(&plane, "e1", "odder calls").await.unwrap();
    assert_eq!(told(&mut follower).await, ordered("odder calls"));
    drop(follower);

    // Over restarts and a new certificate, before the state; what the edge says it
    // holds changes nothing.
    for round in 0..3 {
        if round == 1 {
            plane.restart().await;
        }
        let e1 = if round == 2 { plane.edge("e1").await } else { e1.clone() };
        let held = if round == 0 { Held::default() } else { other.held.clone() };
        let mut follower = Follower::connect(plane.channel(&e1), held).await.unwrap();
        assert_eq!(told(&mut follower).await, ordered("odder calls"), "{round}");
        assert_eq!(follower.advance().await.unwrap(), Told::Everything);
        holds_only(&follower.held, &[&ended]);
        if round == 2 {
            // The whole state, then the release.
            let view = release(&plane, "e1").await.unwrap();
            assert_eq!((view.quarantined_since, view.quarantine_reason.as_str()), (None, ""));
            while follower.held.ids().len() < whole.len() {
                follower.advance().await.unwrap();
            }
            assert!(follower.held.ids().contains(&format!("Token/{kept}")), "{:?}", follower.held.ids());
            assert!(follower.held.ids().contains(&"Credential/shop".to_owned()));
            assert_eq!(told(&mut follower).await, ToEdge::Release(v1::Release {}));
            revoke(&plane, &kept).await;
            follower.advance().await.expect("steps again");
        }
    }
}

#[tokio::test]
async fn quarantine_needs_an_edge_that_may_serve_and_is_recorded() {
    let plane = Plane::start().await;
    plane.edge("e1").await;
    let first = quarantine(&plane, "e1", "odd").await.unwrap();
    let revision = plane.revision().await;
    assert_eq!(quarantine(&plane, "e1", "odd").await.unwrap(), first);
    assert_eq!(plane.revision().await, revision, "nothing has changed");
    let kind = |answer: Result<v1::EdgeView, Status>| Failure::from_status(&answer.unwrap_err()).kind;
    assert_eq!(kind(quarantine(&plane, "e9", "").await), ErrorKind::NotFound);
    assert_eq!(kind(release(&plane, "e9").await), ErrorKind::NotFound);
    assert_eq!(kind(quarantine(&plane, "e1", "two\nlines").await), ErrorKind::InvalidArgument);
    release(&plane, "e1").await.unwrap();
    release(&plane, "e1").await.unwrap();
    let mut audit = v1::audit_client::AuditClient::new(plane.admin_channel());
    let events = audit.list(v1::ListAuditRequest::default()).await.unwrap().into_inner().events;
    let count = |method: &str| {
        let named = |event: &&v1::AuditEvent| matches!(&event.event, Some(v1::audit_event::Event::Admin(event)) if event.action == method);
        events.iter().filter(named).count()
    };
    assert_eq!((count("/nla.v1.Edges/Quarantine"), count("/nla.v1.Edges/Release")), (1, 1));
    let request = v1::RevokeEdgeRequest { idempotency_key: once(), id: "e1".into(), reason: String::new() };
    EdgesClient::new(plane.admin_channel()).revoke(request).await.unwrap();
    assert_eq!(kind(quarantine(&plane, "e1", "").await), ErrorKind::FailedPrecondition);
}
