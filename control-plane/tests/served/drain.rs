//! Draining an edge: told at once, told again to whoever connects, before the
//! state, and kept over restarts.

use nla_domain::error::ErrorKind;
use nla_proto::{
    failure::Failure,
    v1::{self, audit_client::AuditClient, control_message::Message as ToEdge, edges_client::EdgesClient},
};
use tokio::time::timeout;
use tonic::Status;

use crate::plane::{DEADLINE, Follower, Held, Plane, once};

pub(crate) async fn drain(plane: &Plane, id: &str, reason: &str) -> Result<v1::EdgeView, Status> {
    let request = v1::DrainEdgeRequest { idempotency_key: once(), id: id.into(), reason: reason.into() };
    EdgesClient::new(plane.admin_channel()).drain(request).await.map(tonic::Response::into_inner)
}

async fn resume(plane: &Plane, id: &str) -> Result<v1::EdgeView, Status> {
    let request = v1::ResumeEdgeRequest { idempotency_key: once(), id: id.into() };
    EdgesClient::new(plane.admin_channel()).resume(request).await.map(tonic::Response::into_inner)
}

fn drained_for(reason: &str) -> ToEdge {
    ToEdge::Drain(v1::Drain { reason: reason.into() })
}

/// The next message that is no sign of life.
pub(crate) async fn told(follower: &mut Follower) -> ToEdge {
    let read = async {
        loop {
            match follower.next().await.unwrap().unwrap() {
                ToEdge::Heartbeat(_) => {}
                other => break other,
            }
        }
    };
    timeout(DEADLINE, read).await.expect("nothing was told")
}

#[tokio::test]
async fn a_drain_is_told_at_once_and_before_the_state_of_each_stream() {
    let mut plane = Plane::start().await;
    let (e1, e2) = (plane.edge("e1").await, plane.edge("e2").await);
    let mut follower = Follower::connect(plane.channel(&e1), Held::default()).await.unwrap();
    follower.reach(plane.revision().await).await;
    let mut other = Follower::connect(plane.channel(&e2), Held::default()).await.unwrap();
    other.reach(plane.revision().await).await;

    let view = drain(&plane, "e1", "upgrade").await.unwrap();
    assert_eq!((view.connected, view.draining_reason.as_str()), (true, "upgrade"));
    assert_eq!(told(&mut follower).await, drained_for("upgrade"));
    assert!(matches!(told(&mut follower).await, ToEdge::Delta(_)));
    drain(&plane, "e1", "longer upgrade").await.unwrap();
    assert_eq!(told(&mut follower).await, drained_for("longer upgrade"));
    // The other edge hears of the revisions only.
    other.reach(plane.revision().await).await;
    drop(follower);

    for restart in [false, true] {
        if restart {
            plane.restart().await;
        }
        let mut follower = Follower::connect(plane.channel(&e1), Held::default()).await.unwrap();
        assert_eq!(told(&mut follower).await, drained_for("longer upgrade"), "restart: {restart}");
        assert!(matches!(told(&mut follower).await, ToEdge::SnapshotChunk(_)));
    }
    // A new certificate does not end what an operator has said.
    let e1 = plane.edge("e1").await;
    let mut follower = Follower::connect(plane.channel(&e1), Held::default()).await.unwrap();
    assert_eq!(told(&mut follower).await, drained_for("longer upgrade"));
    follower.advance().await.unwrap();

    let view = resume(&plane, "e1").await.unwrap();
    assert_eq!((view.draining_since, view.draining_reason.as_str()), (None, ""));
    assert_eq!(told(&mut follower).await, ToEdge::Resume(v1::Resume {}));
    let mut follower = Follower::connect(plane.channel(&e1), Held::default()).await.unwrap();
    follower.advance().await.expect("nothing but the state");
}

#[tokio::test]
async fn drains_are_recorded_once_and_need_an_edge_that_may_serve() {
    let plane = Plane::start().await;
    plane.edge("e1").await;
    let first = drain(&plane, "e1", "upgrade").await.unwrap();
    let revision = plane.revision().await;
    assert_eq!(drain(&plane, "e1", "upgrade").await.unwrap(), first, "it drains already");
    assert_eq!(plane.revision().await, revision);
    resume(&plane, "e1").await.unwrap();
    resume(&plane, "e1").await.unwrap();

    let mut audit = AuditClient::new(plane.admin_channel());
    let events = audit.list(v1::ListAuditRequest::default()).await.unwrap().into_inner().events;
    let events: Vec<(String, String)> = events
        .into_iter()
        .filter_map(|event| match event.event {
            Some(v1::audit_event::Event::Admin(event)) => Some((event.action, event.reason)),
            _ => None,
        })
        .filter(|(action, _)| action.starts_with("/nla.v1.Edges/") && !action.ends_with("Token"))
        .collect();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events.contains(&("/nla.v1.Edges/Drain".into(), "upgrade".into())), "{events:?}");
    assert!(events.contains(&("/nla.v1.Edges/Resume".into(), String::new())), "{events:?}");

    let kind = |answer: Result<v1::EdgeView, Status>| Failure::from_status(&answer.unwrap_err()).kind;
    assert_eq!(kind(drain(&plane, "e9", "").await), ErrorKind::NotFound);
    assert_eq!(kind(resume(&plane, "e9").await), ErrorKind::NotFound);
    assert_eq!(kind(drain(&plane, "e1", "two\nlines").await), ErrorKind::InvalidArgument);
    let request = v1::RevokeEdgeRequest { idempotency_key: once(), id: "e1".into(), reason: String::new() };
    EdgesClient::new(plane.admin_channel()).revoke(request).await.unwrap();
    assert_eq!(kind(drain(&plane, "e1", "").await), ErrorKind::FailedPrecondition);
}
