//! Callers that begin calls and never finish them: they take their share and
//! nobody else's.

use nla_domain::{error::ErrorKind, join::JoinToken};
use nla_proto::{
    failure::Failure,
    tls::client::{ClientTls, channel},
    v1::{self, system_client::SystemClient},
};
use tokio::time::timeout;
use tonic::{Request, Status, transport::Channel};
use tonic_prost::ProstCodec;

use crate::plane::{DEADLINE, Plane};

/// Calls that the control plane takes at one time.
const CALLS: u32 = 16;

async fn small_plane() -> Plane {
    let mut plane = Plane::start().await;
    plane.config.limits.concurrent_calls = CALLS;
    plane.restart().await;
    plane
}

/// Begins calls whose message never comes until one is refused. Gives how many
/// were taken up, and the refusal.
async fn hang(channel: Channel, path: &'static str) -> (Vec<tokio::task::JoinHandle<Status>>, Failure) {
    let mut hanging = Vec::new();
    for _ in 0..200 {
        let channel = channel.clone();
        let mut call = tokio::spawn(async move {
            let mut grpc = tonic::client::Grpc::new(channel);
            grpc.ready().await.unwrap();
            let codec: ProstCodec<v1::StatusRequest, v1::StatusResponse> = ProstCodec::default();
            let silence = Request::new(tokio_stream::pending());
            grpc.client_streaming(silence, path.parse().unwrap(), codec).await.unwrap_err()
        });
        // A refusal comes at once. On a slow machine it may come later than
        // this, and then another call is tried.
        match timeout(std::time::Duration::from_millis(20), &mut call).await {
            Ok(refused) => return (hanging, Failure::from_status(&refused.unwrap())),
            Err(_) => hanging.push(call),
        }
    }
    panic!("all calls were taken up");
}

async fn is_served(plane: &Plane) {
    let status = SystemClient::new(plane.admin_channel()).status(v1::StatusRequest {}).await;
    assert!(status.is_ok(), "{status:?}");
}

#[tokio::test]
async fn whoever_has_no_certificate_takes_no_place_of_those_who_have() {
    let plane = small_plane().await;
    let pin = JoinToken::parse(&plane.join_token("e1").await).unwrap().ca_pin();
    let anyone = channel(&format!("https://{}", plane.enrolment), &ClientTls::pinned(pin).unwrap()).unwrap();
    let (hanging, refusal) = timeout(DEADLINE, hang(anyone, "/nla.v1.Enrolment/Join")).await.unwrap();
    assert_eq!(refusal.kind, ErrorKind::Overloaded, "{refusal}");
    assert!(!hanging.is_empty());
    is_served(&plane).await;
}

#[tokio::test]
async fn one_edge_takes_no_place_of_others() {
    let plane = small_plane().await;
    let edge = plane.edge("e1").await;
    let (hanging, refusal) = timeout(DEADLINE, hang(plane.channel(&edge), "/nla.v1.AuditIngest/Append")).await.unwrap();
    assert_eq!(refusal.kind, ErrorKind::Overloaded, "{refusal}");
    assert!(!hanging.is_empty());
    is_served(&plane).await;
}
