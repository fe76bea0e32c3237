//! The stream against a real control plane: what is sent, what is answered.

use std::time::Duration;

use nla_domain::{clock::SystemClock, id::Revision};
use nla_proto::v1::{ItemKind, control_message::Message, edge_message::Message as FromEdge};
use tokio::task::JoinHandle;

use super::*;
use crate::{
    audit::QueueLimits,
    clock::{FleetClock, TokioClock},
    fixture::{
        ControlPlane, SOON, database, digest_of, eventually, settings, settings_with, snapshot_messages, token,
        tombstone,
    },
    snapshot::Standing,
};

struct Edge {
    holder: SnapshotHolder,
    joins: watch::Sender<u64>,
    task: JoinHandle<Infallible>,
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn edge(plane: &ControlPlane) -> Edge {
    let wall = Arc::new(SystemClock);
    let holder = SnapshotHolder::new(Arc::new(TokioClock::start()));
    let joins = watch::Sender::new(0);
    let client = SyncClient {
        url: plane.url.clone(),
        tls: plane.edge_tls(),
        identities: joins.subscribe(),
        holder: holder.clone(),
        audit: AuditQueue::new("boot".into(), QueueLimits::default(), wall.clone()),
        hooks: Hooks {
            probe: Arc::new(|database, _| {
                Box::pin(async move { v1::ProbeResult { ok: true, stage: database.to_string(), ..Default::default() } })
            }),
            usage: Arc::new(|| (7, 2)),
            token_uses: Arc::new(|_| vec![]),
            trust: Arc::new(|bundle| {
                Box::pin(async move { if bundle == "full" { Err("disk".into()) } else { Ok(()) } })
            }),
            web_certificate: Arc::new(|| Some(Timestamp::from_micros(5_000_000))),
        },
        introduction: Introduction { boot_id: "boot".into(), mcp_url: "https://edge/mcp".into() },
        wall: FleetClock::new(wall, Arc::new(TokioClock::start())),
    };
    Edge { holder, joins, task: tokio::spawn(client.run()) }
}

fn revision(edge: &Edge) -> Option<u64> {
    edge.holder.current().map(|snapshot| snapshot.revision.0)
}

fn beat(revision: u64, items: &[v1::Item]) -> Message {
    Message::Heartbeat(v1::Heartbeat { revision, digest: digest_of(items), ..Default::default() })
}

#[tokio::test]
async fn snapshot_delta_and_resume() {
    let mut plane = ControlPlane::start().await;
    let edge = edge(&plane);
    let mut stream = plane.stream().await;
    let hello = stream.hello().await;
    assert_eq!((hello.revision, hello.epoch.len(), hello.boot_id.as_str()), (0, 0, "boot"));

    let items = [settings(), token(1, "ada"), database("shop", "shop")];
    let mut messages = snapshot_messages(1, 5, &items);
    let end = messages.pop().unwrap();
    stream.send_all(messages).await;
    stream.send(beat(5, &items)).await;
    stream
        .send(Message::ProbeRequest(v1::ProbeRequest {
            probe_id: "p".into(),
            database: "shop".into(),
            candidate: None,
        }))
        .await;
    // The probe's answer shows that everything before it was read.
    match stream.next().await {
        FromEdge::ProbeResult(result) => assert_eq!((result.probe_id.as_str(), result.stage.as_str()), ("p", "shop")),
        other => panic!("{other:?}"),
    }
    assert_eq!(revision(&edge), None, "a part of a snapshot is never served");
    stream.send(end).await;
    let ack = stream.ack().await;
    assert_eq!((ack.revision, ack.digest), (5, digest_of(&items)));
    assert_eq!(revision(&edge), Some(5));

    let next = [settings(), token(1, "ada"), token(2, "bob"), database("shop", "shop")];
    let change =
        v1::Delta { from: 5, to: 6, upserts: vec![token(2, "bob")], removals: vec![], digest: digest_of(&next) };
    stream.send(Message::Delta(change)).await;
    assert_eq!(stream.ack().await.revision, 6);

    plane.stop().await;
    plane.restart().await;
    let mut stream = plane.stream().await;
    let hello = stream.hello().await;
    assert_eq!((hello.revision, hello.epoch, hello.digest), (6, vec![1; 16], digest_of(&next)));
    assert_eq!(revision(&edge), Some(6), "the last good state is served meanwhile");
}

#[tokio::test]
async fn authorities_that_were_not_kept_are_told_before_the_confirmation() {
    let mut plane = ControlPlane::start().await;
    let edge = edge(&plane);
    let mut stream = plane.stream().await;
    stream.hello().await;
    let items = [settings_with("full"), token(1, "ada")];
    stream.send_all(snapshot_messages(1, 5, &items)).await;
    match stream.next().await {
        FromEdge::Nack(nack) => {
            assert_eq!((nack.kind(), nack.revision, nack.reason.as_str()), (v1::ItemKind::Settings, 5, "disk"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stream.ack().await.revision, 5, "the state itself is in use");
    assert_eq!(revision(&edge), Some(5));
    // Told anew with the next state, it can be kept.
    let items = [settings_with("room"), token(1, "ada")];
    let change =
        v1::Delta { from: 5, to: 6, upserts: vec![settings_with("room")], removals: vec![], digest: digest_of(&items) };
    stream.send(Message::Delta(change)).await;
    assert_eq!(stream.ack().await.revision, 6);
}

#[tokio::test]
async fn doubt_makes_the_edge_ask_for_everything() {
    let mut plane = ControlPlane::start().await;
    let edge = edge(&plane);
    let items = [settings(), token(1, "ada")];
    let doubtful = [
        Message::Delta(v1::Delta { from: 7, to: 8, digest: vec![0; 32], ..Default::default() }),
        Message::Delta(v1::Delta { from: 5, to: 6, digest: vec![0; 32], ..Default::default() }),
        beat(6, &items),
        beat(5, &items[..1]),
    ];
    for message in doubtful {
        let mut stream = plane.stream().await;
        let hello = stream.hello().await;
        assert_eq!((hello.revision, hello.digest.len()), (0, 0), "before {message:?}");
        // Heartbeats do not disturb a snapshot that is under way.
        stream.send(beat(5, &items)).await;
        stream.send_all(snapshot_messages(1, 5, &items)).await;
        assert_eq!(stream.ack().await.revision, 5);
        stream.send(message).await;
        stream.ended().await;
        assert_eq!(revision(&edge), Some(5), "the last good state stays");
    }
}

#[tokio::test]
async fn a_bad_item_is_refused_by_name() {
    let mut plane = ControlPlane::start().await;
    let edge = edge(&plane);
    let mut stream = plane.stream().await;
    stream.hello().await;
    let mut bad = token(1, "ada");
    bad.body = vec![0xff].into();
    stream.send_all(snapshot_messages(1, 1, &[settings(), bad, token(2, "bob")])).await;
    match stream.next().await {
        FromEdge::Nack(nack) => {
            assert_eq!((nack.revision, nack.kind(), nack.id.as_str()), (1, ItemKind::Token, "000000000001"));
            assert!(!nack.reason.is_empty());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stream.ack().await.revision, 1);
    assert_eq!(edge.holder.current().unwrap().tokens.len(), 1);
}

#[tokio::test]
async fn a_ban_wipes_and_lasts() {
    let mut plane = ControlPlane::start().await;
    let edge = edge(&plane);
    let mut stream = plane.stream().await;
    stream.hello().await;
    stream.send_all(snapshot_messages(1, 1, &[settings(), token(1, "ada")])).await;
    stream.ack().await;
    stream.send(Message::Revoked(v1::Revoked { reason: "stolen".into() })).await;
    stream.ended().await;
    eventually("the edge forgets", || edge.holder.current().is_none()).await;
    assert_eq!(*edge.holder.standing(), Standing::Banned("stolen".into()));
    edge.joins.send_modify(|count| *count += 1);
    let again = tokio::time::timeout(Duration::from_millis(500), plane.stream());
    assert!(again.await.is_err(), "a banned edge does not come back");
}

#[tokio::test]
async fn a_drain_holds_until_the_control_plane_ends_it() {
    let mut plane = ControlPlane::start().await;
    let edge = edge(&plane);
    let items = [settings()];
    let mut stream = plane.stream().await;
    stream.hello().await;
    stream.send_all(snapshot_messages(1, 1, &items)).await;
    stream.ack().await;
    stream.send(Message::Drain(v1::Drain { reason: "upgrade".into() })).await;
    eventually("the edge drains", || *edge.holder.standing() == Standing::Draining("upgrade".into())).await;
    drop(stream);
    let mut stream = plane.stream().await;
    assert_eq!(stream.hello().await.revision, 1);
    assert_eq!(*edge.holder.standing(), Standing::Draining("upgrade".into()));
    // Still to drain: it says so before it confirms the state.
    stream.send(Message::Drain(v1::Drain { reason: "longer upgrade".into() })).await;
    stream.send(beat(1, &items)).await;
    stream
        .send(Message::ProbeRequest(v1::ProbeRequest {
            probe_id: "p".into(),
            database: "shop".into(),
            candidate: None,
        }))
        .await;
    // The probe's answer shows that everything before it was read.
    assert!(matches!(stream.next().await, FromEdge::ProbeResult(_)));
    assert_eq!(*edge.holder.standing(), Standing::Draining("longer upgrade".into()));
    stream.send(Message::Resume(v1::Resume {})).await;
    eventually("the edge is ready again", || *edge.holder.standing() == Standing::Follows).await;

    // Ended while the edge was away: nothing is said of it any more.
    stream.send(Message::Drain(v1::Drain { reason: "once more".into() })).await;
    eventually("the edge drains again", || *edge.holder.standing() == Standing::Draining("once more".into())).await;
    drop(stream);
    let mut stream = plane.stream().await;
    stream.hello().await;
    stream.send(beat(1, &items)).await;
    eventually("the edge is ready again", || *edge.holder.standing() == Standing::Follows).await;
}

#[tokio::test]
async fn quarantine_wipes_at_once_and_holds_until_the_control_plane_ends_it() {
    let mut plane = ControlPlane::start().await;
    let edge = edge(&plane);
    let (all, bare) = ([settings(), token(1, "ada")], [settings(), tombstone(1)]);
    let quarantined = |reason: &str| Standing::Quarantined(reason.into());
    let mut stream = plane.stream().await;
    stream.hello().await;
    stream.send_all(snapshot_messages(1, 1, &all)).await;
    stream.ack().await;
    stream.send(Message::Quarantine(v1::Quarantine { reason: "odd".into() })).await;
    eventually("quarantine", || *edge.holder.standing() == quarantined("odd")).await;
    eventually("nothing is held", || edge.holder.current().is_none()).await;
    // The edge says what it holds, so that nothing is sent as a step from the state before.
    drop(stream);
    let mut stream = plane.stream().await;
    assert_eq!(stream.hello().await.revision, 0);
    assert_eq!(*edge.holder.standing(), quarantined("odd"), "nobody has ended it");
    stream.send(Message::Quarantine(v1::Quarantine { reason: "odder".into() })).await;
    stream.send_all(snapshot_messages(1, 1, &bare)).await;
    assert_eq!(stream.ack().await.revision, 1);
    stream.send(beat(1, &bare)).await;
    eventually("the bare state counts as heard", || edge.holder.age() < Duration::from_secs(2)).await;
    assert_eq!(*edge.holder.standing(), quarantined("odder"));

    // The whole state comes before the release; what was revoked stays dead.
    stream.send_all(snapshot_messages(1, 2, &[settings(), token(1, "ada"), token(2, "bob")])).await;
    stream.ack().await;
    assert_eq!(*edge.holder.standing(), quarantined("odder"));
    stream.send(Message::Release(v1::Release {})).await;
    eventually("the release", || *edge.holder.standing() == Standing::Follows).await;
    assert_eq!(edge.holder.current().unwrap().tokens.len(), 1);

    // Ended while the edge was away: nothing is said of it any more.
    stream.send(Message::Quarantine(v1::Quarantine { reason: "again".into() })).await;
    eventually("quarantine again", || *edge.holder.standing() == quarantined("again")).await;
    drop(stream);
    let mut stream = plane.stream().await;
    stream.hello().await;
    stream.send_all(snapshot_messages(1, 3, &all)).await;
    eventually("service again", || *edge.holder.standing() == Standing::Follows).await;
}

#[tokio::test]
async fn silence_ends_a_stream_and_age_grows_without_heartbeats() {
    let mut plane = ControlPlane::start().await;
    let edge = edge(&plane);
    let items = [settings()];
    let mut stream = plane.stream().await;
    stream.hello().await;
    stream.send_all(snapshot_messages(1, 1, &items)).await;
    stream.ack().await;
    tokio::time::pause();
    let silent_since = tokio::time::Instant::now();
    stream.ended().await;
    let waited = silent_since.elapsed();
    tokio::time::resume();
    assert!((Duration::from_secs(4)..Duration::from_secs(8)).contains(&waited), "{waited:?}");
    assert!(edge.holder.age() >= Duration::from_secs(4));
    let mut stream = plane.stream().await;
    assert_eq!(stream.hello().await.revision, 1, "the state itself is not in doubt");
    stream.send(beat(1, &items)).await;
    eventually("the heartbeat counts", || edge.holder.age() < Duration::from_secs(2)).await;
}

#[tokio::test]
async fn a_revoked_token_stays_dead_after_a_restore() {
    let mut plane = ControlPlane::start().await;
    let edge = edge(&plane);
    let mut stream = plane.stream().await;
    stream.hello().await;
    stream.send_all(snapshot_messages(1, 9, &[settings(), token(2, "bob"), tombstone(1)])).await;
    stream.ack().await;
    stream.send_all(snapshot_messages(2, 3, &[settings(), token(1, "ada"), token(2, "bob")])).await;
    assert_eq!(stream.ack().await.revision, 3);
    let snapshot = edge.holder.current().unwrap();
    assert_eq!(snapshot.revision, Revision(3));
    assert_eq!(snapshot.tokens.len(), 1);
}

#[tokio::test]
async fn a_new_identity_opens_a_new_stream_and_use_is_reported() {
    let mut plane = ControlPlane::start().await;
    let edge = edge(&plane);
    let mut stream = plane.stream().await;
    stream.hello().await;
    let usage = tokio::time::timeout(SOON, stream.usage()).await.unwrap();
    assert_eq!((usage.calls_total, usage.calls_running), (7, 2));
    assert_eq!(usage.web_certificate_expires_at.unwrap().seconds, 5);
    edge.joins.send_modify(|count| *count += 1);
    stream.ended().await;
    plane.stream().await.hello().await;
}

#[tokio::test]
async fn what_a_restored_control_plane_has_forgotten_is_reported() {
    let mut plane = ControlPlane::start().await;
    let _edge = edge(&plane);
    let mut stream = plane.stream().await;
    stream.hello().await;
    let both = [settings(), token(1, "ada"), token(2, "bob")];
    stream.send_all(snapshot_messages(1, 5, &both)).await;
    stream.ack().await;
    let after = [settings(), token(2, "bob"), tombstone(1)];
    stream.send_all(snapshot_messages(1, 9, &after)).await;
    stream.ack().await;
    // The same epoch has nothing to report.
    let probe = v1::ProbeRequest { probe_id: "p".into(), database: "shop".into(), ..Default::default() };
    stream.send(Message::ProbeRequest(probe)).await;
    assert!(matches!(stream.next().await, FromEdge::ProbeResult(_)));
    plane.stop().await;
    plane.restart().await;

    let mut stream = plane.stream().await;
    assert_eq!(stream.hello().await.revision, 9);
    stream.send_all(snapshot_messages(2, 5, &both)).await;
    let expected = v1::TombstonesHeld { epoch: vec![1; 16], ids: vec![token(1, "ada").id] };
    assert_eq!(stream.ack().await.revision, 5);
    assert_eq!(stream.next().await, FromEdge::TombstonesHeld(expected.clone()));
    // Whoever did not hear it hears it with the next state, also on another stream.
    plane.stop().await;
    plane.restart().await;
    let mut stream = plane.stream().await;
    assert_eq!(stream.hello().await.epoch, vec![2; 16]);
    let more = [both.as_slice(), &[database("shop", "shop")]].concat();
    stream.send_all(snapshot_messages(2, 6, &more)).await;
    stream.ack().await;
    assert_eq!(stream.next().await, FromEdge::TombstonesHeld(expected));
    let done = [settings(), token(2, "bob"), tombstone(1)];
    stream.send_all(snapshot_messages(2, 7, &done)).await;
    stream.ack().await;
    let probe = v1::ProbeRequest { probe_id: "q".into(), database: "shop".into(), ..Default::default() };
    stream.send(Message::ProbeRequest(probe)).await;
    assert!(matches!(stream.next().await, FromEdge::ProbeResult(_)), "it is revoked there, too");
}
