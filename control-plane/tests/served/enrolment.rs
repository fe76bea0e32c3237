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
    let request =
        v1::CreateJoinTokenRequest { idempotency_key: once(), edge_id: "e1".to_owned(), ..Default::default() };
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

async fn limited_to(plane: &Plane, networks: &[&str]) -> Result<String, tonic::Status> {
    let request = v1::CreateJoinTokenRequest {
        idempotency_key: once(),
        edge_id: "e1".to_owned(),
        allowed_cidrs: networks.iter().map(|net| (*net).to_owned()).collect(),
        ..Default::default()
    };
    let mut edges = v1::edges_client::EdgesClient::new(plane.admin_channel());
    Ok(edges.create_join_token(request).await?.into_inner().join_token)
}

#[tokio::test]
async fn a_join_token_of_other_networks_is_refused_and_not_used_up() {
    let mut plane = Plane::start().await;
    let elsewhere = limited_to(&plane, &["192.0.2.0/24", "2001:db8::/32"]).await.unwrap();
    for _ in 0..2 {
        let failure = Failure::from_status(&plane.join(&elsewhere).await.err().unwrap());
        assert_eq!((failure.kind, failure.field.as_deref()), (ErrorKind::AddressRefused, Some("join_token")));
        assert!(failure.message.contains("127.0.0.1"), "not used before, but from elsewhere: {failure}");
    }
    let reasons = plane.refusals("/nla.v1.Enrolment/Join", 2).await;
    assert!(reasons.len() == 2 && reasons.iter().all(|reason| reason.contains("edge e1")), "{reasons:?}");
    // The limit is stored, not remembered.
    plane.restart().await;
    assert!(plane.join(&elsewhere).await.is_err());
    let own = limited_to(&plane, &["192.0.2.0/24", "127.0.0.0/8"]).await.unwrap();
    plane.join(&own).await.unwrap();
    // An address alone, and IPv4 in IPv6's form.
    for networks in [["127.0.0.1"], ["::ffff:127.0.0.0/104"]] {
        let token = limited_to(&plane, &networks).await.unwrap();
        plane.join(&token).await.unwrap_or_else(|error| panic!("{networks:?}: {error}"));
    }
    for bad in [vec!["127.0.0.0/40"], vec!["here"], vec!["10.0.0.0/8"; 21]] {
        let failure = Failure::from_status(&limited_to(&plane, &bad).await.unwrap_err());
        assert_eq!(failure.kind, ErrorKind::InvalidArgument, "{bad:?}");
        assert!(failure.field.unwrap().starts_with("allowed_cidrs"));
    }
}

#[tokio::test]
async fn an_ipv4_client_of_a_dual_stack_listener_is_an_ipv4_client() {
    let plane = Plane::listening_on("[::]:0").await;
    let token = limited_to(&plane, &["127.0.0.0/8"]).await.unwrap();
    plane.join(&token).await.expect("::ffff:127.0.0.1 is 127.0.0.1");
}

#[tokio::test]
async fn names_in_a_request_for_a_certificate_count_for_nothing() {
    let plane = Plane::start().await;
    let join_token = plane.join_token("e1").await;
    let pin = JoinToken::parse(&join_token).unwrap().ca_pin();
    let channel = channel(&format!("https://{}", plane.enrolment), &ClientTls::pinned(pin).unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wish = rcgen::CertificateParams::new(vec!["control-plane.example".to_owned()]).unwrap();
    wish.distinguished_name.push(rcgen::DnType::CommonName, "admin");
    let operator = "spiffe://nla.local/operator/admin".try_into().unwrap();
    wish.subject_alt_names.push(rcgen::SanType::URI(operator));
    let csr_pem = wish.serialize_request(&key).unwrap().pem().unwrap();
    let joined =
        EnrolmentClient::new(channel).join(v1::JoinRequest { join_token, csr_pem }).await.unwrap().into_inner();
    let chain = joined.certificate.unwrap().chain_pem;
    let (_, pem) = x509_parser::pem::parse_x509_pem(chain.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.clone();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].to_string().contains("/edge/e1"), "{names:?}");
    assert!(!certificate.subject().to_string().contains("admin"), "{}", certificate.subject());
}
