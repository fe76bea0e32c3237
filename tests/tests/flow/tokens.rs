//! The life of a token on the edges: both work while a rotation overlaps, the
//! old one ends by itself, a change of its addresses counts at once, and its
//! last use is known soon and for good.

use std::time::{Duration, Instant};

use nla_domain::secret::Secret;
use nla_proto::v1::{self, tokens_client::TokensClient};
use nla_sandbox::system::{Sandbox, idempotency_key, wait_for};

use super::calls::{query, token};

async fn get(sandbox: &Sandbox, id: &str) -> v1::TokenView {
    let request = v1::GetTokenRequest { id: id.into() };
    TokensClient::new(sandbox.admin.channel()).get(request).await.unwrap().into_inner()
}

/// HTTP status of a query on each edge.
async fn statuses(sandbox: &Sandbox, secret: &Secret) -> [u16; 2] {
    let mut found = [0; 2];
    for (edge, status) in found.iter_mut().enumerate() {
        *status = query(&sandbox.client(edge, secret).unwrap(), "SELECT 1").await.status.as_u16();
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_overlaps_and_the_old_token_ends_by_itself() {
    const OVERLAP: Duration = Duration::from_secs(8);
    let sandbox = Sandbox::start().await.unwrap();
    let (id, old) = token(&sandbox, &["analyst"], |_| ()).await;
    let request = v1::RotateTokenRequest {
        idempotency_key: idempotency_key(),
        id: id.clone(),
        overlap: Some(nla_proto::convert::duration(OVERLAP)),
        ..Default::default()
    };
    let rotated = TokensClient::new(sandbox.admin.channel()).rotate(request).await.unwrap().into_inner();
    let began = Instant::now();
    let new = Secret::new(rotated.token_text);
    sandbox.settled().await.unwrap();
    assert_eq!((statuses(&sandbox, &old).await, statuses(&sandbox, &new).await), ([200; 2], [200; 2]));
    assert!(began.elapsed() < OVERLAP, "too slow to tell anything");
    wait_for("the end of the old token", || async { statuses(&sandbox, &old).await == [401; 2] }).await.unwrap();
    assert!(began.elapsed() >= OVERLAP - Duration::from_secs(1), "it ended before its overlap did");
    assert_eq!(statuses(&sandbox, &new).await, [200; 2]);
    assert_eq!(get(&sandbox, &id).await.revoked_at, None, "nobody has revoked it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_addresses_counts_without_a_new_token() {
    let sandbox = Sandbox::start().await.unwrap();
    let (id, secret) = token(&sandbox, &["analyst"], |request| {
        request.allowed_cidrs = vec!["127.0.0.1/32".into()];
    })
    .await;
    assert_eq!(statuses(&sandbox, &secret).await, [200; 2]);
    for (cidrs, expected) in [
        (&["10.0.0.0/8", "2001:db8::/32"][..], 403),
        (&["::/0"], 403),
        (&["::ffff:127.0.0.0/104"], 200),
        (&["10.0.0.0/8", "127.0.0.0/8"], 200),
        (&["0.0.0.0/1"], 200),
        (&["128.0.0.0/1"], 403),
        (&[], 200),
    ] {
        let request = v1::UpdateTokenRequest {
            idempotency_key: idempotency_key(),
            id: id.clone(),
            expected_revision: get(&sandbox, &id).await.meta.unwrap().revision,
            allowed_cidrs: Some(v1::AddressRanges { cidrs: cidrs.iter().map(|cidr| (*cidr).into()).collect() }),
            ..Default::default()
        };
        TokensClient::new(sandbox.admin.channel()).update(request).await.unwrap();
        sandbox.settled().await.unwrap();
        assert_eq!(statuses(&sandbox, &secret).await, [expected; 2], "{cidrs:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_use_is_known_soon_and_outlives_the_control_plane() {
    let mut sandbox = Sandbox::start().await.unwrap();
    let (id, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    let (unused, wrong) = token(&sandbox, &["analyst"], |_| ()).await;
    assert_eq!(get(&sandbox, &id).await.last_use, None);
    for edge in [0, 1, 1] {
        assert_eq!(query(&sandbox.client(edge, &secret).unwrap(), "SELECT 1").await.status, 200);
    }
    // A guess at another token's secret is no use of it.
    let mut guess = wrong.expose().to_owned();
    guess.replace_range(20..21, if &guess[20..21] == "a" { "b" } else { "a" });
    assert_eq!(query(&sandbox.client(0, &Secret::new(guess)).unwrap(), "SELECT 1").await.status, 401);
    let began = Instant::now();
    let all = || async { get(&sandbox, &id).await.last_use.is_some_and(|used| used.calls == 3) };
    wait_for("the report of three calls", all).await.unwrap();
    println!("known after {:.1} s", began.elapsed().as_secs_f64());
    assert!(began.elapsed() < Duration::from_secs(60));
    let used = get(&sandbox, &id).await.last_use.unwrap();
    assert_eq!((used.edge_id.as_str(), used.client_address.as_str()), ("edge-2", "127.0.0.1"));

    sandbox.control_plane.stop().await.unwrap();
    sandbox.control_plane.resume().await.unwrap();
    let back = || async { sandbox.admin.revision().await.is_ok() };
    wait_for("the control plane", back).await.unwrap();
    assert_eq!(get(&sandbox, &id).await.last_use, Some(used));
    assert_eq!(get(&sandbox, &unused).await.last_use, None);
}
