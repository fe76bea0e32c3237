//! An edge in quarantine is there and answers nobody: running statements end on
//! the server, its connections go, and its audit events arrive still.

use nla_proto::v1::{self, edges_client::EdgesClient};
use nla_sandbox::system::{Sandbox, idempotency_key, wait_for};
use serde_json::json;

use super::{
    calls::{ENDLESS, error, query, token, until_running, until_sessions, watch},
    edges::ready,
};

async fn quarantine(sandbox: &Sandbox, reason: &str) {
    let (idempotency_key, id) = (idempotency_key(), "edge-1".to_owned());
    let request = v1::QuarantineEdgeRequest { idempotency_key, id, reason: reason.into() };
    EdgesClient::new(sandbox.admin.channel()).quarantine(request).await.unwrap();
}

async fn release(sandbox: &Sandbox) {
    let request = v1::ReleaseEdgeRequest { idempotency_key: idempotency_key(), id: "edge-1".into() };
    EdgesClient::new(sandbox.admin.channel()).release(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quarantine_cuts_everything_and_a_release_brings_it_back() {
    let mut sandbox = Sandbox::start().await.unwrap();
    let watch = watch(&sandbox).await;
    let (id, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    let clients = [0, 1].map(|edge| sandbox.client(edge, &secret).unwrap());
    assert_eq!(query(&clients[0], "SELECT 1").await.status, 200);
    assert_eq!(query(&clients[1], "SELECT 1").await.status, 200);
    let running = sandbox.client(0, &secret).unwrap();
    let running = tokio::spawn(async move { query(&running, ENDLESS).await });
    until_running(&watch, 1).await;

    quarantine(&sandbox, "calls from an unknown network").await;
    let cut = running.await.unwrap();
    assert_eq!(error(&cut.body["result"])["code"], "cancelled", "{}", cut.body);
    until_running(&watch, 0).await;
    until_sessions(&watch, 1).await;
    let refused = query(&clients[0], "SELECT 1").await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.body.to_string().contains("\"quarantined\""), "{}", refused.body);
    assert!(!refused.body.to_string().contains("unknown network"), "that is for operators: {}", refused.body);
    let report = ready(&clients[0], &sandbox.edges[0]).await;
    assert_eq!(report.body["reasons"][0]["reason"], json!("quarantined"));
    assert!(report.body["reasons"][0]["message"].as_str().unwrap().contains("unknown network"), "{report:?}");
    assert_eq!(query(&clients[1], "SELECT 1").await.status, 200, "the other edge serves");

    // The edge is there: its audit events arrive, and a revocation counts on it.
    wait_for("the refusal in the audit log", || async {
        let refused = v1::AuditFilter { edge: "edge-1".into(), rule: "edge.quarantined".into(), ..Default::default() };
        !sandbox.admin.audit(refused).await.unwrap().is_empty()
    })
    .await
    .unwrap();
    let receipt = sandbox.admin.revoke_token(&id).await.unwrap();
    let applied = |edge: &v1::EdgeReceipt| edge.state() == v1::edge_receipt::State::Applied;
    let receipt = receipt.receipt.unwrap();
    assert!(receipt.edges.len() == 2 && receipt.edges.iter().all(applied), "{receipt:?}");

    // It holds over restarts of both, without a moment of service in between.
    let (_, other) = token(&sandbox, &["analyst"], |_| ()).await;
    let client = sandbox.client(0, &other).unwrap();
    sandbox.edges[0].stop().await.unwrap();
    sandbox.edges[0].resume().await.unwrap();
    wait_for("quarantine after the edge's restart", || async {
        let report = ready(&client, &sandbox.edges[0]).await;
        assert_ne!(report.status, 200, "{report:?}");
        report.body["reasons"][0]["reason"] == json!("quarantined")
    })
    .await
    .unwrap();
    sandbox.control_plane.stop().await.unwrap();
    assert_eq!(query(&client, "SELECT 1").await.status, 503);
    sandbox.control_plane.resume().await.unwrap();
    sandbox.settled().await.unwrap();
    assert_eq!(query(&client, "SELECT 1").await.status, 503);

    release(&sandbox).await;
    // Never 401: a valid token must not meet an edge that holds no tokens.
    wait_for("service", || async {
        let status = query(&client, "SELECT 1").await.status;
        assert!(status == 200 || status == 503, "{status}");
        status == 200
    })
    .await
    .unwrap();
    sandbox.edges[0].ready().await.unwrap();
    assert_eq!(query(&clients[0], "SELECT 1").await.status, 401, "what was revoked meanwhile stays dead");
}
