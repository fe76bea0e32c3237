//! An edge whose process is stopped: it cannot be told, and when it goes on it
//! finds heartbeats that it has not read.

use std::time::{Duration, Instant};

use nla_domain::clock::{SystemClock, Timestamp, WallClock as _};
use nla_proto::v1::Staleness;
use nla_sandbox::system::wait_for;
use serde_json::json;

use super::fleet::{Fleet, Reply, STANDARD, STRICT, query};

/// Requests that wait for the edge at the moment at which it goes on.
const WAITING: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_edge_is_named_with_a_time_and_keeps_it() {
    let mut fleet = Fleet::start(2).await;
    let (id, secret) = fleet.token(Staleness::Standard).await;
    let (_, other) = fleet.token(Staleness::Standard).await;
    fleet.edges[1].signal("STOP");
    let (code, answer, err) = fleet.nlactl(&["token", "revoke", &id, "--yes", "--wait", "0s"]);
    let receipt = &answer["receipt"];
    assert_eq!((code, &receipt["complete"]), (1, &json!(false)), "{answer:#} {err}");
    assert_eq!(receipt["edges"][1]["state"], "pending");
    let fenced_at = Timestamp::parse_rfc3339(receipt["edges"][1]["fenced_at"].as_str().unwrap()).unwrap();
    assert!(err.contains(&format!("edge-2 (until {fenced_at} at the latest)")), "{err}");
    let ahead = fenced_at.since(SystemClock.now());
    assert!(ahead < STANDARD + Duration::from_secs(3), "{ahead:?}");

    let revision = receipt["revision"].to_string();
    let (code, answer, err) = fleet.nlactl(&["receipt", "show", "--revision", &revision, "--wait", "30s"]);
    assert_eq!(code, 0, "{answer:#} {err}");
    let states: Vec<_> = answer["edges"].as_array().unwrap().iter().map(|edge| edge["state"].clone()).collect();
    assert_eq!(states, ["applied", "fenced"]);
    let late = SystemClock.now().since(fenced_at);
    assert!(SystemClock.now() >= fenced_at && late < Duration::from_secs(5), "{late:?}");

    // Requests that have waited for it are its first work.
    let waiting: Vec<_> = (0..WAITING)
        .map(|_| {
            let client = fleet.edges[1].client(&fleet.web, &secret);
            tokio::spawn(async move { query(&client).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    fleet.edges[1].signal("CONT");
    for reply in waiting {
        let reply = reply.await.unwrap();
        assert!(matches!(&reply, Reply::Refused(401 | 503, _)), "{reply:?}");
    }
    // It is back, with the revocation.
    let client = fleet.edges[1].client(&fleet.web, &other);
    wait_for("the edge's return", || async { query(&client).await == Reply::Done }).await.unwrap();
    let revoked = query(&fleet.edges[1].client(&fleet.web, &secret)).await;
    assert_eq!(revoked, Reply::Refused(401, "invalid_token".into()));
    let (code, answer, err) = fleet.nlactl(&["receipt", "show", "--revision", &revision, "--wait", "10s"]);
    assert_eq!((code, &answer["applied"]), (0, &json!(2)), "{answer:#} {err}");
    fleet.edges.iter_mut().for_each(|edge| edge.kill());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_that_were_not_read_in_time_refresh_nothing() {
    let mut fleet = Fleet::start(1).await;
    let (_, strict) = fleet.token(Staleness::Strict).await;
    let (_, standard) = fleet.token(Staleness::Standard).await;
    let client = fleet.edges[0].client(&fleet.web, &strict);
    wait_for("a fresh edge", || async { query(&client).await == Reply::Done }).await.unwrap();
    let stopped = Instant::now();
    fleet.edges[0].signal("STOP");
    // Some heartbeats lie in its socket; then nobody is there to send another.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    fleet.plane.kill();
    tokio::time::sleep((STRICT + Duration::from_millis(500)).saturating_sub(stopped.elapsed())).await;
    fleet.edges[0].signal("CONT");
    let refused = Reply::Refused(503, "stale".into());
    for _ in 0..20 {
        assert_eq!(query(&fleet.edges[0].client(&fleet.web, &strict)).await, refused, "{:?}", stopped.elapsed());
    }
    // The longer bound as well, by the same clock.
    let client = fleet.edges[0].client(&fleet.web, &standard);
    wait_for("staleness", || async { query(&client).await == refused }).await.unwrap();
    assert!(stopped.elapsed() < STANDARD + Duration::from_secs(3), "{:?}", stopped.elapsed());
    let answer = client.request("tools/list", json!({})).await.unwrap();
    assert_eq!(answer.status.as_u16(), 503);
    let url = format!("https://127.0.0.1:{}/readyz", fleet.edges[0].port);
    let ready = client.send(axum::http::Request::get(url).body(Default::default()).unwrap()).await.unwrap();
    assert_eq!((ready.status.as_u16(), &ready.body["reasons"][0]["reason"]), (503, &json!("stale")));
    wait_for("an age that is told", || async {
        let answer = client.request("tools/list", json!({})).await.unwrap();
        answer.headers.get("nla-state").is_some_and(|state| state.to_str().unwrap().starts_with("stale; age="))
    })
    .await
    .unwrap();

    fleet.plane.start();
    wait_for("the control plane's return", || async { query(&client).await == Reply::Done }).await.unwrap();
    let answer = client.request("tools/list", json!({})).await.unwrap();
    assert!(answer.headers.get("nla-state").is_none());
    fleet.edges[0].kill();
}
