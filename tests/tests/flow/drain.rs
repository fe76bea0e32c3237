//! An edge that drains is not ready and answers still, over restarts of
//! everything, until it is told to resume.

use nla_proto::v1::{self, edges_client::EdgesClient};
use nla_sandbox::{
    mcp::McpClient,
    system::{Edge, Sandbox, idempotency_key, wait_for},
};
use serde_json::{Value, json};

use super::{calls::query, calls::token, edges::ready};

async fn drain(sandbox: &Sandbox, id: &str, reason: &str) {
    let request = v1::DrainEdgeRequest { idempotency_key: idempotency_key(), id: id.into(), reason: reason.into() };
    EdgesClient::new(sandbox.admin.channel()).drain(request).await.unwrap();
}

async fn resume(sandbox: &Sandbox, id: &str) {
    let request = v1::ResumeEdgeRequest { idempotency_key: idempotency_key(), id: id.into() };
    EdgesClient::new(sandbox.admin.channel()).resume(request).await.unwrap();
}

/// Why an edge is not ready; null when it is.
async fn reason(client: &McpClient, edge: &Edge) -> Value {
    let report = ready(client, edge).await;
    assert_eq!(report.status == 200, report.body["reasons"] == json!([]), "{report:?}");
    report.body["reasons"][0]["reason"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_outlives_restarts_of_edge_and_control_plane() {
    let mut sandbox = Sandbox::start().await.unwrap();
    let (_, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    let clients = [0, 1].map(|edge| sandbox.client(edge, &secret).unwrap());

    drain(&sandbox, "edge-1", "kernel update").await;
    wait_for("the drain", || async { reason(&clients[0], &sandbox.edges[0]).await == json!("draining") })
        .await
        .unwrap();
    let report = ready(&clients[0], &sandbox.edges[0]).await;
    assert!(report.body["reasons"][0]["message"].as_str().unwrap().contains("kernel update"), "{report:?}");
    assert_eq!(query(&clients[0], "SELECT 1").await.status, 200, "the balancer needs time to notice");
    assert_eq!(reason(&clients[1], &sandbox.edges[1]).await, json!(null));

    // The edge comes back as it was. It is never ready in between: no report
    // may say so before it drains again.
    sandbox.edges[0].stop().await.unwrap();
    sandbox.edges[0].resume().await.unwrap();
    wait_for("the drain after the edge's restart", || async {
        let report = ready(&clients[0], &sandbox.edges[0]).await;
        assert_ne!(report.status, 200, "{report:?}");
        report.body["reasons"][0]["reason"] == json!("draining")
    })
    .await
    .unwrap();

    sandbox.control_plane.stop().await.unwrap();
    assert_eq!(reason(&clients[0], &sandbox.edges[0]).await, json!("draining"), "nobody has ended it");
    sandbox.control_plane.resume().await.unwrap();
    sandbox.settled().await.unwrap();
    // Follows again, which a new change shows, and drains still.
    let (_, fresh) = token(&sandbox, &["analyst"], |_| ()).await;
    assert_eq!(query(&sandbox.client(0, &fresh).unwrap(), "SELECT 1").await.status, 200);
    assert_eq!(reason(&clients[0], &sandbox.edges[0]).await, json!("draining"));

    resume(&sandbox, "edge-1").await;
    sandbox.edges[0].ready().await.unwrap();
    assert_eq!(query(&clients[0], "SELECT 1").await.status, 200);

    // Ended while the edge was away.
    drain(&sandbox, "edge-1", "").await;
    wait_for("the drain", || async { reason(&clients[0], &sandbox.edges[0]).await == json!("draining") })
        .await
        .unwrap();
    sandbox.edges[0].stop().await.unwrap();
    resume(&sandbox, "edge-1").await;
    sandbox.edges[0].resume().await.unwrap();
    sandbox.edges[0].ready().await.unwrap();
}
