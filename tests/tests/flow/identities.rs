//! What the certificates of edges open, and when that ends.

use std::{path::Path, sync::Arc, time::Duration};

use nla_domain::clock::{FixedClock, SystemClock, Timestamp, WallClock as _};
use nla_proto::v1::{self, edges_client::EdgesClient};
use nla_sandbox::system::{Admin, ControlPlane, Edge, WebCertificate, wait_for};

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
