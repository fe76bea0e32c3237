//! What the certificate of an edge opens, and for how long.

use std::{path::Path, time::Duration};

use nla_proto::v1::{
    self, audit_ingest_client::AuditIngestClient, control_message::Message as ToEdge,
    edge_message::Message as FromEdge, enrolment_client::EnrolmentClient,
};
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::plane::{DEADLINE, Follower, Held, Party, Plane, key_and_csr};

/// Reads a stream to its end.
async fn end_of(follower: &mut Follower) -> Status {
    let read = async {
        loop {
            match follower.next().await {
                Ok(Some(ToEdge::Heartbeat(_) | ToEdge::Delta(_))) => {}
                Ok(other) => panic!("{other:?}"),
                Err(status) => break status,
            }
        }
    };
    timeout(DEADLINE, read).await.expect("the stream stays open")
}

#[tokio::test]
async fn a_stream_ends_with_the_certificate_that_opened_it() {
    let plane = Plane::start().await;
    let edge = plane.edge("e1").await;
    let mut follower = Follower::connect(plane.channel(&edge), Held::default()).await.unwrap();
    follower.advance().await.unwrap();
    follower.send(FromEdge::Usage(v1::Usage { stamp: 1, ..Default::default() })).await;
    plane.clock.advance(Duration::from_secs(23 * 3600));
    let before = match follower.next().await.unwrap() {
        Some(ToEdge::Heartbeat(beat)) => beat.revision,
        other => panic!("{other:?}"),
    };
    assert_eq!(before, follower.held.revision, "an hour before the end it still follows");
    plane.clock.advance(Duration::from_secs(2 * 3600));
    let end = end_of(&mut follower).await;
    assert_eq!(end.code(), Code::PermissionDenied);
    assert!(end.message().contains("expired"), "{end}");
}

pub(crate) async fn renew(plane: &Plane, edge: &Party) -> Result<Party, Status> {
    let (key_pem, csr_pem) = key_and_csr();
    let mut client = EnrolmentClient::new(plane.channel(edge));
    let renewed = client.renew(v1::RenewRequest { csr_pem }).await?.into_inner().certificate.unwrap();
    Ok(Party { certificate_pem: renewed.chain_pem, key_pem, ca_pem: edge.ca_pem.clone() })
}

/// Opens a stream and takes the state.
pub(crate) async fn follow(plane: &Plane, edge: &Party) -> Result<Follower, Status> {
    let mut follower = Follower::connect(plane.channel(edge), Held::default()).await?;
    follower.advance().await?;
    Ok(follower)
}

fn replaced(status: &Status) {
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert!(status.message().contains("replaced by another one"), "{status}");
}

#[tokio::test]
async fn a_join_under_the_name_ends_the_certificate_before_and_its_stream() {
    let mut plane = Plane::start().await;
    let old = plane.edge("e1").await;
    let mut follower = follow(&plane, &old).await.unwrap();
    let new = plane.edge("e1").await;
    replaced(&end_of(&mut follower).await);
    for restarted in [false, true] {
        if restarted {
            plane.restart().await;
        }
        replaced(&follow(&plane, &old).await.err().unwrap());
        replaced(&renew(&plane, &old).await.err().unwrap());
        let mut ingest = AuditIngestClient::new(plane.channel(&old));
        let request = v1::AppendRequest { boot_id: "b".into(), first_sequence: 1, events: vec![] };
        replaced(&ingest.append(request).await.unwrap_err());
        follow(&plane, &new).await.unwrap();
    }
    let reasons = plane.refusals("/nla.v1.EdgeSync/Sync", 1).await;
    assert!(reasons.iter().any(|reason| reason.contains("replaced by another one")), "{reasons:?}");
}

#[tokio::test]
async fn a_renewed_certificate_ends_with_the_first_use_of_the_new_one() {
    let mut plane = Plane::start().await;
    let first = plane.edge("e1").await;
    // Answers that got lost, and a restart: the edge still has the first only.
    renew(&plane, &first).await.unwrap();
    plane.restart().await;
    let lost = renew(&plane, &first).await.unwrap();
    let second = renew(&plane, &first).await.unwrap();
    let mut follower = follow(&plane, &first).await.unwrap();
    replaced(&follow(&plane, &lost).await.err().expect("nobody has received it"));

    let mut followed = follow(&plane, &second).await.unwrap();
    let end = end_of(&mut follower).await;
    assert!(matches!(end.code(), Code::AlreadyExists | Code::PermissionDenied), "{end}");
    replaced(&follow(&plane, &first).await.err().unwrap());
    replaced(&renew(&plane, &first).await.err().unwrap());
    followed.reach(plane.revision().await).await;

    // A renewal proves the new one as well as a stream does.
    let third = renew(&plane, &second).await.unwrap();
    let fourth = renew(&plane, &third).await.unwrap();
    replaced(&end_of(&mut followed).await);
    replaced(&follow(&plane, &second).await.err().unwrap());
    follow(&plane, &third).await.unwrap();
    follow(&plane, &fourth).await.unwrap();
    replaced(&follow(&plane, &third).await.err().unwrap());
}

#[tokio::test]
async fn a_copied_key_that_renews_is_noticed() {
    let plane = Plane::start().await;
    let edge = plane.edge("e1").await;
    let mut honest = follow(&plane, &edge).await.unwrap();
    let thief = renew(&plane, &edge).await.unwrap();
    let _stolen = follow(&plane, &thief).await.unwrap();
    let end = end_of(&mut honest).await;
    assert!(matches!(end.code(), Code::AlreadyExists | Code::PermissionDenied), "{end}");
    replaced(&follow(&plane, &edge).await.err().unwrap());
    let reasons = plane.refusals("/nla.v1.EdgeSync/Sync", 1).await;
    assert!(reasons.iter().any(|reason| reason.contains("revoke the edge")), "{reasons:?}");
}

#[tokio::test]
async fn an_edge_that_is_not_known_is_refused_and_not_banned() {
    let mut plane = Plane::start().await;
    plane.stop().await;
    let (data, copy) = (plane.folder.path().join("data"), plane.folder.path().join("copy"));
    copy_folder(&data, &copy);
    plane.start_again().await;
    let edge = plane.edge("e1").await;
    follow(&plane, &edge).await.unwrap();
    plane.stop().await;
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&copy, &data).unwrap();
    plane.start_again().await;
    let status = follow(&plane, &edge).await.err().expect("an old copy of the store knows no such edge");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("not enrolled"), "{status}");
    let again = plane.edge("e1").await;
    follow(&plane, &again).await.unwrap();
    replaced(&follow(&plane, &edge).await.err().unwrap());
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
