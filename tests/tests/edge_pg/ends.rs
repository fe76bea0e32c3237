//! However a call ends, its statement ends on the server too.

use std::{sync::Arc, time::Duration};

use nla_domain::{database::DatabaseLimits, snapshot::DEFAULT_STANDARD_STALENESS, token::TokenLimits};
use nla_edge::mcp::{handler::Handler, outcome::Outcome};
use serde_json::json;

use super::bench::{AMPLE, Bench, SOON, text, tool_call};

/// Runs for hours, computing.
const ENDLESS: &str = "SELECT count(*) FROM pg_class a, pg_class b, pg_class c, pg_class d, pg_class e";

fn limits() -> DatabaseLimits {
    DatabaseLimits { statement_timeout: Duration::from_secs(600), ..DatabaseLimits::default() }
}

fn endless() -> nla_edge::mcp::call::ToolCall {
    tool_call("query_database", json!({ "sql": ENDLESS }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_limit_ends_it() {
    let limits = DatabaseLimits { statement_timeout: Duration::from_millis(300), ..limits() };
    let bench = Bench::start(limits).await;
    let refused = bench.refused(ENDLESS).await;
    assert!(refused.starts_with("timed_out: "), "{refused}");
    bench.until_running(0).await;
    assert_eq!(bench.query("SELECT 1").await["rows"], json!([[1]]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_ends_it() {
    let bench = Bench::start(limits()).await;
    // Told so, as mcp does when the connection closes.
    let call = endless();
    let cancel = call.context.cancel.clone();
    let handler = Arc::clone(&bench.handler);
    let admitted = handler.admit(&bench.parts()).await.unwrap();
    let running = tokio::spawn(async move { handler.call_tool(&admitted, call).await });
    bench.until_running(1).await;
    cancel.cancel();
    let Outcome::Done(result) = tokio::time::timeout(SOON, running).await.unwrap().unwrap() else { panic!() };
    assert!(text(&result).starts_with("cancelled: "), "{}", text(&result));
    bench.until_running(0).await;

    // Dropped without a word.
    let before = bench.audit.waiting();
    let handler = Arc::clone(&bench.handler);
    let admitted = handler.admit(&bench.parts()).await.unwrap();
    let running = tokio::spawn(async move { handler.call_tool(&admitted, endless()).await });
    bench.until_running(1).await;
    running.abort();
    bench.until_running(0).await;
    assert_eq!(bench.audit.waiting(), before + 1);
    assert_eq!(bench.query("SELECT 1").await["rows"], json!([[1]]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_ends_it_and_its_connections() {
    let bench = Bench::start(limits()).await;
    let handler = Arc::clone(&bench.handler);
    let admitted = handler.admit(&bench.parts()).await.unwrap();
    let running = tokio::spawn(async move { handler.call_tool(&admitted, endless()).await });
    bench.until_running(1).await;
    bench.publish(2, bench.database(limits()), bench.credential("reader secret", 1), None);
    let Outcome::Done(result) = tokio::time::timeout(SOON, running).await.unwrap().unwrap() else { panic!() };
    assert!(text(&result).contains("revoked"), "{}", text(&result));
    bench.until_running(0).await;
    let refused = bench.handler.admit(&bench.parts()).await.unwrap_err();
    assert_eq!(refused.status, 401);
    let began = std::time::Instant::now();
    loop {
        // The edge's own look at the catalog is nobody's call.
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader' AND application_name NOT LIKE 'nla-catalog/%'";
        let open: i64 = bench.admin.query_one(sql, &[]).await.unwrap().get(0);
        if open == 0 {
            break;
        }
        assert!(began.elapsed() < SOON, "{open} connections are open");
        tokio::task::yield_now().await;
    }
    bench.publish(3, bench.database(limits()), bench.credential("reader secret", 1), Some(TokenLimits::default()));
    assert_eq!(bench.query("SELECT 1").await["rows"], json!([[1]]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_during_which_the_process_was_stopped_gets_no_answer() {
    // Shorter than the period in which what has ended is looked for, so that
    // some of them end first.
    const SHORT: &str = "SELECT count(*) FROM pg_class a, pg_class b, (SELECT oid FROM pg_class LIMIT 20) c";
    let bench = Bench::start(limits()).await;
    bench.query("SELECT 1").await;
    for _ in 0..5 {
        bench.publish(1, bench.database(limits()), bench.credential("reader secret", 1), Some(AMPLE));
        let handler = Arc::clone(&bench.handler);
        let admitted = handler.admit(&bench.parts()).await.unwrap();
        let call = tool_call("query_database", json!({ "sql": SHORT }));
        let running = tokio::spawn(async move { handler.call_tool(&admitted, call).await });
        bench.until_running(1).await;
        bench.clock.ahead(DEFAULT_STANDARD_STALENESS + Duration::from_secs(1));
        let Outcome::Done(result) = tokio::time::timeout(SOON, running).await.unwrap().unwrap() else { panic!() };
        assert!(text(&result).starts_with("cancelled: "), "{}", text(&result));
        assert_eq!(bench.handler.admit(&bench.parts()).await.unwrap_err().status, 503);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_waits_then_cancels() {
    let bench = Bench::start(limits()).await;
    let handler = Arc::clone(&bench.handler);
    let admitted = handler.admit(&bench.parts()).await.unwrap();
    let running = tokio::spawn(async move { handler.call_tool(&admitted, endless()).await });
    bench.until_running(1).await;
    assert_eq!(bench.pipeline.usage().1, 1);
    assert!(!bench.pipeline.drain(Duration::from_millis(50)).await);
    tokio::time::timeout(SOON, running).await.unwrap().unwrap();
    bench.until_running(0).await;
    let refused = bench.handler.admit(&bench.parts()).await.unwrap_err();
    assert_eq!((refused.status.as_u16(), refused.headers.contains_key("retry-after")), (503, true));
}
