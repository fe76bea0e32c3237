//! What edges are told: everything first, then steps, resumption, revocation
//! within its bound, bans, restarts.

use std::time::Duration;

use nla_proto::v1::{
    self, audit_client::AuditClient, control_message::Message as ToEdge, databases_client::DatabasesClient,
    edge_message::Message as FromEdge, edges_client::EdgesClient, tokens_client::TokensClient,
};
use tonic::Code;

use crate::plane::{DEADLINE, Follower, Held, Plane, Told, database, key_and_csr, once};

#[tokio::test]
async fn everything_first_then_steps_then_resumption() {
    let plane = Plane::start().await;
    plane.shop().await;
    let edge = plane.edge("e1").await;
    let mut follower = Follower::connect(plane.channel(&edge), Held::default()).await.unwrap();
    assert_eq!(follower.advance().await.unwrap(), Told::Everything);
    follower.reach(plane.revision().await).await;
    assert_eq!(follower.held.ids(), ["Settings/", "Database/shop", "Credential/shop", "Role/reader"]);

    let token = plane.token().await.token.unwrap();
    assert_eq!(follower.advance().await.unwrap(), Told::Step { upserts: 1, removals: 0 });
    assert_eq!(follower.held.ids().last().unwrap(), &format!("Token/{}", token.id));
    let held = follower.held.clone();
    drop(follower);

    // Nothing has happened since: a step from where it is to where it is.
    let mut follower = Follower::connect(plane.channel(&edge), held.clone()).await.unwrap();
    assert_eq!(follower.advance().await.unwrap(), Told::Step { upserts: 0, removals: 0 });
    drop(follower);

    // Two changes while it was away come as one step.
    plane.token().await;
    plane.token().await;
    plane.published().await;
    let mut follower = Follower::connect(plane.channel(&edge), held.clone()).await.unwrap();
    assert_eq!(follower.advance().await.unwrap(), Told::Step { upserts: 2, removals: 0 });
    drop(follower);

    // Who holds something else than it should, or of another life, gets everything.
    let mut wrong_digest = held.clone();
    wrong_digest.digest[0] ^= 1;
    let mut other_epoch = held.clone();
    other_epoch.epoch[0] ^= 1;
    let from_the_future = Held { revision: 1_000_000, ..held };
    for held in [wrong_digest, other_epoch, from_the_future] {
        let mut follower = Follower::connect(plane.channel(&edge), held).await.unwrap();
        assert_eq!(follower.advance().await.unwrap(), Told::Everything);
    }
}

#[tokio::test]
async fn a_wrong_digest_in_an_acknowledgement_brings_everything_again() {
    let plane = Plane::start().await;
    let edge = plane.edge("e1").await;
    let mut follower = Follower::connect(plane.channel(&edge), Held::default()).await.unwrap();
    follower.reach(plane.revision().await).await;
    let revision = follower.held.revision;
    for _ in 0..3 {
        follower.send(FromEdge::Ack(v1::Ack { revision, digest: vec![0; 32], calls_cut: 0 })).await;
        assert_eq!(follower.advance().await.unwrap(), Told::Everything);
    }
    follower.send(FromEdge::Ack(v1::Ack { revision, digest: vec![0; 32], calls_cut: 0 })).await;
    assert_eq!(follower.advance().await.unwrap_err().code(), Code::InvalidArgument, "not for ever");
}

#[tokio::test]
async fn protocol_errors_end_the_stream_with_a_reason() {
    let plane = Plane::start().await;
    let edge = plane.edge("e1").await;
    let connect = || Follower::connect(plane.channel(&edge), Held::default());
    let mut follower = connect().await.unwrap();
    follower.advance().await.unwrap();
    follower.send(FromEdge::Ack(v1::Ack { revision: 1_000, digest: vec![], calls_cut: 0 })).await;
    assert_eq!(follower.advance().await.unwrap_err().code(), Code::InvalidArgument);
    let mut follower = connect().await.unwrap();
    follower.send(FromEdge::Hello(v1::Hello::default())).await;
    let error = loop {
        if let Err(error) = follower.advance().await {
            break error;
        }
    };
    assert!(error.message().contains("Hello"), "{error}");
}

