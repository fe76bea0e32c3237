//! What the control plane knows of a revision on each edge: applied, fenced by
//! the edge's own clock, or neither; and which tokens one revocation ends.

use std::time::Duration;

use nla_domain::{clock::WallClock as _, snapshot::MAX_STALENESS};
use nla_proto::{
    convert::{from_duration, from_timestamp},
    v1::{
        self, control_message::Message as ToEdge, edge_message::Message as FromEdge, edge_receipt::State,
        edges_client::EdgesClient, receipts_client::ReceiptsClient, tokens_client::TokensClient,
    },
};
use tokio::time::Instant;
use tonic::Code;

use crate::plane::{DEADLINE, Follower, Held, Plane, Told, once, token_request};

/// The bound of standard tokens here; strict ones have a second.
const BOUND: Duration = Duration::from_secs(2);
/// What the control plane adds for the edge's clock and for cutting.
const MARGIN: Duration = Duration::from_millis(2_002);

/// With bounds that a test can wait for.
async fn plane() -> Plane {
    let mut plane = Plane::start().await;
    plane.config.staleness.strict = Duration::from_secs(1);
    plane.config.staleness.standard = BOUND;
    plane.restart().await;
    // Edges that are enrolled from now on have never held other bounds.
    plane.clock.advance(Duration::from_millis(1));
    plane
}

async fn asked(follower: &Follower, stamp: u64) {
    follower.send(FromEdge::Usage(v1::Usage { stamp, ..Default::default() })).await;
}

/// The next heartbeat with an echo.
async fn echo(follower: &mut Follower) -> v1::Heartbeat {
    loop {
        match follower.next().await.unwrap().unwrap() {
            ToEdge::Heartbeat(beat) if beat.echo != 0 => return beat,
            _ => {}
        }
    }
}

async fn revoke(plane: &Plane, id: &str, wait: Duration) -> v1::RevokeTokenResponse {
    let request = v1::RevokeTokenRequest {
        idempotency_key: once(),
        ids: vec![id.to_owned()],
        reason: "leaked".to_owned(),
        wait: Some(nla_proto::convert::duration(wait)),
        filter: None,
    };
    TokensClient::new(plane.admin_channel()).revoke(request).await.unwrap().into_inner()
}

async fn receipt(plane: &Plane, revision: u64, wait: Duration) -> v1::Receipt {
    let wait = Some(nla_proto::convert::duration(wait));
    let request = v1::GetReceiptRequest { revision, staleness: 0, wait };
    ReceiptsClient::new(plane.admin_channel()).get(request).await.unwrap().into_inner()
}

fn states(receipt: &v1::Receipt) -> Vec<(&str, State)> {
    receipt.edges.iter().map(|edge| (edge.edge_id.as_str(), edge.state())).collect()
}

#[tokio::test]
async fn a_stamp_is_echoed_at_once_and_then_each_second() {
    let plane = plane().await;
    let edge = plane.edge("e1").await;
    let mut follower = Follower::connect(plane.channel(&edge), Held::default()).await.unwrap();
    asked(&follower, 42).await;
    assert_eq!(follower.advance().await.unwrap(), Told::Everything);
    let began = Instant::now();
    let beat = echo(&mut follower).await;
    assert_eq!((beat.echo, beat.revision), (42, follower.held.revision));
    assert!(began.elapsed() < Duration::from_millis(900), "it waited for a tick");
    asked(&follower, 50).await;
    asked(&follower, 51).await;
    let beat = loop {
        let beat = echo(&mut follower).await;
        if beat.echo != 42 {
            break beat;
        }
    };
    assert_eq!(beat.echo, 51, "the newest that came");
}

