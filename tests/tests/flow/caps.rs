//! How much one call, one token and one statement may take.

use std::time::Duration;

use nla_proto::{convert::duration, v1};
use nla_sandbox::system::{Sandbox, analyst, wait_for};
use serde_json::json;

use super::calls::{AMPLE, ENDLESS, database, error, query, text, token, until_running, watch};

/// The most memory that this process has held so far.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_bytes_and_time_of_one_answer() {
    let sandbox = Sandbox::with_edges(1).await.unwrap();
    let watch = watch(&sandbox).await;
    let limits = v1::DatabaseLimits { max_rows: 50, max_bytes: 20_000, ..Default::default() };
    database(&sandbox, "narrow", limits).await;
    let statement_timeout = Some(duration(Duration::from_millis(500)));
    database(&sandbox, "brief", v1::DatabaseLimits { statement_timeout, ..Default::default() }).await;
    sandbox.admin.create_role(analyst("hasty", &["brief"])).await.unwrap();
    sandbox.admin.create_role(analyst("wide", &["narrow"])).await.unwrap();
    sandbox.admin.create_role(v1::Role { max_rows: 20, ..analyst("twenty", &["narrow"]) }).await.unwrap();
    let (_, wide) = token(&sandbox, &["wide"], |_| ()).await;
    let (_, twenty) = token(&sandbox, &["twenty"], |_| ()).await;
    let (_, hasty) = token(&sandbox, &["hasty"], |_| ()).await;
    let (_, both) = token(&sandbox, &["twenty", "wide"], |_| ()).await;
    let (wide, twenty, both) =
        (sandbox.client(0, &wide).unwrap(), sandbox.client(0, &twenty).unwrap(), sandbox.client(0, &both).unwrap());

    for (client, asked, expected) in [
        (&wide, None, 50),
        (&wide, Some(5), 5),
        (&wide, Some(1_000), 50),
        (&twenty, None, 20),
        (&twenty, Some(30), 20),
        (&twenty, Some(1), 1),
        (&both, None, 50),
    ] {
        let arguments = json!({ "sql": "SELECT id FROM shop.orders ORDER BY id", "max_rows": asked });
        let result = client.call("query_database", arguments).await.unwrap();
        let content = &result["structuredContent"];
        assert_eq!(content["rows"].as_array().unwrap().len(), expected, "{asked:?}: {result}");
        assert_eq!((&content["truncated"], &content["truncated_by"]), (&json!(true), &json!("rows")));
        assert!(text(&result).contains("cut at the limit"), "{result}");
    }
    // Exactly as many as there are: nothing was cut.
    let content = wide.query("SELECT generate_series(1, 50)").await.unwrap();
    assert_eq!((&content["row_count"], &content["truncated"]), (&json!(50), &json!(false)));

    let content = wide.query("SELECT n, repeat('x', 1000) FROM generate_series(1, 50) n").await.unwrap();
    let rows = content["rows"].as_array().unwrap().len();
    assert!((10..20).contains(&rows), "{rows}");
    assert_eq!((&content["truncated"], &content["truncated_by"]), (&json!(true), &json!("bytes")));

    // One value that would fill the memory of a small machine.
    let before = peak_bytes();
    let result = query(&wide, "SELECT repeat('x', 300000000)").await.body["result"].clone();
    // The kernel counts in batches: a later number may be a little smaller.
    let grown = peak_bytes().saturating_sub(before);
    println!("a value of 300 MB: {} KiB more at the peak", grown / 1_024);
    assert!(grown < 100_000_000, "{grown} bytes more for one value");
    assert_ne!(result["isError"], json!(true), "{}", text(&result));
    let content = &result["structuredContent"];
    assert_eq!((&content["row_count"], &content["truncated_by"]), (&json!(0), &json!("bytes")));
    assert!(text(&result).contains("before the end of the first row"), "{}", text(&result));
    until_running(&watch, 0).await;

    let hasty = sandbox.client(0, &hasty).unwrap();
    let result = query(&hasty, ENDLESS).await.body["result"].clone();
    assert_eq!(error(&result)["code"], "timed_out", "{result}");
    until_running(&watch, 0).await;
    for client in [&wide, &hasty] {
        assert_eq!(client.query("SELECT 1").await.unwrap()["rows"], json!([[1]]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_one_token() {
    let sandbox = Sandbox::with_edges(1).await.unwrap();
    let watch = watch(&sandbox).await;
    let limits = |calls_per_second, burst, concurrent_calls| {
        move |request: &mut v1::CreateTokenRequest| {
            request.limits = Some(v1::TokenLimits { calls_per_second, burst, concurrent_calls });
        }
    };
    let (_, slow) = token(&sandbox, &["analyst"], limits(1, 2, 10)).await;
    let (_, single) = token(&sandbox, &["analyst"], limits(AMPLE.calls_per_second, AMPLE.burst, 1)).await;
    let (slow, single) = (sandbox.client(0, &slow).unwrap(), sandbox.client(0, &single).unwrap());

    // Two are let through at once, the third or, on a slow machine, one soon after is not.
    let mut answered = 0;
    let refused = loop {
        let answer = query(&slow, "SELECT 1").await;
        if answer.status != 200 || answered > 100 {
            break answer;
        }
        answered += 1;
    };
    assert!(answered >= 2, "{answered}");
    assert_eq!((refused.status.as_u16(), &refused.body["error"]["data"]["code"]), (429, &json!("rate_limited")));
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    // Another token is not held up, and this one is let in again.
    assert_eq!(query(&single, "SELECT 1").await.status, 200);
    wait_for("the rate limit's end", || async { query(&slow, "SELECT 1").await.status == 200 }).await.unwrap();

    let running = tokio::spawn({
        let single = single.clone();
        async move { query(&single, ENDLESS).await }
    });
    until_running(&watch, 1).await;
    let refused = query(&single, "SELECT 1").await;
    assert_eq!((refused.status.as_u16(), &refused.body["error"]["data"]["code"]), (429, &json!("rate_limited")));
    assert_eq!(refused.headers["retry-after"], "1");

    // The client goes: so does its statement, and its place is free.
    running.abort();
    until_running(&watch, 0).await;
    wait_for("a free place", || async { query(&single, "SELECT 1").await.status == 200 }).await.unwrap();
}
