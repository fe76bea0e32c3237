//! Authorities and keys replaced under load, with a control plane that is
//! killed in the middle of each: no call fails, and after the restart each is
//! completed.

use std::{collections::BTreeSet, path::Path, time::Duration};

use nla_domain::secret::Secret;
use nla_proto::v1;
use nla_sandbox::{
    mcp::McpClient,
    sample::{self, Sample},
    system::{Admin, Edge, WebCertificate, analyst, sample_database, wait_for},
};
use nla_tests::traffic::{SELECT_1, Traffic};
use serde_json::{Value, json};

use nla_tests::programs::{
    plane::Plane,
    process::{Running, until},
};

/// Between two calls of one client: below the limit of calls per address.
const PACE: Duration = Duration::from_millis(20);
const CLIENTS_EACH: usize = 2;

async fn token(admin: &Admin, edges: &[Edge]) -> (String, Secret) {
    let request = v1::CreateTokenRequest {
        owner: "tests@example.com".into(),
        purpose: "rotations".into(),
        roles: vec!["analyst".into()],
        limits: Some(v1::TokenLimits { calls_per_second: 10_000, burst: 10_000, concurrent_calls: 100 }),
        ..Default::default()
    };
    let (view, secret) = admin.create_token(request).await.unwrap();
    let revision = admin.revision().await.unwrap();
    for edge in edges {
        edge.holds(revision).await.unwrap();
    }
    (view.id, secret)
}

fn json_of(plane: &Plane, words: &[&str]) -> Value {
    let out = plane.run(&[words, &["--output", "json"]].concat());
    serde_json::from_str(&out).unwrap()
}

fn phase(plane: &Plane) -> String {
    json_of(plane, &["ca", "status"])["phase"].as_str().unwrap().to_owned()
}

/// Asks, and kills the control plane a moment later: the request may not have
/// arrived, may be half done or done.
fn interrupted(plane: &mut Plane, words: &[&str], after: Duration) {
    let folder = plane.folder().to_owned();
    let mut asking = Running::start(&mut plane.nlactl(words), &folder, "interrupted");
    std::thread::sleep(after);
    plane.kill();
    asking.wait();
    plane.start();
}

