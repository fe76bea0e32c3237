//! An edge that has lost its control plane refuses strict tokens after their
//! bound, standard ones much later; both are served again when it is back.

use std::time::Duration;

use nla_proto::v1;
use nla_sandbox::system::{Sandbox, wait_for};
use serde_json::json;

use super::calls::{query, token};

/// Three heartbeats.
const BOUND: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_edge_refuses_strict_tokens() {
    let mut sandbox = Sandbox::start().await.unwrap();
    sandbox.control_plane.stop().await.unwrap();
    sandbox.control_plane.config_mut().staleness.strict = BOUND;
    sandbox.control_plane.resume().await.unwrap();
    let (_, strict) = token(&sandbox, &["analyst"], |request| request.staleness = v1::Staleness::Strict.into()).await;
    let (_, standard) = token(&sandbox, &["analyst"], |_| ()).await;
    let clients: Vec<_> =
        (0..2).map(|edge| (sandbox.client(edge, &strict).unwrap(), sandbox.client(edge, &standard).unwrap())).collect();
    for (strict, _) in &clients {
        wait_for("a fresh edge", || async { query(strict, "SELECT 1").await.status == 200 }).await.unwrap();
    }

    sandbox.control_plane.stop().await.unwrap();
    for (strict, standard) in &clients {
        wait_for("staleness", || async { query(strict, "SELECT 1").await.status != 200 }).await.unwrap();
        let refused = query(strict, "SELECT 1").await;
        assert_eq!((refused.status.as_u16(), &refused.body["error"]["data"]["code"]), (503, &json!("stale")));
        assert_eq!(refused.headers["retry-after"], "5");
        assert!(refused.headers.get("www-authenticate").is_none());
        assert_eq!(query(standard, "SELECT 1").await.status, 200);
    }

    sandbox.control_plane.resume().await.unwrap();
    for (strict, standard) in &clients {
        wait_for("a fresh edge", || async { query(strict, "SELECT 1").await.status == 200 }).await.unwrap();
        assert_eq!(query(standard, "SELECT 1").await.status, 200);
    }
}
