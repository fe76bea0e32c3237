//! Each part stops and comes back: callers lose nothing, and nothing of what
//! was decided or recorded is forgotten.

use std::{collections::BTreeSet, time::Duration};

use nla_sandbox::{
    mcp::McpClient,
    postgres::{Options, Postgres},
    system::{Sandbox, wait_for},
};
use nla_tests::traffic::{SELECT_1, Traffic};
use serde_json::json;

use super::calls::{error, event, events, query, request_id, token};

/// Between two calls of one client: below the limit of calls per address.
const PACE: Duration = Duration::from_millis(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_plane_restarts_under_traffic() {
    let mut sandbox = Sandbox::start().await.unwrap();
    let (id, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    let (gone_id, gone) = token(&sandbox, &["analyst"], |_| ()).await;
    sandbox.admin.revoke_token(&gone_id).await.unwrap();
    let clients: Vec<McpClient> = [0, 0, 1, 1].iter().map(|edge| sandbox.client(*edge, &secret).unwrap()).collect();
    let gone: Vec<McpClient> = (0..2).map(|edge| sandbox.client(edge, &gone).unwrap()).collect();

    let traffic = Traffic::start(clients, PACE, SELECT_1);
    traffic.goes_on(50).await;
    sandbox.control_plane.stop().await.unwrap();
    traffic.goes_on(100).await;
    for client in &gone {
        assert_eq!(query(client, "SELECT 1").await.status, 401, "while the control plane is away");
    }
    sandbox.control_plane.resume().await.unwrap();
    traffic.goes_on(50).await;
    // A new change reaches both edges: they follow again.
    let (_, fresh) = token(&sandbox, &["analyst"], |_| ()).await;
    for (edge, gone) in gone.iter().enumerate() {
        assert_eq!(query(&sandbox.client(edge, &fresh).unwrap(), "SELECT 1").await.status, 200);
        assert_eq!(query(gone, "SELECT 1").await.status, 401, "after the restart");
    }
    traffic.goes_on(50).await;
    let answered = traffic.end().await;

    let expected: BTreeSet<&String> = answered.iter().collect();
    assert_eq!(expected.len(), answered.len(), "request ids repeat");
    wait_for("all audit events", || async { events(&sandbox, &id).await.len() >= answered.len() }).await.unwrap();
    let recorded = events(&sandbox, &id).await;
    assert_eq!(recorded.len(), answered.len(), "events were lost or stored twice");
    assert_eq!(recorded.iter().map(|event| &event.request_id).collect::<BTreeSet<_>>(), expected);
    println!("{} calls answered and recorded once each over a restart", answered.len());
}

/// Why a call is not answered; empty when it is, or when nobody listens.
async fn query_code(client: &McpClient) -> String {
    let call = json!({ "name": "query_database", "arguments": { "sql": "SELECT 1" } });
    let answer = client.request("tools/call", call).await;
    answer.map_or_else(|_| String::new(), |answer| answer.body["error"]["data"]["code"].as_str().unwrap_or("").into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_comes_back_as_itself() {
    let mut sandbox = Sandbox::start().await.unwrap();
    let (id, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    let clients = [0, 1].map(|edge| sandbox.client(edge, &secret).unwrap());
    let last = query(&clients[0], "SELECT 1").await;
    sandbox.edges[0].stop().await.unwrap();
    // What it had recorded was delivered before its end.
    assert!(events(&sandbox, &id).await.iter().any(|event| event.request_id == request_id(&last)));
    assert!(clients[0].query("SELECT 1").await.is_err());
    assert_eq!(clients[1].query("SELECT 1").await.unwrap()["rows"], json!([[1]]));

    // Without a join token it knows who it is, and without a control plane it
    // knows nobody else: it refuses.
    sandbox.control_plane.stop().await.unwrap();
    sandbox.edges[0].config_mut().identity.join.file = None;
    sandbox.edges[0].resume().await.unwrap();
    wait_for("an edge that listens", || async { query_code(&clients[0]).await == "stale" }).await.unwrap();
    assert_eq!(clients[1].query("SELECT 1").await.unwrap()["rows"], json!([[1]]), "it holds what it needs");
    sandbox.control_plane.resume().await.unwrap();
    sandbox.edges[0].ready().await.unwrap();
    let back = query(&clients[0], "SELECT 1").await;
    assert_eq!(back.status, 200, "{}", back.body);
    let event = event(&sandbox, &request_id(&back)).await;
    assert_eq!((event.edge.as_str(), event.boot_sequence > 0), ("edge-1", true));
    let enrolled = events(&sandbox, &id).await;
    let boots: BTreeSet<&str> =
        enrolled.iter().filter(|event| event.edge == "edge-1").map(|event| event.boot_id.as_str()).collect();
    assert_eq!(boots.len(), 2, "{boots:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_goes_away_and_comes_back() {
    let mut sandbox = Sandbox::with_edges(1).await.unwrap();
    let (_, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    let client = sandbox.client(0, &secret).unwrap();
    client.query("SELECT 1").await.unwrap();

    let (folder, port) = (sandbox.sample.postgres.folder().to_owned(), sandbox.sample.postgres.port());
    sandbox.sample.postgres.stop().await;
    for _ in 0..3 {
        let answer = query(&client, "SELECT 1").await;
        let error = error(&answer.body["result"]);
        assert_eq!(error["code"], "database_unavailable", "{error}");
        let shown = answer.body.to_string();
        assert!(!shown.contains(&port.to_string()) && !shown.contains("nla_reader"), "{shown}");
    }
    let listed = client.call("list_databases", json!({})).await.unwrap();
    assert_ne!(listed["isError"], json!(true), "needs no database");

    sandbox.sample.postgres = Postgres::start(Options::new(folder).throw_away().port(port)).await.unwrap();
    assert_eq!(client.query("SELECT 1").await.unwrap()["rows"], json!([[1]]), "the first call after it is back");
}
