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
        ControlPlane, SOON, Stream, database, digest_of, eventually, settings, settings_with, snapshot_messages, token,
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
    edge_with(plane, Arc::new(|| CutCalls { calls: 0, ended: Box::pin(async {}) }))
}

fn edge_with(plane: &ControlPlane, cut: Cut) -> Edge {
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
            cut,
            probe: Arc::new(|database, _| {
                Box::pin(async move { v1::ProbeResult { ok: true, stage: database.to_string(), ..Default::default() } })
            }),
            usage: Arc::new(|| (7, 2)),
            token_uses: Arc::new(|_| vec![]),
            trust: Arc::new(|bundle| {
                Box::pin(async move {
                    match bundle.as_str() {
                        "full" => Err("disk".into()),
                        "slow" => std::future::pending().await,
                        _ => Ok(()),
                    }
                })
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
    echo(revision, items, 0)
}

fn echo(revision: u64, items: &[v1::Item], echo: u64) -> Message {
    Message::Heartbeat(v1::Heartbeat { revision, digest: digest_of(items), echo, ..Default::default() })
}

/// Everything that was sent before is read once the probe is answered.
async fn read(stream: &mut Stream) {
    stream
        .send(Message::ProbeRequest(v1::ProbeRequest {
            probe_id: "p".into(),
            database: "shop".into(),
            ..Default::default()
        }))
        .await;
    assert!(matches!(stream.next().await, FromEdge::ProbeResult(_)));
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
async fn a_disk_that_hangs_delays_the_acknowledgement_and_nothing_else() {
    let mut plane = ControlPlane::start().await;
    let edge = edge(&plane);
    let mut stream = plane.stream().await;
    stream.hello().await;
    let items = [settings_with("slow"), token(1, "ada")];
    stream.send_all(snapshot_messages(1, 5, &items)).await;
    // Answered while the authorities are not kept, and before any acknowledgement.
    read(&mut stream).await;
    assert_eq!(revision(&edge), Some(5));
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
    let stamp = stream.usage().await.stamp;
    stream.send(echo(1, &bare, stamp)).await;
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
    let stamp = stream.usage().await.stamp;
    stream.send(echo(1, &items, stamp)).await;
    read(&mut stream).await;
    tokio::time::pause();
    let silent_since = tokio::time::Instant::now();
    stream.ended().await;
    let waited = silent_since.elapsed();
    tokio::time::resume();
    assert!((Duration::from_secs(4)..Duration::from_secs(8)).contains(&waited), "{waited:?}");
    assert!(edge.holder.age() >= Duration::from_secs(4));
    let mut next = plane.stream().await;
    assert_eq!(next.hello().await.revision, 1, "the state itself is not in doubt");
    next.send(echo(1, &items, stamp)).await;
    read(&mut next).await;
    assert!(edge.holder.age() >= Duration::from_secs(4), "the answer to a question of another stream");
    let stamp = next.usage().await.stamp;
    next.send(echo(1, &items, stamp)).await;
    eventually("the heartbeat counts", || edge.holder.age() < Duration::from_secs(3)).await;
}

#[tokio::test]
async fn the_age_counts_from_the_stamp_and_never_from_the_reading() {
    let mut plane = ControlPlane::start().await;
    let edge = edge(&plane);
    let items = [settings()];
    let mut stream = plane.stream().await;
    assert!(matches!(stream.hello_and_usage().await, (_, usage) if usage.stamp > 0), "it asks with the Hello");
    stream.send_all(snapshot_messages(1, 1, &items)).await;
    stream.ack().await;
    stream.send(beat(1, &items)).await;
    read(&mut stream).await;
    assert_eq!(edge.holder.age(), Duration::MAX, "neither the state nor a heartbeat without an echo");

    let (first, second, third) = (stream.usage().await, stream.usage().await, stream.usage().await);
    let apart = Duration::from_nanos(third.stamp - first.stamp);
    assert!(apart > Duration::from_millis(1_500), "{apart:?}");
    // As it was in the buffers of a process that was stopped.
    stream.send(echo(1, &items, first.stamp)).await;
    read(&mut stream).await;
    assert!(edge.holder.age() >= apart, "{:?}", edge.holder.age());
    for made_up in [second.stamp + 1, third.stamp + 1, u64::MAX] {
        stream.send(echo(1, &items, made_up)).await;
    }
    read(&mut stream).await;
    assert!(edge.holder.age() >= apart, "{:?}", edge.holder.age());
    stream.send(echo(1, &items, third.stamp)).await;
    read(&mut stream).await;
    let age = edge.holder.age();
    assert!(age < apart, "{age:?}");
    stream.send(echo(1, &items, second.stamp)).await;
    read(&mut stream).await;
    assert!(edge.holder.age() < apart, "nothing goes back");
}

#[tokio::test]
async fn an_acknowledgement_waits_for_what_was_cut_and_holds_up_nothing() {
    let mut plane = ControlPlane::start().await;
    let (over, ended) = (watch::Sender::new(false), Arc::new(std::sync::Mutex::new(0)));
    let (running, cuts) = (over.subscribe(), Arc::clone(&ended));
    let edge = edge_with(
        &plane,
        Arc::new(move || {
            let mut running = running.clone();
            let mut cuts = cuts.lock().unwrap();
            *cuts += 1;
            // The first state has nothing to cut.
            let first = *cuts == 1;
            let ended = Box::pin(async move {
                if !first {
                    running.wait_for(|over| *over).await.unwrap();
                }
            });
            CutCalls { calls: if first { 0 } else { 3 }, ended }
        }),
    );
    let mut stream = plane.stream().await;
    stream.hello().await;
    let items = [settings(), token(1, "ada")];
    stream.send_all(snapshot_messages(1, 1, &items)).await;
    assert_eq!(stream.ack().await.calls_cut, 0);
    let left = [settings()];
    let removals = vec![v1::ItemKeyMessage { kind: ItemKind::Token.into(), id: "000000000001".into() }];
    let delta = v1::Delta { from: 1, to: 2, upserts: vec![], removals, digest: digest_of(&left) };
    stream.send(Message::Delta(delta)).await;
    // Read after the delta and answered before its acknowledgement.
    read(&mut stream).await;
    assert_eq!((revision(&edge), *ended.lock().unwrap()), (Some(2), 2), "in force, and cut");
    over.send_replace(true);
    let ack = stream.ack().await;
    assert_eq!((ack.revision, ack.calls_cut), (2, 3));

    // Calls that do not end hold the acknowledgement up for a second.
    over.send_replace(false);
    stream.send(Message::Delta(v1::Delta { from: 2, to: 3, digest: digest_of(&left), ..Default::default() })).await;
    assert_eq!(stream.ack().await.revision, 3);
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
