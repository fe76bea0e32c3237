//! Who gets a credential that is tried out, and whose word on it counts.

use std::sync::Arc;

use nla_domain::{clock::Timestamp, secret::Secret};
use nla_proto::v1::{self, control_message::Message};
use tokio::{sync::mpsc, task::JoinHandle};

use super::registry::{Began, Membership, Registry};
use crate::{
    rotation::{sample, verify_by_edge},
    sources::{AllowedSources, Refresher},
    store::{Pause, Revocation, Store},
};

fn enter(registry: &Arc<Registry>, id: &str) -> (Membership, mpsc::Receiver<v1::ControlMessage>) {
    registry.enter(id.parse().unwrap(), "127.0.0.1:1".parse().unwrap(), &v1::Hello::default()).unwrap()
}

/// Answers the first probe, after `before`.
fn answers(
    registry: &Arc<Registry>,
    id: &'static str,
    mut inbox: mpsc::Receiver<v1::ControlMessage>,
    result: v1::ProbeResult,
    before: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let registry = Arc::clone(registry);
    tokio::spawn(async move {
        let Some(Message::ProbeRequest(request)) = inbox.recv().await.and_then(|message| message.message) else {
            return;
        };
        before.await;
        registry.probes.answer(&id.parse().unwrap(), v1::ProbeResult { probe_id: request.probe_id, ..result });
        std::future::pending().await
    })
}

async fn quarantine(store: Store, id: &'static str) {
    let put = store.mutate("test", move |draft| {
        let mut edge = sample::edge(id);
        edge.quarantine = Some(Pause { since: Timestamp::default(), reason: String::new() });
        draft.put(edge);
        draft.event(v1::AdminEvent { action: "quarantine".into(), ..Default::default() });
        Ok(())
    });
    put.await.unwrap();
}

fn ok() -> v1::ProbeResult {
    v1::ProbeResult { ok: true, ..Default::default() }
}

fn refused(stage: &str) -> v1::ProbeResult {
    v1::ProbeResult { stage: stage.into(), error: "no".into(), ..Default::default() }
}

#[tokio::test]
async fn a_candidate_goes_to_edges_that_may_hold_credentials_only() {
    let (store, _clock, _folder) = sample::store(|draft| {
        let mut banned = sample::edge("e1");
        banned.revoked = Some(Revocation { at: Timestamp::default(), by: String::new(), reason: String::new() });
        draft.put(banned);
        draft.put(sample::edge("e2"));
    });
    quarantine(store.clone(), "e2").await;
    let registry = Registry::new(8, Began::now(Timestamp::from_micros(0), None), []);
    let candidate = sample::credential("shop", "r", "p");
    let ((_m1, mut i1), (_m2, mut i2), (_m3, mut i3)) =
        (enter(&registry, "e1"), enter(&registry, "e2"), enter(&registry, "unknown"));
    let error = verify_by_edge(&store, &registry, &candidate).await.unwrap_err();
    assert!(error.contains("has gone"), "{error}");
    assert!(i1.try_recv().is_err() && i2.try_recv().is_err() && i3.try_recv().is_err());
}

#[tokio::test]
async fn the_word_of_an_edge_that_is_put_in_quarantine_meanwhile_does_not_count() {
    let (store, _clock, _folder) = sample::store(|draft| drop(draft.put(sample::edge("e1"))));
    let registry = Registry::new(8, Began::now(Timestamp::from_micros(0), None), []);
    let (_member, inbox) = enter(&registry, "e1");
    let _answering = answers(&registry, "e1", inbox, ok(), quarantine(store.clone(), "e1"));
    let error = verify_by_edge(&store, &registry, &sample::credential("shop", "r", "p")).await.unwrap_err();
    assert!(error.contains("may not try it any more"), "{error}");
}

#[tokio::test]
async fn tries_are_few_and_end_with_a_refused_password() {
    for (stage, asked) in [("connect", 3), ("authenticate", 1)] {
        let (store, _clock, _folder) = sample::store(|draft| {
            for id in ["e1", "e2", "e3", "e4"] {
                draft.put(sample::edge(id));
            }
        });
        let registry = Registry::new(8, Began::now(Timestamp::from_micros(0), None), []);
        let (mut members, mut answering) = (Vec::new(), Vec::new());
        for (number, id) in ["e1", "e2", "e3", "e4"].into_iter().enumerate() {
            let (member, inbox) = enter(&registry, id);
            members.push(member);
            let result = if number < asked { refused(stage) } else { ok() };
            answering.push(answers(&registry, id, inbox, result, async {}));
        }
        let error = verify_by_edge(&store, &registry, &sample::credential("shop", "r", "p")).await.unwrap_err();
        assert!(error.contains(&format!("e{asked} cannot use it, at {stage}")), "{error}");
    }
}

#[tokio::test]
async fn a_changed_value_waits_for_an_edge_while_the_last_one_serves() {
    let (store, clock, _folder) = sample::store(|draft| {
        draft.put(sample::edge("e1"));
    });
    let registry = Registry::new(8, Began::now(Timestamp::from_micros(0), None), []);
    let refresher =
        Refresher { store: store.clone(), registry: Arc::clone(&registry), clock, allowed: AllowedSources::default() };
    let mut next = sample::credential("shop", "r", "new");
    refresher.try_out(&store.state(), &next, false).await.unwrap();
    let error = refresher.try_out(&store.state(), &next, true).await.unwrap_err();
    assert!(error.contains("waits for an edge"), "{error}");
    let (_member, inbox) = enter(&registry, "e1");
    let _answering = answers(&registry, "e1", inbox, ok(), async {});
    next.password = Secret::new("newer");
    refresher.try_out(&store.state(), &next, true).await.unwrap();
}