#[tokio::test]
async fn an_edge_has_applied_a_revocation_or_is_fenced_or_neither() {
    let plane = plane().await;
    plane.shop().await;
    let (e1, e2, _e3) = (plane.edge("e1").await, plane.edge("e2").await, plane.edge("e3").await);
    let token = plane.token().await.token.unwrap();
    let mut follower = Follower::connect(plane.channel(&e1), Held::default()).await.unwrap();
    follower.reach(plane.revision().await).await;
    // The second edge is confirmed once, and then reads nothing more; the third never came.
    let mut silent = Follower::connect(plane.channel(&e2), Held::default()).await.unwrap();
    asked(&silent, 7).await;
    silent.reach(plane.revision().await).await;
    echo(&mut silent).await;
    let confirmed = Instant::now();
    let following = tokio::spawn(async move {
        let told = follower.advance().await.unwrap();
        (follower, told)
    });
    let answer = revoke(&plane, &token.id, Duration::from_millis(300)).await;
    assert_eq!(answer.tokens[0].revoked_by, "operator/admin");
    let receipt_now = answer.receipt.unwrap();
    assert_eq!(states(&receipt_now), [("e1", State::Applied), ("e2", State::Pending), ("e3", State::Fenced)]);
    assert!(!receipt_now.complete);
    let after = from_duration("after", receipt_now.edges[0].after.as_ref().unwrap()).unwrap();
    assert!(after < Duration::from_millis(500), "{after:?}");
    assert!(receipt_now.edges[0].fenced_at.is_none() && receipt_now.edges[2].fenced_at.is_none());
    assert!(receipt_now.edges[1].connected && !receipt_now.edges[2].connected);
    let (follower, told) = following.await.unwrap();
    assert_eq!(told, Told::Step { upserts: 1, removals: 1 });
    assert_eq!(follower.held.ids().last().unwrap(), &format!("Tombstone/{}", token.id));

    // Asked for later, and waited for: not before the bound, and soon after.
    let whole = receipt(&plane, answer.revision, Duration::from_secs(10)).await;
    let waited = confirmed.elapsed();
    assert!(waited >= BOUND && waited < BOUND + MARGIN + Duration::from_secs(3), "{waited:?}");
    assert!(whole.complete);
    assert_eq!(states(&whole), [("e1", State::Applied), ("e2", State::Fenced), ("e3", State::Fenced)]);
    // It comes back and catches up.
    silent.reach(answer.revision).await;
    let deadline = Instant::now() + DEADLINE;
    while states(&receipt(&plane, answer.revision, Duration::ZERO).await)[1].1 != State::Applied {
        assert!(Instant::now() < deadline);
    }
}

#[tokio::test]
async fn an_edge_that_went_is_fenced_by_its_last_echo_and_one_of_before_by_the_longest_bound() {
    let mut plane = plane().await;
    plane.shop().await;
    let e1 = plane.edge("e1").await;
    let token = plane.token().await.token.unwrap();
    let mut follower = Follower::connect(plane.channel(&e1), Held::default()).await.unwrap();
    asked(&follower, 7).await;
    follower.reach(plane.revision().await).await;
    echo(&mut follower).await;
    drop(follower);
    let mut edges = EdgesClient::new(plane.admin_channel());
    let deadline = Instant::now() + DEADLINE;
    let view = loop {
        let view = edges.list(v1::ListEdgesRequest {}).await.unwrap().into_inner().edges.remove(0);
        if !view.connected {
            break view;
        }
        assert!(Instant::now() < deadline);
    };
    let (heard, fenced) = (view.last_heard_at.unwrap(), view.fenced_at.unwrap());
    let heard = from_timestamp("heard", &heard).unwrap();
    let apart = from_timestamp("fenced", &fenced).unwrap().since(heard);
    assert!(apart > BOUND && apart < BOUND + MARGIN + Duration::from_secs(2), "{apart:?}");

    let answer = revoke(&plane, &token.id, Duration::ZERO).await;
    let told = answer.receipt.unwrap();
    assert_eq!(states(&told), [("e1", State::Pending)]);
    assert!(!told.edges[0].connected);

    // Another process knows neither when the edge was last confirmed nor by
    // which bounds: these have been others before.
    plane.restart().await;
    let told = receipt(&plane, answer.revision, Duration::ZERO).await;
    assert_eq!(states(&told), [("e1", State::Pending)]);
    let fenced = from_timestamp("fenced", told.edges[0].fenced_at.as_ref().unwrap()).unwrap();
    let ahead = fenced.since(plane.clock.now());
    assert!(ahead > MAX_STALENESS - Duration::from_secs(60), "{ahead:?}");
    // Until it comes.
    let mut follower = Follower::connect(plane.channel(&e1), Held::default()).await.unwrap();
    follower.reach(answer.revision).await;
    let whole = receipt(&plane, answer.revision, Duration::from_secs(10)).await;
    assert_eq!((states(&whole), whole.complete), (vec![("e1", State::Applied)], true));
}

