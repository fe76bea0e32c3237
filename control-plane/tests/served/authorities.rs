//! The certificate authority replaced in phases, and back.

use nla_proto::v1::{
    self, AuthorityPhase, authorities_client::AuthoritiesClient, edge_message, enrolment_client::EnrolmentClient,
    operators_client::OperatorsClient, system_client::SystemClient,
};
use tonic::{Code, Status};

use crate::plane::{Follower, Held, Party, Plane, key_and_csr, once};

fn client(plane: &Plane) -> AuthoritiesClient<tonic::transport::Channel> {
    AuthoritiesClient::new(plane.admin_channel())
}

async fn status(plane: &Plane, by: &Party) -> v1::AuthorityStatus {
    let mut client = AuthoritiesClient::new(plane.channel(by));
    client.status(v1::AuthorityStatusRequest {}).await.unwrap().into_inner()
}

async fn activate(plane: &Plane, force: bool) -> Result<v1::AuthorityStatus, Status> {
    let request = v1::ActivateAuthorityRequest { idempotency_key: once(), force };
    Ok(client(plane).activate(request).await?.into_inner())
}

async fn prepare(plane: &Plane) -> Result<v1::AuthorityStatus, Status> {
    Ok(client(plane).prepare(v1::PrepareAuthorityRequest { idempotency_key: once() }).await?.into_inner())
}

async fn retire(plane: &Plane, by: &Party, force: bool) -> Result<v1::AuthorityStatus, Status> {
    let request = v1::RetireAuthorityRequest { idempotency_key: once(), force };
    Ok(AuthoritiesClient::new(plane.channel(by)).retire(request).await?.into_inner())
}

async fn rollback(plane: &Plane, force: bool) -> Result<v1::AuthorityStatus, Status> {
    let request = v1::RollbackAuthorityRequest { idempotency_key: once(), force };
    Ok(client(plane).rollback(request).await?.into_inner())
}

async fn renew_edge(plane: &Plane, old: &Party) -> Result<Party, Status> {
    let (key_pem, csr_pem) = key_and_csr();
    let renewed = EnrolmentClient::new(plane.channel(old)).renew(v1::RenewRequest { csr_pem }).await?.into_inner();
    let certificate = renewed.certificate.unwrap();
    Ok(Party { certificate_pem: certificate.chain_pem, key_pem, ca_pem: certificate.ca_bundle_pem })
}

async fn renew_operator(plane: &Plane, old: &Party) -> Party {
    let (key_pem, csr_pem) = key_and_csr();
    let request = v1::RenewOperatorRequest { idempotency_key: once(), csr_pem };
    let renewed = OperatorsClient::new(plane.channel(old)).renew(request).await.unwrap().into_inner();
    let party = Party { certificate_pem: renewed.certificate_pem, key_pem, ca_pem: renewed.ca_bundle_pem };
    let request = v1::FinishRenewalRequest { idempotency_key: once() };
    OperatorsClient::new(plane.channel(&party)).finish_renewal(request).await.unwrap();
    party
}

async fn works(plane: &Plane, by: &Party) -> bool {
    SystemClient::new(plane.channel(by)).status(v1::StatusRequest {}).await.is_ok()
}

