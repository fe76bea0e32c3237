//! What the audit log is told of the end of tokens: once each.

use std::time::Duration;

use nla_proto::v1::{self, audit_client::AuditClient, tokens_client::TokensClient};
use tokio::time::timeout;

use crate::plane::{DEADLINE, Plane, once, token_request};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Actions of the control plane itself about tokens, oldest first.
async fn notices(plane: &Plane) -> Vec<(String, String)> {
    let request = v1::ListAuditRequest { page_size: 1_000, ..Default::default() };
    let listed = AuditClient::new(plane.admin_channel()).list(request).await.unwrap().into_inner();
    let events = listed.events.into_iter().rev().filter_map(|event| match event.event {
        Some(v1::audit_event::Event::Admin(event)) if event.action.starts_with("token.") => Some(event),
        _ => None,
    });
    events
        .map(|event| {
            assert_eq!(event.actor, "control-plane");
            let said = event.reason.split(", at").next().unwrap().split(" at ").next().unwrap().to_owned();
            (event.object.trim_start_matches("token/").to_owned(), format!("{}: {said}", event.action))
        })
        .collect()
}

/// Waits until so many were said.
async fn until(plane: &Plane, count: usize) -> Vec<(String, String)> {
    let waited = timeout(DEADLINE, async {
        loop {
            // The task looks when anything changes.
            plane.join_token(&format!("e{count}")).await;
            let found = notices(plane).await;
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    waited.await.expect("too few notices")
}

#[tokio::test]
async fn the_end_is_announced_once_each() {
    let plane = Plane::start().await;
    plane.shop().await;
    let long = plane.token().await.token.unwrap().id;
    let mut tokens = TokensClient::new(plane.admin_channel());
    let lifetime = Some(prost_types::Duration { seconds: 80 * 24 * 3600, nanos: 0 });
    let request = v1::CreateTokenRequest { lifetime, ..token_request() };
    let rotated = tokens.create(request).await.unwrap().into_inner().token.unwrap().id;
    let overlap = Some(prost_types::Duration { seconds: 20 * 24 * 3600, nanos: 0 });
    let rotate = v1::RotateTokenRequest { idempotency_key: once(), id: rotated.clone(), overlap, ..Default::default() };
    let successor = tokens.rotate(rotate).await.unwrap().into_inner().token.unwrap().id;

    // Day 61: the long one and the successor have 29 days left; the rotated
    // one has ended and was never announced.
    plane.clock.advance(DAY * 61);
    let mut expected = vec![
        (long.clone(), "token.expiring: it ends within 30 days".to_owned()),
        (successor.clone(), "token.expiring: it ends within 30 days".to_owned()),
        (rotated, "token.expired: it has ended".to_owned()),
    ];
    let mut found = until(&plane, 3).await;
    found.sort();
    expected.sort();
    assert_eq!(found, expected);

    // What is nearest by then is said, not all that lies between.
    plane.clock.advance(DAY * 28 + DAY / 2);
    let found = until(&plane, 5).await;
    let mut new: Vec<_> = found[3..].to_vec();
    new.sort();
    let mut nearest: Vec<_> =
        [&long, &successor].map(|id| (id.clone(), "token.expiring: it ends within a day".to_owned())).to_vec();
    nearest.sort();
    assert_eq!(new, nearest);

    let revoke = v1::RevokeTokenRequest { idempotency_key: once(), ids: vec![successor], ..Default::default() };
    TokensClient::new(plane.admin_channel()).revoke(revoke).await.unwrap();
    plane.clock.advance(DAY);
    let found = until(&plane, 6).await;
    assert_eq!(found[5], (long, "token.expired: it has ended".to_owned()));
    // Two looks later nothing has been said again.
    plane.join_token("e7").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(notices(&plane).await.len(), 6);
}