#[tokio::test]
async fn what_one_process_of_an_edge_says_does_not_stand_for_another_and_a_refusal_is_no_application() {
    let plane = plane().await;
    plane.shop().await;
    let e1 = plane.edge("e1").await;
    let token = plane.token().await.token.unwrap();
    let mut first = Follower::connect(plane.channel(&e1), Held::default()).await.unwrap();
    asked(&first, 7).await;
    first.reach(plane.revision().await).await;
    echo(&mut first).await;
    // A second process of the same name takes its place, and it alone hears of the revocation.
    let mut second = Follower::connect_as(plane.channel(&e1), Held::default(), "another").await.unwrap();
    second.reach(plane.revision().await).await;
    let following = tokio::spawn(async move {
        second.advance().await.unwrap();
        second
    });
    let answer = revoke(&plane, &token.id, Duration::from_millis(300)).await;
    assert_eq!(states(&answer.receipt.unwrap()), [("e1", State::Pending)], "the first one may still answer calls");
    let second = following.await.unwrap();
    let whole = receipt(&plane, answer.revision, Duration::from_secs(10)).await;
    assert_eq!((states(&whole), whole.complete), (vec![("e1", State::Applied)], true));
    let nack = v1::Nack { revision: answer.revision, kind: 4, id: "r".to_owned(), reason: "no".to_owned() };
    second.send(FromEdge::Nack(nack)).await;
    let deadline = Instant::now() + DEADLINE;
    while states(&receipt(&plane, answer.revision, Duration::ZERO).await)[0].1 != State::Pending {
        assert!(Instant::now() < deadline);
    }
}

