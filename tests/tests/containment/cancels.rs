//! A thousand calls whose clients leave at some moment: nothing of them runs on,
//! and no connection of theirs serves another call in a state of theirs.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use nla_sandbox::{mcp::McpClient, system::wait_for};
use serde_json::json;
use tokio::task::JoinSet;

use super::bench::{Bench, ENDLESS, OURS, alone, ask, limits, rows};

const CALLS: u32 = 1_000;
/// More than the pool has, so that some leave while they wait for a connection.
const AT_ONCE: u32 = 8;
const POOL: i64 = 4;

/// Statements of every length, with answers and with errors.
const STATEMENTS: [&str; 8] = [
    ENDLESS,
    "SELECT 1",
    "SELECT generate_series(1, 1000000), repeat('x', 100)",
    "SELECT count(*) FROM shop.orders",
    "SELECT 1 / 0",
    "SELECT repeat('x', 50000000)",
    "SELECT * FROM shop.customers ORDER BY email",
    "SHOW timezone",
];

/// Numbers without a pattern that are the same in each run.
fn scattered(seed: u32) -> u32 {
    let mut x = seed.wrapping_mul(2_654_435_761) ^ 0x9E37_79B9;
    x ^= x >> 15;
    x = x.wrapping_mul(2_246_822_519);
    x ^ (x >> 13)
}

async fn leave_early(client: &McpClient, number: u32) {
    let sql = STATEMENTS[usize::try_from(scattered(number)).unwrap() % STATEMENTS.len()];
    // From before the statement is parsed to well after the short ones' answers.
    let patience = Duration::from_micros(u64::from(scattered(number ^ 0xFFFF) % 25_000));
    let call = json!({ "name": "query_database", "arguments": { "sql": sql } });
    // Both ends are wanted: answered in time, or left.
    let _ = tokio::time::timeout(patience, client.request("tools/call", call)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_leave_a_thousand_times() {
    let _turn = alone().await;
    let bench = Bench::start().await;
    // Only a cancel can end the endless ones in time.
    bench.database("patient", limits(Duration::from_secs(3_000))).await;
    let (id, client) = bench.token("patient").await;
    rows(&client, "SELECT 1").await;

    let next = Arc::new(AtomicU32::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, next) = (client.clone(), Arc::clone(&next));
        callers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::AcqRel);
                if number >= CALLS {
                    return;
                }
                leave_early(&client, number).await;
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    bench.until_running(0).await;
    wait_for("no more sessions than the pool has", || async { bench.sessions().await <= POOL }).await.unwrap();

    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE {OURS} AND (state <> 'idle' OR xact_start IS NOT NULL
            OR backend_xmin IS NOT NULL OR application_name <> 'nla/edge-1')"
    );
    assert_eq!(bench.count(&open).await, 0, "a session is not as at its start");
    let locks = format!(
        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE {OURS} OR locktype = 'advisory'"
    );
    assert_eq!(bench.count(&locks).await, 0, "a session holds a lock");

    // Each answer is the answer to what was asked, on a session as it should be.
    let mut pids = BTreeSet::new();
    let mut calls = JoinSet::new();
    for number in 0..300 {
        if calls.len() == usize::try_from(POOL).unwrap() {
            pids.insert(calls.join_next().await.unwrap().unwrap());
        }
        let client = client.clone();
        calls.spawn(async move { checked(&client, number).await });
    }
    while let Some(pid) = calls.join_next().await {
        pids.insert(pid.unwrap());
    }
    println!("{} sessions serve after {CALLS} cancelled calls", pids.len());
    assert!(pids.len() <= usize::try_from(POOL).unwrap(), "{pids:?}");

    // Calls that were admitted each have one event; others never reached it.
    let events = bench.events(&id).await;
    let ids: BTreeSet<&str> = events.iter().map(|event| event.request_id.as_str()).collect();
    assert_eq!(ids.len(), events.len());
    assert!(events.iter().any(|event| event.reason == "cancelled"));
}

/// A call whose answer tells the session's state; the process that served it.
async fn checked(client: &McpClient, number: i64) -> i64 {
    let sql = format!(
        "SELECT {number} AS n, pg_backend_pid() AS pid, current_setting('transaction_read_only') AS ro,
            current_setting('timezone') AS tz, current_setting('search_path') AS path,
            txid_current_if_assigned() IS NULL AS wrote_nothing, count(*) AS orders FROM shop.orders"
    );
    let answer = ask(client, &sql).await;
    let content = &answer.body["result"]["structuredContent"];
    let row = &content["rows"][0];
    assert_eq!(content["row_count"], json!(1), "{}", answer.body);
    assert_eq!(
        (&row[0], &row[2], &row[3], &row[5], &row[6]),
        (&json!(number), &json!("on"), &json!("UTC"), &json!(true), &json!(15_000)),
        "{row}"
    );
    assert!(row[4].as_str().unwrap().starts_with("pg_catalog, "), "{row}");
    row[1].as_i64().unwrap()
}
