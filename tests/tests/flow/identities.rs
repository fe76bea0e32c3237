//! What the certificates of edges open, and when that ends.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nla_domain::clock::{FixedClock, SystemClock, Timestamp, WallClock as _};
use nla_proto::v1::{self, edges_client::EdgesClient};
use nla_sandbox::{
    mcp::McpClient,
    system::{Admin, ControlPlane, Edge, Sandbox, WebCertificate, wait_for},
};

use super::{
    calls::{query, token},
    edges::ready,
};

const HOUR: Duration = Duration::from_secs(3600);

/// The address of the edge's connection and the end of its newest certificate.
async fn listed(admin: &Admin) -> (Option<String>, Timestamp) {
    let listed = EdgesClient::new(admin.channel()).list(v1::ListEdgesRequest {}).await.unwrap().into_inner();
    let edge = &listed.edges[0];
    let end = nla_proto::convert::from_timestamp("end", &edge.certificate_expires_at.unwrap()).unwrap();
    (edge.connected.then(|| edge.address.clone()), end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_used_before_the_old_one_ends() {
    let folder = tempfile::tempdir().unwrap();
    // What is issued now has nine hours left of its day: time to renew.
    let past = SystemClock.now().since(Timestamp::from_micros(0)) - 15 * HOUR;
    let clock = Arc::new(FixedClock::at(Timestamp::from_micros(0).plus(past)));
    let control_plane = ControlPlane::start_with_clock(folder.path(), clock.clone()).await.unwrap();
    let admin = Admin::connect(control_plane.operator_dir()).await.unwrap();
    let web = WebCertificate::make(folder.path()).unwrap();
    let join = admin.join_token("edge-1").await.unwrap();
    let at: &Path = &folder.path().join("edge-1");
    let mut edge = Edge::start("edge-1", at, &control_plane, &web, join).await.unwrap();
    let (first, joined_until) = listed(&admin).await;

    clock.advance(15 * HOUR);
    wait_for("a renewal, and a stream with the new certificate", || async {
        let (address, until) = listed(&admin).await;
        until > joined_until && address.is_some() && address != first
    })
    .await
    .unwrap();
    let (second, renewed_until) = listed(&admin).await;

    // The first certificate has ended; its holder does not notice.
    clock.advance(10 * HOUR);
    assert!(joined_until < clock.now() && clock.now() < renewed_until);
    let heartbeats = 2 * Duration::from_secs(1);
    tokio::time::sleep(heartbeats).await;
    assert_eq!(listed(&admin).await.0, second, "the stream goes on");
    edge.ready().await.unwrap();

    // The second one has ended, too, and by the edge's own clock it is fresh.
    clock.advance(15 * HOUR);
    wait_for("the end of the stream", || async { listed(&admin).await.0.is_none() }).await.unwrap();
}

fn token_file(folder: &Path) -> PathBuf {
    folder.join("join-token")
}

async fn put_join_token(admin: &Admin, id: &str, folder: &Path) {
    let join = admin.join_token(id).await.unwrap();
    std::fs::remove_file(token_file(folder)).unwrap();
    nla_proto::files::write_private(&token_file(folder), join.expose().as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_whose_certificate_has_ended_waits_and_takes_a_join_token() {
    let folder = tempfile::tempdir().unwrap();
    // What is issued now, first or renewed, ends in a moment by everybody else's clock.
    let left = Duration::from_secs(20);
    let past = SystemClock.now().since(Timestamp::from_micros(0)) - (24 * HOUR - left);
    let clock = Arc::new(FixedClock::at(Timestamp::from_micros(0).plus(past)));
    let control_plane = ControlPlane::start_with_clock(folder.path(), clock.clone()).await.unwrap();
    let admin = Admin::connect(control_plane.operator_dir()).await.unwrap();
    let web = WebCertificate::make(folder.path()).unwrap();
    let at: &Path = &folder.path().join("edge-1");
    let join = admin.join_token("edge-1").await.unwrap();
    let mut edge = Edge::start("edge-1", at, &control_plane, &web, join).await.unwrap();
    let (identity, ended) = (at.join("state").join("identity.json"), folder.path().join("ended.json"));
    std::fs::copy(&identity, &ended).unwrap();
    let client = McpClient::new(&edge.mcp_url(), &web.ca, None).unwrap();
    let waits = async |edge: &Edge, reason: &str| {
        wait_for(reason, || async {
            let report = ready(&client, edge).await;
            let found = &report.body["reasons"][0];
            let told = found["message"].as_str().is_some_and(|text| text.contains("nlactl edge join-token edge-1"));
            report.status == 503 && found["reason"] == reason && told
        })
        .await
        .unwrap();
    };
    // While it runs.
    waits(&edge, "certificate_expired").await;
    clock.advance(23 * HOUR);
    put_join_token(&admin, "edge-1", at).await;
    wait_for("readiness", || async { ready(&client, &edge).await.status == 200 }).await.unwrap();

    // When it starts.
    edge.stop().await.unwrap();
    std::fs::rename(&ended, &identity).unwrap();
    std::fs::write(token_file(at), "").unwrap();
    edge.resume().await.unwrap();
    waits(&edge, "join_token_needed").await;
    put_join_token(&admin, "edge-1", at).await;
    wait_for("readiness", || async { ready(&client, &edge).await.status == 200 }).await.unwrap();
    wait_for("a stream", || async { listed(&admin).await.0.is_some() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_is_not_known_serves_on_and_joins_again() {
    let mut sandbox = Sandbox::with_edges(1).await.unwrap();
    let (_, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    sandbox.control_plane.stop().await.unwrap();
    let data = sandbox.control_plane.config_mut().data_dir.clone();
    let copy = data.with_file_name("copy");
    copy_folder(&data, &copy);
    sandbox.control_plane.resume().await.unwrap();
    let edge_2 = sandbox.add_edge("edge-2").await.unwrap().address();
    let client = sandbox.client(1, &secret).unwrap();
    assert_eq!(query(&client, "SELECT 1").await.status, 200);

    // An old copy of the store, which does not know the edge.
    sandbox.control_plane.stop().await.unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&copy, &data).unwrap();
    sandbox.control_plane.resume().await.unwrap();
    let unknown = v1::AuditFilter { kind: "admin".into(), outcome: v1::Outcome::Refused.into(), ..Default::default() };
    wait_for("the edge to be refused", || async {
        let refused = sandbox.admin.audit(unknown.clone()).await.unwrap();
        refused.iter().any(|event| format!("{event:?}").contains("not enrolled"))
    })
    .await
    .unwrap();
    assert_eq!(query(&client, "SELECT 1").await.status, 200, "nobody has banned it");
    assert_eq!(ready(&client, &sandbox.edges[1]).await.status, 200);

    // The copy is behind what the edge holds; changes bring it level.
    for _ in 0..10 {
        sandbox.admin.join_token("edge-3").await.unwrap();
    }
    put_join_token(&sandbox.admin, "edge-2", &sandbox.folder().join("edge-2")).await;
    wait_for("the edge to follow again", || async {
        let edges = EdgesClient::new(sandbox.admin.channel()).list(v1::ListEdgesRequest {}).await.unwrap().into_inner();
        edges.edges.iter().any(|edge| edge.id == "edge-2" && edge.connected && edge.acknowledged_revision > 0)
    })
    .await
    .unwrap();
    assert_eq!(query(&client, "SELECT 1").await.status, 200);
    assert_eq!(sandbox.edges[1].address(), edge_2, "on the same process");
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
