//! What is taken away is gone on every edge: a revoked token's statements,
//! connections and calls, a rotated token, a right. Others notice nothing.

use std::time::{Duration, Instant};

use nla_domain::secret::Secret;
use nla_proto::{
    convert::from_duration,
    v1::{self, edge_receipt::State, roles_client::RolesClient, tokens_client::TokensClient},
};
use nla_sandbox::system::{Sandbox, analyst, idempotency_key};
use serde_json::json;

use super::calls::{ENDLESS, error, event, query, request_id, sessions, token, until_running, until_sessions, watch};

/// The promise is 100 ms; this machine may be busy with other tests.
const APPLIED_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_ends_on_every_edge() {
    let sandbox = Sandbox::start().await.unwrap();
    let watch = watch(&sandbox).await;
    let (id, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    let (_, other) = token(&sandbox, &["analyst"], |_| ()).await;
    let mut running = Vec::new();
    for edge in 0..2 {
        let (client, other) = (sandbox.client(edge, &secret).unwrap(), sandbox.client(edge, &other).unwrap());
        other.query("SELECT 1").await.unwrap();
        // One session that is idle and one that works.
        let (idle, busy) = tokio::join!(query(&client, "SELECT 1"), query(&client, "SELECT 2"));
        assert_eq!((idle.status.as_u16(), busy.status.as_u16()), (200, 200));
        running.push(tokio::spawn(async move { query(&client, ENDLESS).await }));
    }
    until_running(&watch, 2).await;

    let began = Instant::now();
    let receipt = sandbox.admin.revoke_token(&id).await.unwrap().receipt.unwrap();
    let edges: Vec<&str> = receipt.edges.iter().map(|edge| edge.edge_id.as_str()).collect();
    assert_eq!((edges, receipt.complete), (vec!["edge-1", "edge-2"], true));
    for edge in &receipt.edges {
        assert_eq!((edge.state(), edge.calls_cut), (State::Applied, 1), "{edge:?}");
        let after = from_duration("after", edge.after.as_ref().unwrap()).unwrap();
        println!("{} applied the revocation after {:.1} ms", edge.edge_id, after.as_secs_f64() * 1_000.0);
        assert!(after < APPLIED_WITHIN, "{after:?}");
    }

    until_running(&watch, 0).await;
    println!("no statement of it runs after {:.1} ms", began.elapsed().as_secs_f64() * 1_000.0);

    // From the receipt on, no call is let in.
    for edge in 0..2 {
        assert_eq!(query(&sandbox.client(edge, &secret).unwrap(), "SELECT 1").await.status, 401);
    }
    for running in running {
        let answer = running.await.unwrap();
        assert_eq!(error(&answer.body["result"])["code"], "cancelled", "{}", answer.body);
        let event = event(&sandbox, &request_id(&answer)).await;
        assert_eq!((event.reason.as_str(), event.token), ("cancelled", id.clone()));
    }
    // The other token's session on each edge stays, and serves.
    until_sessions(&watch, 2).await;
    for edge in 0..2 {
        let client = sandbox.client(edge, &other).unwrap();
        assert_eq!(client.query("SELECT 1").await.unwrap()["rows"], json!([[1]]));
    }
    assert_eq!(sessions(&watch).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_token_and_a_narrowed_role_take_effect() {
    let sandbox = Sandbox::start().await.unwrap();
    let role = sandbox.admin.create_role(analyst("reader", &["shop"])).await.unwrap();
    let (id, secret) = token(&sandbox, &["reader"], |_| ()).await;
    let clients = [0, 1].map(|edge| sandbox.client(edge, &secret).unwrap());
    for client in &clients {
        assert_eq!(client.query("SELECT 1").await.unwrap()["rows"], json!([[1]]));
    }

    let request = v1::RotateTokenRequest { idempotency_key: idempotency_key(), id, ..Default::default() };
    let mut tokens = TokensClient::new(sandbox.admin.channel());
    let expected_revision = {
        let request = v1::GetTokenRequest { id: request.id.clone() };
        tokens.get(request).await.unwrap().into_inner().meta.unwrap().revision
    };
    let request = v1::RotateTokenRequest { expected_revision, ..request };
    let next = Secret::new(tokens.rotate(request).await.unwrap().into_inner().token_text);
    sandbox.settled().await.unwrap();
    for client in &clients {
        assert_eq!(query(client, "SELECT 1").await.status, 401, "without overlap the old one ends at once");
        assert_eq!(query(&client.with_token(Some(next.clone())), "SELECT 1").await.status, 200);
    }

    let narrowed = v1::Role { tools: vec![v1::Tool::ListDatabases.into()], ..analyst("reader", &["shop"]) };
    let request = v1::UpdateRoleRequest {
        idempotency_key: idempotency_key(),
        role: Some(narrowed),
        expected_revision: role.meta.unwrap().revision,
    };
    RolesClient::new(sandbox.admin.channel()).update(request).await.unwrap();
    sandbox.settled().await.unwrap();
    for client in &clients {
        let answer = query(&client.with_token(Some(next.clone())), "SELECT 1").await;
        assert_eq!(error(&answer.body["result"])["code"], "permission_denied");
    }
}
