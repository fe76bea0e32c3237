//! Answers are cut where they should be, and memory stays flat.

use std::time::{Duration, Instant};

use nla_domain::{database::DatabaseLimits, token::TokenLimits};
use nla_edge::mcp::handler::Handler;
use serde_json::json;

use super::bench::{Bench, structured, text};

fn limits() -> DatabaseLimits {
    DatabaseLimits { max_rows: 100, max_bytes: 64 << 10, statement_timeout: Duration::from_secs(20), pool_size: 2 }
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_cut_and_say_so() {
    let bench = Bench::start(limits()).await;
    let all = bench.query("SELECT generate_series(1, 100)").await;
    assert_eq!((&all["row_count"], &all["truncated"]), (&json!(100), &json!(false)));

    // The server stops too: all rows of this would take minutes.
    let began = Instant::now();
    let series = bench.query("SELECT generate_series(1, 1000000000::bigint)").await;
    assert_eq!((&series["row_count"], &series["truncated_by"]), (&json!(100), &json!("rows")));
    let rows = bench.query("SELECT a.relname FROM pg_class a, pg_class b, pg_class c, pg_class d").await;
    assert_eq!((&rows["row_count"], &rows["truncated_by"]), (&json!(100), &json!("rows")));
    assert!(began.elapsed() < Duration::from_secs(10));

    let fewer = bench.call("query_database", json!({"sql": "SELECT generate_series(1, 50)", "max_rows": 3})).await;
    assert_eq!(structured(&fewer)["row_count"], 3);
    assert!(
        text(&fewer).starts_with("generate_series\n1\n2\n3\n-- 3 rows; cut at the limit of 3 rows"),
        "{}",
        text(&fewer)
    );

    let bytes = bench.query("SELECT repeat('x', 10000) FROM generate_series(1, 50)").await;
    assert_eq!((&bytes["row_count"], &bytes["truncated_by"]), (&json!(6), &json!("bytes")));
    bench.until_running(0).await;

    let before = peak_kib();
    let huge = bench.query("SELECT repeat('x', 300000000)").await;
    assert_eq!((&huge["row_count"], &huge["truncated_by"]), (&json!(0), &json!("bytes")));
    // The value has 293 MiB; what the other tests of this process take at the
    // same time is in the figure too.
    assert!(peak_kib().saturating_sub(before) < 150 << 10, "{before} KiB, then {} KiB", peak_kib());
    assert_eq!(bench.query("SELECT 1").await["rows"], json!([[1]]));
    bench.until_running(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_and_concurrency_are_limited_by_token() {
    let bench = Bench::start(limits()).await;
    let slow = TokenLimits { calls_per_second: 1, burst: 2, concurrent_calls: 8 };
    bench.publish(2, bench.database(limits()), bench.credential("reader secret", 1), Some(slow));
    let first = bench.handler.admit(&bench.parts()).await.unwrap();
    let second = bench.handler.admit(&bench.parts()).await.unwrap();
    let third = bench.handler.admit(&bench.parts()).await.unwrap_err();
    assert_eq!(third.status, 429);
    assert_eq!(third.headers["retry-after"], "1");
    assert!(third.error.message.contains("wait 1 s"), "{}", third.error.message);
    drop((first, second));

    let few = TokenLimits { calls_per_second: 100, burst: 100, concurrent_calls: 1 };
    bench.publish(3, bench.database(limits()), bench.credential("reader secret", 1), Some(few));
    let only = bench.handler.admit(&bench.parts()).await.unwrap();
    assert_eq!(bench.handler.admit(&bench.parts()).await.unwrap_err().status, 429);
    drop(only);
    assert!(bench.handler.admit(&bench.parts()).await.is_ok());
}
