//! PgBouncer in transaction mode: each transaction of the edge may get another
//! server session, and each session serves many tokens.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nla_proto::{convert::duration, v1};
use nla_sandbox::{mcp::McpClient, sample, system::wait_for};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{
    bench::{Bench, Case, ask},
    pgbouncer::{PgBouncer, SERVER_CONNECTIONS},
};

const DATABASE: &str = "bounced";
const TOKENS: usize = 4;
const CALLS: u32 = 120;
const ENDLESS: &str = "SELECT count(*) FROM shop.orders a, shop.orders b, shop.orders c, shop.orders d";

fn case(bench: &Bench, bouncer: &PgBouncer) -> Case {
    bench.case(DATABASE, |database| {
        database.port = bouncer.port.into();
        let statement_timeout = Some(duration(Duration::from_millis(1_500)));
        database.limits = Some(v1::DatabaseLimits { statement_timeout, max_bytes: 50_000, ..Default::default() });
    })
}

/// One call, with an answer that no other call has.
async fn call(client: &McpClient, token: usize, number: u32) -> &'static str {
    let own = token * 100_000 + usize::try_from(number).unwrap();
    let (kind, sql) = match number % 10 {
        0 => ("22012", format!("SELECT {own} / (id - id) FROM shop.tenants")),
        1 => ("42703", format!("SELECT nothing_{own} FROM shop.tenants")),
        2 => ("left", format!("SELECT {own}, count(*) FROM shop.orders a, shop.orders b")),
        3 => ("bytes", format!("SELECT {own}, repeat('x', 20000) FROM generate_series(1, 100)")),
        4 => ("42601", format!("SELECT {own} FROM shop.tenants GROUP BY ROLLUP")),
        5 if number == 5 => ("timed_out", format!("SELECT {own} UNION ALL {ENDLESS}")),
        _ => (
            "row",
            format!(
                "SELECT {own}, count(*), current_setting('timezone'), current_setting('transaction_read_only') FROM shop.orders"
            ),
        ),
    };
    if kind == "left" {
        let patience = Duration::from_millis(u64::from(number) % 37);
        // The client leaves; it may have been answered before.
        let _ = tokio::time::timeout(patience, ask(client, DATABASE, &sql)).await;
        return kind;
    }
    let result = ask(client, DATABASE, &sql).await;
    let (content, error) = (&result["structuredContent"], &result["_meta"]["nla/error"]);
    // Nine of ten calls compete for three sessions: a call may not get one in time.
    if kind != "timed_out" && ["timed_out", "overloaded"].contains(&error["code"].as_str().unwrap_or_default()) {
        return "no session in time";
    }
    match kind {
        "row" => assert_eq!(content["rows"], json!([[own, 15_000, "UTC", "on"]]), "{sql}: {result}"),
        "bytes" => {
            assert_eq!((&content["truncated_by"], &content["rows"][0][0]), (&json!("bytes"), &json!(own)), "{result}");
        }
        "timed_out" => assert_eq!(error["code"], json!("timed_out"), "{sql}: {result}"),
        "42601" => assert_eq!(result["isError"], json!(true), "{sql}: {result}"),
        sqlstate => assert_eq!(error["sqlstate"], json!(sqlstate), "{sql}: {result}"),
    }
    kind
}

