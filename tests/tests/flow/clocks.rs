//! Machines whose clocks differ: a token ends by the later one, and operators see
//! by how much they are off.

use std::{sync::Arc, time::Duration};

use nla_domain::clock::{FixedClock, SystemClock, WallClock as _};
use nla_proto::v1::{self, edges_client::EdgesClient};
use nla_sandbox::system::{Sandbox, wait_for};

use super::calls::{query, token};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_on_an_edge_whose_clock_is_slow() {
    let mut sandbox = Sandbox::with_edges(1).await.unwrap();
    sandbox.control_plane.stop().await.unwrap();
    let ahead = Arc::new(FixedClock::at(SystemClock.now().plus(10 * MINUTE)));
    sandbox.control_plane.set_clock(ahead.clone());
    sandbox.control_plane.resume().await.unwrap();
    let (_, short) = token(&sandbox, &["analyst"], |request| {
        request.lifetime = Some(nla_proto::convert::duration(5 * MINUTE));
    })
    .await;
    let (_, long) = token(&sandbox, &["analyst"], |_| ()).await;
    let (short, long) = (sandbox.client(0, &short).unwrap(), sandbox.client(0, &long).unwrap());
    assert_eq!(query(&short, "SELECT 1").await.status, 200);

    // Nine minutes before its end by the edge's own clock.
    ahead.advance(6 * MINUTE);
    wait_for("the end of the token", || async { query(&short, "SELECT 1").await.status == 401 }).await.unwrap();
    assert_eq!(query(&long, "SELECT 1").await.status, 200);

    wait_for("the edge's report", || async {
        let mut edges = EdgesClient::new(sandbox.admin.channel());
        let listed = edges.list(v1::ListEdgesRequest {}).await.unwrap().into_inner();
        let lead = listed.edges[0].usage.as_ref().and_then(|usage| usage.clock_lead_ms);
        lead.is_some_and(|lead| (-16 * 60_000..-14 * 60_000).contains(&lead))
    })
    .await
    .unwrap();
}
