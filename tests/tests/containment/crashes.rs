//! PostgreSQL dies under a running statement: the caller is told so and nothing
//! else, the event is there, and the edge recovers by itself.

use std::process::Command;

use nla_proto::v1;
use nla_sandbox::{
    mcp::{Answer, McpClient},
    postgres::{Options, Postgres},
    sample,
    system::wait_for,
};
use serde_json::json;
use tokio::task::JoinHandle;

use super::bench::{Bench, ENDLESS, ask, beside_others, error, request_id, result, rows};

fn start(client: &McpClient) -> JoinHandle<Answer> {
    let client = client.clone();
    tokio::spawn(async move { ask(&client, ENDLESS).await })
}

fn signal(name: &str, pid: i32) {
    let sent = Command::new("/bin/sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &pid.to_string()]).status();
    assert!(sent.unwrap().success(), "kill -s {name} {pid}");
}

/// What a caller may learn of a crash, and what the audit log keeps.
async fn told(bench: &Bench, token: &str, answer: &Answer) {
    let shown = answer.body.to_string();
    let error = error(&answer.body["result"]);
    assert_eq!(error["code"], "database_unavailable", "{shown}");
    assert!(error["message"].as_str().unwrap().contains("connection"), "{shown}");
    let postgres = &bench.sandbox.sample.postgres;
    for secret in [&postgres.port().to_string(), sample::READER, "127.0.0.1", "/tmp", "postmaster"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
    let event = bench.event(token, &request_id(answer)).await;
    assert_eq!((event.outcome, event.reason.as_str()), (v1::Outcome::Failed.into(), "database_unavailable"));
    assert!(event.sql.is_some_and(|sql| sql.text == ENDLESS));
}

async fn recovered(client: &McpClient) {
    wait_for("answers after the crash", || async {
        result(client, "SELECT 41 + 1").await["structuredContent"]["rows"] == json!([[42]])
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_is_killed() {
    let _turn = beside_others().await;
    let mut bench = Bench::start().await;
    let (id, client) = bench.token("analyst").await;

    // An administrator ends the session: this one alone.
    let running = start(&client);
    let (pid, _) = bench.endless().await;
    assert!(bench.admin.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap().get::<_, bool>(0));
    told(&bench, &id, &running.await.unwrap()).await;
    assert_eq!(rows(&client, "SELECT 41 + 1").await, json!([[42]]), "the very next call");

    // An administrator cancels the statement: no crash, and its session stays.
    let running = start(&client);
    let (pid, _) = bench.endless().await;
    // PostgreSQL forgets a request that comes between two messages of a call.
    wait_for("the end of the cancelled statement", || async {
        bench.admin.query_one("SELECT pg_cancel_backend($1)", &[&pid]).await.unwrap();
        running.is_finished()
    })
    .await
    .unwrap();
    let answer = running.await.unwrap();
    assert_eq!(error(&answer.body["result"])["code"], "cancelled", "{}", answer.body);
    assert_eq!(rows(&client, "SELECT pg_backend_pid()").await, json!([[pid]]), "proven idle, so used again");

    // Killed: PostgreSQL ends all sessions, ours as well, and starts again.
    let running = start(&client);
    let (pid, _) = bench.endless().await;
    signal("KILL", pid);
    told(&bench, &id, &running.await.unwrap()).await;
    recovered(&client).await;
    bench.admin = bench.sandbox.sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
    bench.until_running(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_stops_at_once_and_comes_back() {
    let _turn = beside_others().await;
    let mut bench = Bench::start().await;
    let (id, client) = bench.token("analyst").await;
    let (_, idle) = bench.token("analyst").await;
    rows(&idle, "SELECT 1").await;
    let running = start(&client);
    bench.endless().await;

    let (folder, port) = (bench.sandbox.sample.postgres.folder().to_owned(), bench.sandbox.sample.postgres.port());
    // Whoever drops it stops it at once, without a word to the sessions.
    let stopped = bench.sandbox.sample.postgres;
    drop(stopped);
    let answer = running.await.unwrap();
    let down = ask(&idle, "SELECT 1").await;
    assert_eq!(error(&down.body["result"])["code"], "database_unavailable", "{}", down.body);
    let listed = client.call("list_databases", json!({})).await.unwrap();
    assert_ne!(listed["isError"], json!(true), "needs no database");

    let started = Postgres::start(Options::new(folder).throw_away().port(port)).await.unwrap();
    bench.sandbox.sample.postgres = started;
    for client in [&client, &idle] {
        recovered(client).await;
    }
    bench.admin = bench.sandbox.sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
    told(&bench, &id, &answer).await;
    bench.until_running(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_hangs_is_given_up() {
    let _turn = beside_others().await;
    let bench = Bench::start().await;
    bench.database("brief", super::bench::limits(std::time::Duration::from_secs(1))).await;
    let (id, client) = bench.token("brief").await;
    rows(&client, "SELECT 1").await;
    let running = start(&client);
    let (pid, _) = bench.endless().await;
    signal("STOP", pid);
    let answer = running.await.unwrap();
    assert_eq!(error(&answer.body["result"])["code"], "timed_out", "{}", answer.body);
    let event = bench.event(&id, &request_id(&answer)).await;
    assert_eq!((event.outcome, event.reason.as_str()), (v1::Outcome::TimedOut.into(), "timed_out"));
    // Others go on beside it, with other connections.
    assert_eq!(rows(&client, "SELECT 41 + 1").await, json!([[42]]));
    signal("CONT", pid);
    bench.until_running(0).await;
    let ours = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    wait_for("the end of the session that hung", || async { bench.count(&ours).await == 0 }).await.unwrap();
}