#[tokio::test]
async fn a_banned_edge_is_named_for_as_long_as_it_may_answer() {
    let plane = plane().await;
    plane.shop().await;
    let e1 = plane.edge("e1").await;
    let token = plane.token().await.token.unwrap();
    let mut follower = Follower::connect(plane.channel(&e1), Held::default()).await.unwrap();
    asked(&follower, 7).await;
    follower.reach(plane.revision().await).await;
    echo(&mut follower).await;
    let request = v1::RevokeEdgeRequest { idempotency_key: once(), id: "e1".to_owned(), reason: "stolen".to_owned() };
    EdgesClient::new(plane.admin_channel()).revoke(request).await.unwrap();
    let answer = revoke(&plane, &token.id, Duration::ZERO).await;
    let told = answer.receipt.unwrap();
    assert_eq!((states(&told), told.edges[0].revoked), (vec![("e1", State::Pending)], true));
    let whole = receipt(&plane, answer.revision, Duration::from_secs(10)).await;
    assert!(whole.complete && whole.edges.is_empty(), "{whole:?}");
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_ended() {
    let plane = plane().await;
    let edge = plane.edge("e1").await;
    let mut follower = Follower::connect(plane.channel(&edge), Held::default()).await.unwrap();
    follower.advance().await.unwrap();
    let began = Instant::now();
    // Heartbeats are read, so that the connection itself is fine.
    while let Ok(Some(_)) = follower.next().await {}
    let ended = began.elapsed();
    assert!(ended > Duration::from_secs(7) && ended < Duration::from_secs(12), "{ended:?}");
}

#[tokio::test]
async fn tokens_end_together_by_id_or_by_what_they_have_in_common() {
    let plane = plane().await;
    plane.shop().await;
    let mut tokens = TokensClient::new(plane.admin_channel());
    let mut made = Vec::new();
    for owner in ["ana", "ana", "ben", "cleo"] {
        let request = v1::CreateTokenRequest { owner: owner.to_owned(), ..token_request() };
        made.push(tokens.create(request).await.unwrap().into_inner().token.unwrap().id);
    }
    let of = |owner: &str| v1::TokenFilter { owner: owner.to_owned(), ..Default::default() };
    let mut lists = TokensClient::new(plane.admin_channel());
    let mut matching = async |filter| -> Vec<String> {
        let request = v1::ListTokensRequest { filter: Some(filter), include_ended: false };
        lists.list(request).await.unwrap().into_inner().tokens.into_iter().map(|token| token.owner).collect()
    };
    assert_eq!(matching(of("ana")).await, ["ana", "ana"]);
    assert_eq!(matching(v1::TokenFilter { role: "reader".to_owned(), ..of("ben") }).await, ["ben"]);
    assert_eq!(matching(v1::TokenFilter { database: "shop".to_owned(), ..Default::default() }).await.len(), 4);
    assert!(matching(v1::TokenFilter { database: "crm".to_owned(), ..Default::default() }).await.is_empty());
    let soon = prost_types::Timestamp { seconds: 1, nanos: 0 };
    assert!(matching(v1::TokenFilter { expires_before: Some(soon), ..of("ana") }).await.is_empty());

    let request = |ids: &[&String], filter| v1::RevokeTokenRequest {
        idempotency_key: once(),
        ids: ids.iter().map(|id| (*id).clone()).collect(),
        filter,
        ..Default::default()
    };
    let absurd = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
    let labels = [("Env".to_owned(), "prod".to_owned())].into();
    let refused = [
        (request(&[], None), "ids"),
        (request(&[], Some(v1::TokenFilter::default())), "filter"),
        (request(&[&made[0]], Some(of("ana"))), "filter"),
        (request(&[], Some(v1::TokenFilter { unused_since: absurd, ..of("ana") })), "unused_since"),
        (request(&[], Some(v1::TokenFilter { labels, ..of("ana") })), "labels"),
        (request(&vec![&made[0]; 1_001], None), "ids"),
    ];
    for (request, field) in refused {
        let status = tokens.revoke(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(nla_proto::failure::Failure::from_status(&status).field.as_deref(), Some(field));
    }
    let missing = "zzzzzzzzzzzz".to_owned();
    let status = tokens.revoke(request(&[&made[2], &missing], None)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "all or none");
    assert_eq!(matching(of("ben")).await, ["ben"]);

    let ended = tokens.revoke(request(&[], Some(of("ana")))).await.unwrap().into_inner();
    let revisions: Vec<u64> = ended.tokens.iter().map(|token| token.meta.as_ref().unwrap().revision).collect();
    assert_eq!(revisions, [ended.revision, ended.revision], "in one change");
    assert!(ended.tokens.iter().all(|token| token.revoked_at.is_some()) && ended.receipt.unwrap().complete);
    let more = tokens.revoke(request(&[&made[0], &made[2], &made[3]], None)).await.unwrap().into_inner();
    assert_eq!(more.tokens.len(), 3);
    let none = tokens.revoke(request(&[], Some(of("ana")))).await.unwrap().into_inner();
    assert_eq!((none.tokens.len(), none.revision), (0, 0));
}

#[tokio::test]
async fn there_is_no_receipt_of_what_was_not_committed() {
    let plane = plane().await;
    for revision in [0, plane.revision().await + 1] {
        let request = v1::GetReceiptRequest { revision, ..Default::default() };
        let status = ReceiptsClient::new(plane.admin_channel()).get(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}