/// The listeners follow the store by a moment.
async fn eventually_refused(plane: &Plane, by: &Party) {
    for _ in 0..200 {
        if !works(plane, by).await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it is let in still");
}

/// Lets an edge confirm the newest state.
async fn confirm(plane: &Plane, edge: &Party) -> Follower {
    let mut follower = Follower::connect(plane.channel(edge), Held::default()).await.unwrap();
    follower.reach(plane.revision().await).await;
    for _ in 0..200 {
        if status(plane, &plane.admin()).await.edges_waiting.is_empty() {
            return follower;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the confirmation was not noted");
}

/// The one edge waits for that reason, and activation is refused.
async fn waits(plane: &Plane, reason: &str) {
    for _ in 0..200 {
        let waiting = status(plane, &plane.admin()).await.edges_waiting;
        if waiting.iter().map(|edge| edge.reason.as_str()).eq([reason]) {
            let refused = activate(plane, false).await.unwrap_err();
            assert!(refused.message().contains(reason), "{refused}");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("no edge waits because it {reason}");
}

fn authorities(pem: &str) -> usize {
    pem.matches("BEGIN CERTIFICATE").count()
}

fn holders(status: &v1::AuthorityStatus) -> Vec<&str> {
    status.held_certificates.iter().map(|held| held.holder.as_str()).collect()
}

#[tokio::test]
async fn an_authority_is_replaced_in_phases() {
    let mut plane = Plane::start().await;
    let (admin, edge) = (plane.admin(), plane.edge("e1").await);
    let steady = status(&plane, &admin).await;
    assert_eq!((steady.phase(), steady.authorities.len()), (AuthorityPhase::Steady, 1));
    assert_eq!(activate(&plane, true).await.unwrap_err().code(), Code::FailedPrecondition);

    let prepared = prepare(&plane).await.unwrap();
    assert_eq!((prepared.phase(), authorities(&prepared.ca_bundle_pem)), (AuthorityPhase::Prepared, 2));
    assert!(prepare(&plane).await.unwrap_err().message().contains("activate it, or roll back"));
    let refused = activate(&plane, false).await.unwrap_err();
    assert!(refused.message().contains("e1 (not connected)"), "{refused}");
    plane.restart().await;
    // Connected, and silent; then with a state that it could not keep.
    let mut follower = Follower::connect(plane.channel(&edge), Held::default()).await.unwrap();
    waits(&plane, "has not confirmed it yet").await;
    let refused = v1::Nack { revision: 1, kind: v1::ItemKind::Settings.into(), ..Default::default() };
    follower.send(edge_message::Message::Nack(refused)).await;
    follower.reach(plane.revision().await).await;
    waits(&plane, "could not keep it").await;
    drop(follower);
    let follower = confirm(&plane, &edge).await;
    let activated = activate(&plane, false).await.unwrap();
    assert_eq!(activated.phase(), AuthorityPhase::Activated);
    let signs: Vec<_> =
        activated.authorities.iter().map(|a| (a.slot.as_str(), a.signs_clients, a.signs_server)).collect();
    assert_eq!(signs, [("current", true, false), ("previous", false, true)]);
    assert_eq!(holders(&activated), ["edge/e1", "operator/admin"]);
    drop(follower);
    plane.restart().await;

    // Who has heard of nothing is served as before, and new ones are let in.
    assert!(works(&plane, &admin).await);
    let token = plane.join_token("e2").await;
    let new = plane.join(&token).await.unwrap();
    assert_eq!(authorities(&new.ca_pem), 2);
    confirm(&plane, &new).await;
    confirm(&plane, &edge).await;

    let refused = retire(&plane, &admin, false).await.unwrap_err();
    for name in ["the certificate of edge/e1", "operator/admin", "operator renew"] {
        assert!(refused.message().contains(name), "{refused}");
    }
    let edge = renew_edge(&plane, &edge).await.unwrap();
    assert_eq!(holders(&status(&plane, &admin).await), ["edge/e1", "operator/admin"], "until the new one is used");
    confirm(&plane, &edge).await;
    let renewed = renew_operator(&plane, &admin).await;
    assert!(holders(&status(&plane, &renewed).await).is_empty());
    let waiting = plane_join_token(&plane, &renewed, "e3").await;
    let refused = retire(&plane, &renewed, false).await.unwrap_err();
    assert!(refused.message().contains("the join token of e3"), "{refused}");
    plane.join(&waiting).await.unwrap();

    let retired = retire(&plane, &renewed, false).await.unwrap();
    assert_eq!((retired.phase(), authorities(&retired.ca_bundle_pem)), (AuthorityPhase::Steady, 1));
    eventually_refused(&plane, &Party { ca_pem: admin.ca_pem.clone(), ..renewed.clone() }).await;
    assert!(works(&plane, &renewed).await);
    assert!(!works(&plane, &Party { ca_pem: renewed.ca_pem.clone(), ..admin }).await, "a certificate of the old one");
    Follower::connect(plane.channel(&edge), Held::default()).await.unwrap();
    plane.restart().await;
    assert!(works(&plane, &renewed).await);
}

async fn plane_join_token(plane: &Plane, by: &Party, edge: &str) -> String {
    let request =
        v1::CreateJoinTokenRequest { idempotency_key: once(), edge_id: edge.to_owned(), ..Default::default() };
    let mut edges = v1::edges_client::EdgesClient::new(plane.channel(by));
    edges.create_join_token(request).await.unwrap().into_inner().join_token
}

#[tokio::test]
async fn each_phase_has_a_way_back() {
    let plane = Plane::start().await;
    let edge = plane.edge("e1").await;
    assert_eq!(rollback(&plane, true).await.unwrap_err().code(), Code::FailedPrecondition);
    let before = status(&plane, &plane.admin()).await;
    prepare(&plane).await.unwrap();
    assert_eq!(rollback(&plane, false).await.unwrap().authorities, before.authorities);

    prepare(&plane).await.unwrap();
    let follower = confirm(&plane, &edge).await;
    activate(&plane, false).await.unwrap();
    drop(follower);
    let moved = renew_edge(&plane, &edge).await.unwrap();
    let back = rollback(&plane, false).await.unwrap();
    assert_eq!(back.phase(), AuthorityPhase::Prepared);
    assert_eq!(back.authorities[0].fingerprint, before.authorities[0].fingerprint);
    assert_eq!(holders(&back), ["edge/e1"]);
    // What the new one has signed meanwhile works until it is replaced.
    confirm(&plane, &moved).await;
    let refused = rollback(&plane, false).await.unwrap_err();
    assert!(refused.message().contains("edge/e1"), "{refused}");
    let again = renew_edge(&plane, &moved).await.unwrap();
    confirm(&plane, &again).await;
    let steady = rollback(&plane, false).await.unwrap();
    assert_eq!((steady.phase(), steady.authorities.len()), (AuthorityPhase::Steady, 1));
    assert_eq!(steady.authorities[0].fingerprint, before.authorities[0].fingerprint);
}

#[tokio::test]
async fn force_is_recorded_and_a_repeat_is_one_change() {
    let plane = Plane::start().await;
    plane.edge("e1").await;
    let request = v1::PrepareAuthorityRequest { idempotency_key: once() };
    let first = client(&plane).prepare(request.clone()).await.unwrap().into_inner();
    let again = client(&plane).prepare(request).await.unwrap().into_inner();
    assert_eq!(first.authorities, again.authorities);
    activate(&plane, true).await.unwrap();
    retire(&plane, &plane.admin(), true).await.unwrap();
    let party = plane.admin();
    eventually_refused(&plane, &party).await;
}