/// Every server session, each held by a transaction of ours while the others
/// are looked at.
async fn server_sessions(bouncer: &PgBouncer) -> Vec<(String, Value)> {
    let mut clients = Vec::new();
    for _ in 0..SERVER_CONNECTIONS {
        let client = bouncer.connect(sample::DATABASE).await.unwrap();
        client.batch_execute("BEGIN").await.unwrap();
        clients.push(client);
    }
    let mut seen = Vec::new();
    for client in &clients {
        let pid = text(client, "SELECT pg_backend_pid()::text").await;
        let state = json!({
            "statements": text(client, "SELECT coalesce(string_agg(name || ': ' || statement, ';'), '') FROM pg_prepared_statements").await,
            "cursors": text(client, "SELECT count(*)::text FROM pg_cursors WHERE name <> ''").await,
            "locks": text(client, "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'").await,
            // PgBouncer itself passes on what a client says at its start.
            "settings": text(client, "SELECT coalesce(string_agg(name || '=' || setting, ';' ORDER BY name), '') FROM pg_settings
                WHERE source = 'session' AND name NOT IN
                    ('application_name', 'client_encoding', 'DateStyle', 'IntervalStyle', 'TimeZone', 'standard_conforming_strings', 'transaction_isolation', 'transaction_read_only', 'transaction_deferrable')").await,
            "read_write": text(client, "SHOW default_transaction_read_only").await,
        });
        seen.push((pid, state));
    }
    for client in &clients {
        client.batch_execute("ROLLBACK").await.unwrap();
    }
    seen
}

async fn text(client: &Client, sql: &str) -> String {
    let answer = client.simple_query(sql).await.unwrap();
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    row.unwrap_or_else(|| panic!("no row: {sql}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_share_few_sessions() {
    let bench = Bench::start().await;
    let bouncer = PgBouncer::start(&bench.sandbox.sample.postgres, &bench.sandbox.sample.sample.reader_password).await;
    let mut clients = vec![bench.define(&[case(&bench, &bouncer)]).await];
    while clients.len() < TOKENS {
        clients.push(bench.client(&[DATABASE]).await);
    }
    let probe = bench.probe(DATABASE).await;
    assert!(probe.ok && probe.server_version.starts_with(|first: char| first.is_ascii_digit()), "{probe:?}");

    let began = Instant::now();
    let mut callers = JoinSet::new();
    for (token, client) in clients.iter().enumerate() {
        for lane in 0..2 {
            let client = client.clone();
            callers.spawn(async move {
                let mut kinds = Vec::new();
                for number in (lane..CALLS).step_by(2) {
                    kinds.push(call(&client, token, number).await);
                }
                kinds
            });
        }
    }
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    while let Some(ended) = callers.join_next().await {
        for kind in ended.unwrap() {
            *kinds.entry(kind).or_default() += 1;
        }
    }
    println!("{:?} for {kinds:?}", began.elapsed());
    assert!(kinds.get("no session in time").copied().unwrap_or_default() < 40, "{kinds:?}");
    assert!(kinds["row"] > 150 && kinds["timed_out"] == TOKENS, "{kinds:?}");

    let running = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'nla_reader' AND state <> 'idle'";
    wait_for("the end of what was left", || async {
        bench.admin.query_one(running, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await
    .unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'nla_reader'";
    let sessions: i64 = bench.admin.query_one(sessions, &[]).await.unwrap().get(0);
    assert!(sessions <= i64::try_from(SERVER_CONNECTIONS).unwrap(), "{sessions} server sessions");
    let clean = json!({ "statements": "", "cursors": "0", "locks": "0", "settings": "", "read_write": "off" });
    for (pid, state) in server_sessions(&bouncer).await {
        assert_eq!(state, clean, "session {pid} is not as at its start");
    }
    for client in &clients {
        assert_eq!(ask(client, DATABASE, "SELECT 41 + 1").await["structuredContent"]["rows"], json!([[42]]));
    }
    let log = bouncer.log();
    assert!(!log.contains("prepared statement"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_behind_it_is_named_and_ends_with_its_cause() {
    let bench = Bench::start().await;
    let bouncer = PgBouncer::start(&bench.sandbox.sample.postgres, &bench.sandbox.sample.sample.reader_password).await;
    let cases = [
        case(&bench, &bouncer),
        Case {
            login: (sample::READER.into(), nla_domain::secret::Secret::new("wrong")),
            // PgBouncer has one code for all of its own errors.
            fails: Some(("authenticate", "SQLSTATE 08P01")),
            ..bench.case("bounced-wrong", |database| database.port = bouncer.port.into())
        },
        Case {
            fails: Some(("authenticate", "SQLSTATE 08P01")),
            ..bench.case("bounced-nowhere", |database| {
                database.port = bouncer.port.into();
                database.dbname = "nowhere".into();
            })
        },
    ];
    let client = bench.define(&cases).await;
    for case in &cases {
        bench.check(&client, case).await;
    }
    // The server's sessions end below PgBouncer's clients.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'nla_reader'";
    bench.admin.query(end, &[]).await.unwrap();
    wait_for("an answer after the sessions' end", || async {
        ask(&client, DATABASE, "SELECT 41 + 1").await["structuredContent"]["rows"] == json!([[42]])
    })
    .await
    .unwrap();
    drop(bouncer);
    let gone = ask(&client, DATABASE, "SELECT 1").await;
    assert_eq!(gone["_meta"]["nla/error"]["code"], "database_unavailable", "{gone}");
}
