//! How edges get in: once per join token, in time, with the right secret.

use std::time::Duration;

use nla_domain::error::ErrorKind;
use nla_domain::join::{CaPin, JoinToken};
use nla_proto::{
    failure::Failure,
    tls::client::{ClientTls, channel},
    v1::{self, enrolment_client::EnrolmentClient},
};
use tonic::Code;

use crate::plane::{Plane, key_and_csr, once};

#[tokio::test]
async fn a_join_token_lets_one_edge_in_even_when_many_race() {
    let plane = Plane::start().await;
    let join_token = plane.join_token("e1").await;
    let attempts = futures_util::future::join_all((0..8).map(|_| plane.join(&join_token))).await;
    assert_eq!(attempts.iter().filter(|joined| joined.is_ok()).count(), 1);
    let refused = attempts.into_iter().find_map(Result::err).unwrap();
    assert!(refused.message().contains("used before"), "{refused}");
}

#[tokio::test]
async fn a_join_token_ends_and_a_wrong_one_is_refused() {
    let plane = Plane::start().await;
    let join_token = plane.join_token("e1").await;
    plane.clock.advance(Duration::from_secs(601));
    let error = plane.join(&join_token).await.err().unwrap();
    assert!(error.message().contains("expired"), "{error}");
    assert_eq!(error.code(), Code::Unauthenticated);

    let pin = JoinToken::parse(&join_token).unwrap().ca_pin();
    let forged = JoinToken::generate(pin).unwrap().to_text();
    let error = plane.join(forged.expose()).await.err().unwrap();
    assert!(error.message().contains("not known"), "{error}");
    assert!(!error.message().contains(&forged.expose()[80..100]));

    // An edge that expects another authority never sends its secret.
    let other = JoinToken::generate(CaPin([7; 32])).unwrap().to_text();
    let failure = Failure::from_status(&plane.join(other.expose()).await.err().unwrap());
    assert_eq!(failure.kind, ErrorKind::Unavailable, "{failure}");
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_spends_nothing() {
    let plane = Plane::start().await;
    let join_token = plane.join_token("e1").await;
    let pin = JoinToken::parse(&join_token).unwrap().ca_pin();
    let channel = channel(&format!("https://{}", plane.enrolment), &ClientTls::pinned(pin).unwrap()).unwrap();
    let mut client = EnrolmentClient::new(channel);
    let request = v1::JoinRequest { join_token: join_token.clone(), csr_pem: "no".to_owned() };
    let failure = Failure::from_status(&client.join(request).await.unwrap_err());
    assert_eq!(failure.field.as_deref(), Some("csr_pem"));
    let request = v1::JoinRequest { join_token: "nlajoin_x".to_owned(), csr_pem: key_and_csr().1 };
    let failure = Failure::from_status(&client.join(request).await.unwrap_err());
    assert_eq!((failure.kind, failure.field.as_deref()), (ErrorKind::InvalidToken, Some("join_token")));
    plane.join(&join_token).await.unwrap();
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let plane = Plane::start().await;
    let join_token = plane.join_token("e1").await;
    let pin = JoinToken::parse(&join_token).unwrap().ca_pin();
    let channel = channel(&format!("https://{}", plane.enrolment), &ClientTls::pinned(pin).unwrap()).unwrap();
    let mut client = EnrolmentClient::new(channel);
    let mut limited = None;
    for _ in 0..100 {
        let request = v1::JoinRequest::default();
        let failure = Failure::from_status(&client.join(request).await.unwrap_err());
        if failure.kind == ErrorKind::RateLimited {
            limited = Some(failure);
            break;
        }
    }
    assert!(limited.is_some());
}

#[tokio::test]
async fn certificates_are_renewed_and_expire() {
    let plane = Plane::start().await;
    let edge = plane.edge("e1").await;
    let mut client = EnrolmentClient::new(plane.channel(&edge));
    let (_, csr_pem) = key_and_csr();
    let renewed = client.renew(v1::RenewRequest { csr_pem }).await.unwrap().into_inner().certificate.unwrap();
    assert!(renewed.chain_pem.contains("BEGIN CERTIFICATE"));
    // The connection outlives the certificate; the right to call does not.
    plane.clock.advance(Duration::from_secs(25 * 3600));
    let (_, csr_pem) = key_and_csr();
    let error = client.renew(v1::RenewRequest { csr_pem }).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    assert!(error.message().contains("expired"), "{error}");
}

#[tokio::test]
async fn an_edge_cannot_fill_the_log_with_renewals() {
    let plane = Plane::start().await;
    let edge = plane.edge("e1").await;
    let mut client = EnrolmentClient::new(plane.channel(&edge));
    let mut renewed = 0;
    let refusal = loop {
        let (_, csr_pem) = key_and_csr();
        match client.renew(v1::RenewRequest { csr_pem }).await {
            Ok(_) => renewed += 1,
            Err(status) => break Failure::from_status(&status),
        }
        assert!(renewed < 100);
    };
    assert_eq!(refusal.kind, ErrorKind::RateLimited, "{refusal}");
    assert!(renewed >= 2, "a lost answer must not keep an edge from renewing");
}

#[tokio::test]
async fn join_tokens_end_with_the_operator_who_made_them() {
    let plane = Plane::start().await;
    let mallory = plane.operator("mallory", v1::Level::Admin).await;
    let request = v1::CreateJoinTokenRequest { idempotency_key: once(), edge_id: "e1".to_owned(), lifetime: None };
    let mut edges = v1::edges_client::EdgesClient::new(plane.channel(&mallory));
    let hidden = edges.create_join_token(request).await.unwrap().into_inner().join_token;
    let other = plane.join_token("e2").await;
    let mut operators = v1::operators_client::OperatorsClient::new(plane.admin_channel());
    let request = v1::RevokeOperatorRequest { idempotency_key: once(), name: "mallory".to_owned() };
    operators.revoke(request).await.unwrap();
    let error = plane.join(&hidden).await.err().expect("the dismissed operator's join token still lets an edge in");
    assert!(error.message().contains("expired"), "{error}");
    plane.join(&other).await.unwrap();
}