/// One phase of the authority, asked for until it is there.
async fn into_phase(plane: &mut Plane, traffic: &Traffic, words: &[&str], wanted: &str) {
    let mut interruptions = 0;
    for after in [20, 80, 200] {
        if phase(plane) == wanted {
            break;
        }
        interrupted(plane, words, Duration::from_millis(after));
        interruptions += 1;
        traffic.goes_on(20).await;
    }
    if phase(plane) != wanted {
        plane.run(words);
    }
    assert_eq!(phase(plane), wanted, "{words:?} after {interruptions} interruptions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_complete_under_load_over_kills() {
    let sample = sample::start_temporary().await.unwrap();
    let (mut plane, _) = Plane::init();
    plane.start();
    let admin = Admin::connect(&plane.operator_dir()).await.unwrap();
    admin.create_database(sample_database(&sample.postgres).unwrap()).await.unwrap();
    let Sample { database, reader, reader_password } = &sample.sample;
    admin.set_credential(database, reader, reader_password).await.unwrap();
    admin.create_role(analyst("analyst", &[database])).await.unwrap();
    let web = WebCertificate::make(plane.folder()).unwrap();
    let urls = [plane.port, plane.enrolment_port].map(|port| format!("https://127.0.0.1:{port}"));
    let mut edges = Vec::new();
    for id in ["e1", "e2"] {
        let join = admin.join_token(id).await.unwrap();
        edges.push(Edge::start_at(id, &plane.folder().join(id), urls.clone(), &web, join).await.unwrap());
    }
    let (id, secret) = token(&admin, &edges).await;
    let client = |edge: &Edge, secret: &Secret| {
        McpClient::new(&edge.mcp_url(), Path::new(&web.ca), Some(secret.clone())).unwrap()
    };
    let clients = edges.iter().flat_map(|edge| (0..CLIENTS_EACH).map(|_| client(edge, &secret)));
    let traffic = Traffic::start(clients.collect::<Vec<_>>(), PACE, SELECT_1);
    traffic.goes_on(50).await;

    into_phase(&mut plane, &traffic, &["ca", "prepare"], "prepared").await;
    let ready = |plane: &Plane| json_of(plane, &["ca", "status"])["edges_waiting"].as_array().unwrap().is_empty();
    until("the edges' trust", || ready(&plane));
    // Killed again, they have to confirm again; until then it is refused.
    for _ in 0..20 {
        until("the edges' trust", || ready(&plane));
        into_phase_or_wait(&mut plane, &traffic).await;
        if phase(&plane) == "activated" {
            break;
        }
    }
    assert_eq!(phase(&plane), "activated");
    // The operator knows nothing of it and is served; the edges renew by themselves.
    until("the edges' renewal", || {
        let status = json_of(&plane, &["ca", "status"]);
        let held = status["held_certificates"].as_array().unwrap();
        held.iter().all(|held| held["holder"] == "operator/ada")
    });
    plane.run(&["operator", "renew"]);
    into_phase(&mut plane, &traffic, &["ca", "retire", "--yes"], "steady").await;
    assert_eq!(json_of(&plane, &["ca", "status"])["authorities"].as_array().unwrap().len(), 1);
    traffic.goes_on(100).await;

    // Data keys: killed as soon as it is asked for, and once more on the way.
    interrupted(&mut plane, &["key", "rotate", "data", "--yes"], Duration::from_millis(60));
    if json_of(&plane, &["key", "status"])["data"]["rotated_at"].is_null() {
        plane.run(&["key", "rotate", "data", "--yes"]);
    }
    plane.kill();
    plane.start();
    until("the end of the data keys' rotation", || {
        json_of(&plane, &["key", "status"])["data"]["generations"] == json!([2])
    });
    traffic.goes_on(50).await;

    interrupted(&mut plane, &["key", "rotate", "kek", "--yes"], Duration::from_millis(60));
    if json_of(&plane, &["key", "status"])["kek"]["rotated_at"].is_null() {
        plane.run(&["key", "rotate", "kek", "--yes"]);
    }
    until("the end of the key-encryption key's rotation", || {
        let kek = &json_of(&plane, &["key", "status"])["kek"];
        kek["generation"] == 2 && kek["pending"].is_null()
    });
    plane.kill();
    plane.start();

    interrupted(&mut plane, &["key", "rotate", "pepper", "--yes"], Duration::from_millis(60));
    if json_of(&plane, &["key", "status"])["peppers"].as_array().unwrap().len() < 2 {
        plane.run(&["key", "rotate", "pepper", "--yes"]);
    }
    let admin = Admin::connect(&plane.operator_dir()).await.unwrap();
    let (_, fresh) = token(&admin, &edges).await;
    for edge in &edges {
        assert_eq!(client(edge, &fresh).query("SELECT 1").await.unwrap()["rows"], json!([[1]]), "the new pepper");
    }
    traffic.goes_on(50).await;

    let answered: BTreeSet<String> = traffic.end().await.into_iter().collect();
    wait_for("all audit events", || async { admin.calls(&id).await.unwrap().len() >= answered.len() }).await.unwrap();
    let recorded = admin.calls(&id).await.unwrap();
    assert_eq!(recorded.len(), answered.len(), "events were lost or stored twice");
    println!("{} calls answered and recorded once each over rotations and kills", answered.len());
    drop(edges);
    plane.stop();
}

async fn into_phase_or_wait(plane: &mut Plane, traffic: &Traffic) {
    interrupted(plane, &["ca", "activate", "--yes"], Duration::from_millis(60));
    traffic.goes_on(20).await;
}
