//! What the certificate of an edge opens, and for how long.

use std::time::Duration;

use nla_proto::v1::control_message::Message as ToEdge;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::plane::{DEADLINE, Follower, Held, Plane};

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
