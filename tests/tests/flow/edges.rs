//! Which edges take part: joining, probing a database through them, and banning.

use std::time::Duration;

use nla_domain::join::{CaPin, JoinToken};
use nla_edge::config::Transport;
use nla_proto::v1::{self, databases_client::DatabasesClient, edges_client::EdgesClient};
use nla_sandbox::{
    mcp::{Answer, McpClient},
    sample,
    system::{Edge, Sandbox, WebCertificate, idempotency_key, wait_for},
};
use serde_json::json;

use super::calls::{query, token, until_sessions, watch};

async fn listed(sandbox: &Sandbox) -> Vec<String> {
    let answer = EdgesClient::new(sandbox.admin.channel()).list(v1::ListEdgesRequest {}).await.unwrap();
    let mut names: Vec<String> = answer.into_inner().edges.into_iter().map(|edge| edge.id).collect();
    names.sort();
    names
}

pub(crate) async fn ready(client: &McpClient, edge: &Edge) -> Answer {
    let request = axum::http::Request::get(format!("https://{}/readyz", edge.address()));
    client.send(request.body(Default::default()).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_token_lets_one_edge_in() {
    let sandbox = Sandbox::with_edges(1).await.unwrap();
    let join = sandbox.admin.join_token("edge-2").await.unwrap();
    let start = |folder: &str, join| {
        let folder = sandbox.folder().join(folder);
        let (control_plane, web) = (&sandbox.control_plane, &sandbox.web);
        async move { Edge::start("edge-2", &folder, control_plane, web, join).await }
    };
    let (first, second) = tokio::join!(start("first", join.clone()), start("second", join.clone()));
    let joined = usize::from(first.is_ok()) + usize::from(second.is_ok());
    assert_eq!(joined, 1, "{:?} {:?}", first.as_ref().err(), second.as_ref().err());
    let refused = [first, second].into_iter().find_map(Result::err).unwrap();
    assert!(format!("{refused:#}").contains("refused to enrol"), "{refused:#}");
    // Nor later.
    let again = start("third", join).await.unwrap_err();
    assert!(format!("{again:#}").contains("refused to enrol"), "{again:#}");

    // An edge whose token names another authority does not even speak to this one.
    let elsewhere = JoinToken::generate(CaPin([7; 32])).unwrap().to_text();
    let refused = start("fourth", elsewhere).await.unwrap_err();
    assert!(format!("{refused:#}").contains("certificate"), "{refused:#}");
    assert_eq!(listed(&sandbox).await, ["edge-1", "edge-2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_banned_edge_answers_nobody() {
    let mut sandbox = Sandbox::start().await.unwrap();
    let (_, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    let [kept, banned] = [0, 1].map(|edge| sandbox.client(edge, &secret).unwrap());
    for client in [&kept, &banned] {
        assert_eq!(query(client, "SELECT 1").await.status, 200);
    }
    let watch = watch(&sandbox).await;
    until_sessions(&watch, 2).await;
    let request =
        v1::RevokeEdgeRequest { idempotency_key: idempotency_key(), id: "edge-2".into(), reason: "stolen".into() };
    EdgesClient::new(sandbox.admin.channel()).revoke(request).await.unwrap();

    wait_for("the ban", || async { query(&banned, "SELECT 1").await.status != 200 }).await.unwrap();
    assert_eq!(query(&banned, "SELECT 1").await.status, 503);
    let report = ready(&banned, &sandbox.edges[1]).await;
    assert_eq!((report.status.as_u16(), &report.body["reasons"][0]["reason"]), (503, &json!("banned")), "{report:?}");
    assert_eq!(report.body["revision"], json!(null));
    // Its connections to the database have gone with its memory.
    until_sessions(&watch, 1).await;
    assert_eq!(query(&kept, "SELECT 1").await.status, 200);
    assert_eq!(ready(&kept, &sandbox.edges[0]).await.status, 200);

    // Its certificate lets it in no more, and its name is not given again.
    sandbox.edges[1].stop().await.unwrap();
    // It takes seconds to stop; somebody else may have its port by then.
    sandbox.edges[1].config_mut().listen.set_port(0);
    sandbox.edges[1].resume().await.unwrap();
    wait_for("the ban after a restart", || async {
        ready(&banned, &sandbox.edges[1]).await.body["reasons"][0]["reason"] == json!("banned")
    })
    .await
    .unwrap();
    assert!(sandbox.admin.join_token("edge-2").await.is_err());
    assert_eq!(query(&kept, "SELECT 1").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_edge_takes_a_new_certificate() {
    let mut sandbox = Sandbox::with_edges(1).await.unwrap();
    let (_, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    sandbox.edges[0].stop().await.unwrap();
    let Transport::Https { look_every, .. } = &mut sandbox.edges[0].config_mut().transport else { panic!("HTTPS") };
    *look_every = Duration::from_millis(20);
    sandbox.edges[0].resume().await.unwrap();
    sandbox.edges[0].ready().await.unwrap();
    let before = sandbox.client(0, &secret).unwrap();
    assert_eq!(query(&before, "SELECT 1").await.status, 200);

    // Under another authority, which only the second client trusts.
    let folder = sandbox.folder().join("renewed");
    std::fs::create_dir(&folder).unwrap();
    let renewed = WebCertificate::make(&folder).unwrap();
    std::fs::rename(&renewed.chain, &sandbox.web.chain).unwrap();
    std::fs::rename(&renewed.key, &sandbox.web.key).unwrap();
    let after = McpClient::new(&sandbox.edges[0].mcp_url(), &renewed.ca, Some(secret)).unwrap();
    let address = sandbox.edges[0].address();
    let livez = || axum::http::Request::get(format!("https://{address}/livez")).body(Default::default()).unwrap();
    wait_for("the new certificate", || async { after.send(livez()).await.is_ok() }).await.unwrap();
    assert_eq!(query(&after, "SELECT 1").await.status, 200);
    assert_eq!(query(&before, "SELECT 1").await.status, 200, "its connection was made before");
    let report = ready(&after, &sandbox.edges[0]).await.body;
    assert!(report["certificate"]["days_left"].as_i64().unwrap() > 30, "{report}");
    assert!(report["certificate"]["expires_at"].is_string(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_tested_through_every_edge() {
    let sandbox = Sandbox::start().await.unwrap();
    watch(&sandbox)
        .await
        .batch_execute("CREATE ROLE shop_admin LOGIN PASSWORD 'owner secret' IN ROLE shop_owner")
        .await
        .unwrap();
    let probe = async || {
        sandbox.settled().await.unwrap();
        let request = v1::TestDatabaseRequest { name: sample::DATABASE.into(), edge_id: String::new() };
        let answer = DatabasesClient::new(sandbox.admin.channel()).test(request).await.unwrap().into_inner();
        let mut edges: Vec<_> = answer.edges.into_iter().map(|edge| (edge.edge_id, edge.result.unwrap())).collect();
        edges.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!([edges[0].0.as_str(), edges[1].0.as_str()], ["edge-1", "edge-2"]);
        edges.into_iter().map(|(_, result)| result).collect::<Vec<_>>()
    };
    for result in probe().await {
        assert!(result.ok && result.error.is_empty(), "{result:?}");
        assert!(result.warnings.is_empty(), "{:?}", result.warnings);
        assert!(result.tls.starts_with("TLSv1.3") && result.tls.contains("verify-full"), "{}", result.tls);
        assert!(!result.server_version.is_empty());
    }
    let owner = nla_domain::secret::Secret::new("owner secret");
    sandbox.admin.set_credential(sample::DATABASE, "shop_admin", &owner).await.unwrap();
    for result in probe().await {
        assert!(result.ok, "{result:?}");
        assert!(result.warnings.iter().any(|warning| warning.contains("may write to")), "{:?}", result.warnings);
    }
    let wrong = nla_domain::secret::Secret::new("another secret");
    sandbox.admin.set_credential(sample::DATABASE, "shop_admin", &wrong).await.unwrap();
    for result in probe().await {
        assert!(!result.ok);
        assert_eq!(result.stage, "authenticate");
        assert!(!result.error.is_empty() && !result.error.contains("another secret"), "{}", result.error);
    }
}