#[tokio::test]
async fn a_banned_edge_is_told_and_does_not_come_back() {
    let plane = Plane::start().await;
    let edge = plane.edge("e1").await;
    let channel = plane.channel(&edge);
    let mut follower = Follower::connect(channel.clone(), Held::default()).await.unwrap();
    follower.advance().await.unwrap();
    let mut edges = EdgesClient::new(plane.admin_channel());
    let request = v1::RevokeEdgeRequest { idempotency_key: once(), id: "e1".to_owned(), reason: "stolen".to_owned() };
    edges.revoke(request).await.unwrap();
    loop {
        match follower.next().await.unwrap() {
            Some(ToEdge::Revoked(_)) => break,
            Some(ToEdge::Heartbeat(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(follower.next().await.unwrap(), None, "the stream ends");
    let mut again = Follower::connect(channel.clone(), Held::default()).await.unwrap();
    assert!(matches!(again.next().await, Ok(Some(ToEdge::Revoked(_)))), "an edge that was away learns it too");
    assert_eq!(again.next().await.unwrap(), None);
    let mut enrolment = v1::enrolment_client::EnrolmentClient::new(channel);
    let error = enrolment.renew(v1::RenewRequest { csr_pem: key_and_csr().1 }).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    let request =
        v1::CreateJoinTokenRequest { idempotency_key: once(), edge_id: "e1".to_owned(), ..Default::default() };
    let error = edges.create_join_token(request).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "the name stays banned");
}

#[tokio::test]
async fn a_restart_keeps_the_epoch_and_edges_resume() {
    let mut plane = Plane::start().await;
    plane.shop().await;
    let token = plane.token().await.token.unwrap();
    let edge = plane.edge("e1").await;
    let mut follower = Follower::connect(plane.channel(&edge), Held::default()).await.unwrap();
    follower.reach(plane.revision().await).await;
    let before = follower.held.clone();
    plane.stop().await;
    let end = loop {
        match follower.next().await {
            Ok(Some(ToEdge::Heartbeat(_))) => {}
            Ok(other) => panic!("{other:?}"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unavailable, "streams end at once, with a reason: {end}");

    plane.start_again().await;
    let mut follower = Follower::connect(plane.channel(&edge), before.clone()).await.unwrap();
    assert_eq!(follower.advance().await.unwrap(), Told::Step { upserts: 0, removals: 0 });
    assert_eq!(follower.held, before, "same epoch, same revision, same digest");

    // A change that an edge missed before the restart comes as a step after it.
    let mut tokens = TokensClient::new(plane.admin_channel());
    let request = v1::RevokeTokenRequest { idempotency_key: once(), ids: vec![token.id], ..Default::default() };
    drop(follower);
    tokens.revoke(request).await.unwrap();
    plane.restart().await;
    let mut follower = Follower::connect(plane.channel(&edge), before).await.unwrap();
    assert_eq!(follower.advance().await.unwrap(), Told::Step { upserts: 1, removals: 1 });
}

#[tokio::test]
async fn expired_tokens_leave_by_a_step_and_digests_agree() {
    let plane = Plane::start().await;
    plane.shop().await;
    let mut tokens = TokensClient::new(plane.admin_channel());
    let mut request = crate::plane::token_request();
    request.lifetime = Some(prost_types::Duration { seconds: 10, nanos: 0 });
    let short = tokens.create(request).await.unwrap().into_inner().token.unwrap();
    let edge = plane.edge("e1").await;
    let mut follower = Follower::connect(plane.channel(&edge), Held::default()).await.unwrap();
    follower.reach(plane.revision().await).await;
    assert!(follower.held.ids().contains(&format!("Token/{}", short.id)));
    let held = follower.held.clone();
    // Certificates that are issued from now on must hold in real time, too,
    // which has not moved: their allowance for skew is a minute.
    plane.clock.advance(Duration::from_secs(11));
    plane.token().await;
    assert_eq!(follower.advance().await.unwrap(), Told::Step { upserts: 1, removals: 1 });
    assert!(!follower.held.ids().contains(&format!("Token/{}", short.id)));
    plane.token().await;
    assert_eq!(follower.advance().await.unwrap(), Told::Step { upserts: 1, removals: 0 });
    plane.published().await;
    let mut follower = Follower::connect(plane.channel(&edge), held).await.unwrap();
    assert_eq!(follower.advance().await.unwrap(), Told::Step { upserts: 2, removals: 1 });
}

#[tokio::test]
async fn a_second_connection_of_an_edge_replaces_the_first() {
    let plane = Plane::start().await;
    let edge = plane.edge("e1").await;
    let mut first = Follower::connect(plane.channel(&edge), Held::default()).await.unwrap();
    first.advance().await.unwrap();
    let mut second = Follower::connect(plane.channel(&edge), Held::default()).await.unwrap();
    second.advance().await.unwrap();
    assert_eq!(first.advance().await.unwrap_err().code(), Code::AlreadyExists);
    let mut edges = EdgesClient::new(plane.admin_channel());
    let listed = edges.list(v1::ListEdgesRequest {}).await.unwrap().into_inner().edges;
    assert_eq!((listed.len(), listed[0].connected), (1, true));
}

#[tokio::test]
async fn what_an_edge_says_of_itself_is_listed() {
    let plane = Plane::start().await;
    plane.shop().await;
    let edge = plane.edge("e1").await;
    let mut follower = Follower::connect(plane.channel(&edge), Held::default()).await.unwrap();
    follower.reach(plane.revision().await).await;
    let end = prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 };
    let usage = v1::Usage {
        calls_total: 7,
        calls_running: 1,
        audit_queue_length: 2,
        web_certificate_expires_at: Some(end),
        ..Default::default()
    };
    let nack =
        v1::Nack { revision: 1, kind: v1::ItemKind::Role.into(), id: "reader".to_owned(), reason: "no".to_owned() };
    follower.send(FromEdge::Nack(nack.clone())).await;
    follower.send(FromEdge::Usage(usage.clone())).await;
    let mut edges = EdgesClient::new(plane.admin_channel());
    let listed = tokio::time::timeout(DEADLINE, async {
        loop {
            let edge = edges.list(v1::ListEdgesRequest {}).await.unwrap().into_inner().edges.remove(0);
            if edge.usage.is_some() {
                break edge;
            }
        }
    });
    let listed = listed.await.unwrap();
    assert_eq!(listed.usage, Some(usage));
    assert_eq!(listed.refused_items, [nack]);
    assert_eq!(listed.acknowledged_revision, follower.held.revision);
    assert_eq!((listed.version.as_str(), listed.mcp_url.as_str()), ("1", "https://edge"));
}

#[tokio::test]
async fn databases_are_tested_by_the_connected_edges() {
    let plane = Plane::start().await;
    plane.shop().await;
    let edge = plane.edge("e1").await;
    let mut follower = Follower::connect(plane.channel(&edge), Held::default()).await.unwrap();
    follower.reach(plane.revision().await).await;
    let mut databases = DatabasesClient::new(plane.admin_channel());
    let asked = tokio::spawn(async move {
        let request = v1::TestDatabaseRequest { name: "shop".to_owned(), edge_id: String::new() };
        databases.test(request).await.unwrap().into_inner()
    });
    loop {
        match follower.next().await.unwrap().unwrap() {
            ToEdge::ProbeRequest(request) => {
                assert_eq!(request.database, "shop");
                let result = v1::ProbeResult { probe_id: request.probe_id, ok: true, ..Default::default() };
                follower.send(FromEdge::ProbeResult(result)).await;
                break;
            }
            ToEdge::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let answer = asked.await.unwrap();
    assert_eq!(answer.edges.len(), 1);
    assert!(answer.edges[0].result.as_ref().unwrap().ok);
    let newest = v1::ListAuditRequest { page_size: 1, ..Default::default() };
    let events = AuditClient::new(plane.admin_channel()).list(newest).await.unwrap().into_inner().events;
    let Some(v1::audit_event::Event::Admin(event)) = &events[0].event else { panic!("{events:?}") };
    assert_eq!((event.action.as_str(), event.object.as_str()), ("/nla.v1.Databases/Test", "database/shop"));
    assert_eq!(event.reason, "1 of 1 edges reached it");
    let mut databases = DatabasesClient::new(plane.admin_channel());
    let request = v1::TestDatabaseRequest { name: "shop".to_owned(), edge_id: "e9".to_owned() };
    assert_eq!(databases.test(request).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn an_edge_that_reads_nothing_delays_nobody() {
    let plane = Plane::start().await;
    let (e1, e2) = (plane.edge("e1").await, plane.edge("e2").await);
    // It never reads its stream.
    let _stuck = Follower::connect(plane.channel(&e1), Held::default()).await.unwrap();
    let mut follower = Follower::connect(plane.channel(&e2), Held::default()).await.unwrap();
    follower.advance().await.unwrap();
    let mut databases = DatabasesClient::new(plane.admin_channel());
    let mut last = 0;
    for n in 0..50 {
        let mut database = database(&format!("d{n}"));
        database.description = "x".repeat(500);
        let made = databases.create(v1::CreateDatabaseRequest { idempotency_key: once(), database: Some(database) });
        last = made.await.unwrap().into_inner().meta.unwrap().revision;
    }
    follower.reach(last).await;
    assert_eq!(follower.held.ids().iter().filter(|id| id.starts_with("Database/")).count(), 50);
}
