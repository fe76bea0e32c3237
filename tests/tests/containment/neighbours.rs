//! One token's slow calls do not delay another's.

use std::time::{Duration, Instant};

use nla_proto::v1;
use nla_sandbox::{mcp::McpClient, sample, system::wait_for};
use serde_json::json;
use tokio::task::JoinSet;

use super::bench::{Bench, ENDLESS, OURS, alone, ask, error, rows};

const POINT: &str = "SELECT name FROM shop.tenants WHERE id = 1";
const POINTS: usize = 41;
/// Waiting ones cost no CPU; the burners have to share two cores with the rest.
const WAITING: usize = 8;
const BURNING: usize = 2;

async fn median(client: &McpClient) -> Duration {
    let mut took = Vec::with_capacity(POINTS);
    for _ in 0..POINTS {
        let began = Instant::now();
        assert_eq!(rows(client, POINT).await.as_array().unwrap().len(), 1);
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took[POINTS / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_slow_calls_of_one_token() {
    let _turn = alone().await;
    let bench = Bench::start().await;
    let limits = v1::DatabaseLimits { pool_size: 10, ..super::bench::limits(Duration::from_secs(20)) };
    bench.database("roomy", limits).await;
    let (_, slow) = bench.token("roomy").await;
    let (_, quick) = bench.token("roomy").await;
    median(&quick).await;
    let without = median(&quick).await;

    // A lock that readers wait for, up to the edge's own limit for that.
    let locker = bench.sandbox.sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
    locker.batch_execute("BEGIN; LOCK TABLE shop.products IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut calls = JoinSet::new();
    for at in 0..WAITING + BURNING {
        let client = slow.clone();
        let sql = if at < WAITING { "SELECT count(*) FROM shop.products" } else { ENDLESS };
        calls.spawn(async move { ask(&client, sql).await });
    }
    let waiting = format!("SELECT count(*) FROM pg_stat_activity WHERE {OURS} AND wait_event_type = 'Lock'");
    wait_for("calls that wait for the lock", || async {
        bench.count(&waiting).await == i64::try_from(WAITING).unwrap()
    })
    .await
    .unwrap();
    let with = median(&quick).await;
    println!("a point query: {without:?} alone, {with:?} beside {WAITING} that wait and {BURNING} that compute");
    // Four processes compute on two cores now: each gets half the speed.
    assert!(with < without * 4 + Duration::from_millis(20), "{without:?} became {with:?}");

    // Whoever still waits gets its answer when the lock goes; what was given up is told why.
    locker.batch_execute("ROLLBACK").await.unwrap();
    while calls.len() > BURNING {
        let answer = calls.join_next().await.unwrap().unwrap();
        let result = &answer.body["result"];
        let given_up = error(result)["sqlstate"] == json!("55P03");
        assert!(given_up || result["structuredContent"]["rows"] == json!([[800]]), "{result}");
    }
    calls.abort_all();
    bench.until_running(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_fills_its_pool_fills_no_other() {
    let _turn = alone().await;
    let bench = Bench::start().await;
    bench.database("patient", super::bench::limits(Duration::from_secs(3_000))).await;
    let (_, greedy) = bench.token("patient").await;
    let (_, other) = bench.token("patient").await;
    rows(&other, POINT).await;
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let client = greedy.clone();
        calls.spawn(async move { ask(&client, ENDLESS).await });
    }
    bench.until_running(4).await;
    for _ in 0..10 {
        rows(&other, POINT).await;
    }
    // Six got no connection and were told so.
    let mut busy = 0;
    while calls.len() > 4 {
        let answer = calls.join_next().await.unwrap().unwrap();
        assert_eq!(error(&answer.body["result"])["code"], "overloaded", "{}", answer.body);
        busy += 1;
    }
    assert_eq!((busy, bench.running().await), (6, 4));
    calls.abort_all();
    bench.until_running(0).await;
    rows(&greedy, POINT).await;
}
