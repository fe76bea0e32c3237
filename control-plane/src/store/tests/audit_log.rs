//! The audit log: each event once, in order, found again.

use super::*;

fn sequence(events: &[v1::AuditEvent]) -> Vec<u64> {
    events.iter().map(|event| event.sequence).collect()
}

fn requests(events: &[v1::AuditEvent]) -> Vec<String> {
    let call = |event: &v1::AuditEvent| match &event.event {
        Some(v1::audit_event::Event::Call(call)) => Some(call.request_id.clone()),
        _ => None,
    };
    events.iter().filter_map(call).collect()
}

#[tokio::test]
async fn events_of_an_edge_are_stored_exactly_once() {
    let bench = Bench::new();
    let mut store = bench.create();
    let edge: EdgeId = "e1".parse().unwrap();
    let batch = |range: std::ops::RangeInclusive<u64>| range.map(|at| call(&format!("r{at}"))).collect::<Vec<_>>();
    // (boot, numbers sent, stored through afterwards)
    let cases = [
        ("b1", 1..=3, 3),
        ("b1", 1..=3, 3), // repeated
        ("b1", 2..=5, 5), // overlapping
        ("b1", 8..=9, 5), // behind a gap
        ("b1", 6..=7, 7), // the gap filled
        ("b1", 8..=9, 9), // sent again
        ("b2", 1..=1, 1), // another start of the edge
        ("b1", 3..=4, 9), // old news
        ("b3", 2..=2, 0), // a first batch that is not the first
    ];
    for (boot, numbers, expected) in cases {
        let through = store.audit_append(&edge, boot, *numbers.start(), batch(numbers.clone())).await.unwrap();
        assert_eq!(through, expected, "{boot} {numbers:?}");
        store.close().await;
        store = bench.open().unwrap();
    }
    assert_eq!(store.audit_append(&edge, "b1", 10, vec![]).await.unwrap(), 9);
    let other: EdgeId = "e2".parse().unwrap();
    assert_eq!(store.audit_append(&other, "b1", 1, batch(1..=1)).await.unwrap(), 1);
    let events = store.audit_after(0, 100).await.unwrap();
    assert_eq!(sequence(&events), (1..=12).collect::<Vec<_>>());
    assert_eq!(requests(&events), ["r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r1", "r1"]);
    let Some(v1::audit_event::Event::Call(last)) = &events[11].event else { panic!() };
    assert_eq!((last.edge.as_str(), last.boot_id.as_str(), last.boot_sequence), ("e2", "b1", 1));
    assert_eq!(store.state().revision, Revision(1), "events are no change of state");
    for (boot, first) in [("", 1), ("b", 0), ("b", u64::MAX), ("a b", 1)] {
        assert!(store.audit_append(&edge, boot, first, batch(1..=1)).await.is_err(), "{boot:?} {first}");
    }
    store.verify().await.unwrap();
}

#[tokio::test]
async fn starts_of_an_edge_are_bounded() {
    let bench = Bench::new();
    let store = bench.create();
    let (edge, other) = ("e1".parse::<EdgeId>().unwrap(), "e2".parse::<EdgeId>().unwrap());
    store.audit_append(&other, "b", 1, vec![call("r")]).await.unwrap();
    for boot in 0..260 {
        bench.clock.advance(Duration::from_secs(1));
        store.audit_append(&edge, &format!("b{boot}"), 1, vec![call("r")]).await.unwrap();
    }
    let state = store.state();
    assert_eq!(state.ingests.len(), 257);
    assert!(!state.ingests.contains_key(&(edge.clone(), "b3".into())));
    assert!(state.ingests.contains_key(&(edge, "b4".into())) && state.ingests.contains_key(&(other, "b".into())));
    store.verify().await.unwrap();
}

#[tokio::test]
async fn an_event_that_cannot_be_stored_takes_its_batch_with_it() {
    let bench = Bench::new();
    let store = bench.create();
    let edge: EdgeId = "e1".parse().unwrap();
    let large = v1::CallEvent { rule: "x".repeat(300 << 10), ..call("r2") };
    assert!(store.audit_append(&edge, "b", 1, vec![call("r1"), large]).await.is_err());
    assert_eq!(*store.audit_head().borrow(), 1);
    assert_eq!(store.audit_append(&edge, "b", 1, vec![call("r1")]).await.unwrap(), 1);
    store.verify().await.unwrap();
}

#[tokio::test]
async fn a_change_and_its_event_carry_the_same_revision() {
    let bench = Bench::new();
    let store = bench.create();
    let meta = put_role(&store, "a", "").await.unwrap();
    let events = store.audit_after(1, 10).await.unwrap();
    let Some(v1::audit_event::Event::Admin(admin)) = &events[0].event else { panic!() };
    assert_eq!((admin.revision, admin.actor.as_str(), admin.action.as_str()), (meta.revision.0, "ada", "put"));
    store.audit_admin(v1::AdminEvent { actor: "eve".into(), ..event("denied") }).await.unwrap();
    let events = store.audit_after(2, 10).await.unwrap();
    let Some(v1::audit_event::Event::Admin(admin)) = &events[0].event else { panic!() };
    assert_eq!((admin.revision, admin.actor.as_str()), (0, "eve"));
}

#[tokio::test]
async fn pages_go_back_to_the_beginning_without_gap_or_repetition() {
    let bench = Bench::new();
    let store = bench.create();
    let edge: EdgeId = "e1".parse().unwrap();
    let calls = (1..=25).map(|at| v1::CallEvent { owner: format!("o{}", at % 2), ..call(&format!("r{at}")) });
    store.audit_append(&edge, "b", 1, calls.collect()).await.unwrap();
    let mut token = String::new();
    let mut seen = Vec::new();
    loop {
        let page = store.audit_page(v1::AuditFilter::default(), 10, &token).await.unwrap();
        // What arrives meanwhile is newer and does not shift the pages.
        store.audit_admin(event("later")).await.unwrap();
        seen.extend(sequence(&page.events));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, (1..=26).rev().collect::<Vec<_>>());
    let filter = v1::AuditFilter { owner: "o1".into(), ..Default::default() };
    let page = store.audit_page(filter, 2, "").await.unwrap();
    assert_eq!(requests(&page.events), ["r25", "r23"]);
    for bad in ["x", "0", "-1", "999999"] {
        let failure = store.audit_page(v1::AuditFilter::default(), 10, bad).await.unwrap_err();
        assert_eq!(failure.field.as_deref(), Some("page_token"), "{bad}");
    }
}

#[test]
fn filters() {
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let called = |call| v1::AuditEvent { at: at(100), sequence: 1, event: Some(v1::audit_event::Event::Call(call)) };
    let call = called(v1::CallEvent { edge: "e1".into(), rule: "r".into(), owner: "ada".into(), ..call("x") });
    let admin = v1::AdminEvent { object: "token/abcDEF012345".into(), ..event("revoke") };
    let admin = v1::AuditEvent { at: at(100), sequence: 2, event: Some(v1::audit_event::Event::Admin(admin)) };
    let none = v1::AuditFilter::default;
    // (filter, matches the call, matches the change)
    let cases = [
        (none(), true, true),
        (v1::AuditFilter { kind: "call".into(), ..none() }, true, false),
        (v1::AuditFilter { kind: "admin".into(), ..none() }, false, true),
        (v1::AuditFilter { token: "abcDEF012345".into(), ..none() }, true, true),
        (v1::AuditFilter { token: "zzz".into(), ..none() }, false, false),
        (v1::AuditFilter { owner: "ada".into(), ..none() }, true, false),
        (v1::AuditFilter { database: "shop".into(), ..none() }, true, false),
        (v1::AuditFilter { edge: "e1".into(), ..none() }, true, false),
        (v1::AuditFilter { edge: "e2".into(), ..none() }, false, false),
        (v1::AuditFilter { rule: "r".into(), ..none() }, true, false),
        (v1::AuditFilter { outcome: v1::Outcome::Succeeded.into(), ..none() }, true, true),
        (v1::AuditFilter { outcome: v1::Outcome::Failed.into(), ..none() }, false, false),
        (v1::AuditFilter { since: at(100), until: at(101), ..none() }, true, true),
        (v1::AuditFilter { since: at(101), ..none() }, false, false),
        (v1::AuditFilter { until: at(100), ..none() }, false, false),
    ];
    for (filter, of_call, of_admin) in cases {
        let query = AuditQuery::try_from(filter.clone()).unwrap();
        assert_eq!((query.matches(&call), query.matches(&admin)), (of_call, of_admin), "{filter:?}");
    }
    for filter in [
        v1::AuditFilter { kind: "x".into(), ..none() },
        v1::AuditFilter { outcome: 99, ..none() },
        v1::AuditFilter { since: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }), ..none() },
    ] {
        assert!(AuditQuery::try_from(filter.clone()).is_err(), "{filter:?}");
    }
}

#[tokio::test]
async fn long_events_still_make_answers_that_fit() {
    let bench = Bench::new();
    let store = bench.create();
    let edge: EdgeId = "e1".parse().unwrap();
    for first in (1..=100).step_by(20) {
        let long = v1::CallEvent { reason: "x".repeat(200 << 10), ..call("r") };
        store.audit_append(&edge, "b1", first, vec![long; 20]).await.unwrap();
    }
    let size = |events: &[v1::AuditEvent]| events.iter().map(prost::Message::encoded_len).sum::<usize>();
    let (mut seen, mut token) = (0, String::new());
    loop {
        let page = store.audit_page(v1::AuditFilter::default(), 1_000, &token).await.unwrap();
        assert!(size(&page.events) < 4 << 20, "no client takes {} bytes", size(&page.events));
        seen += page.events.len();
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, 101);
    let part = store.audit_after(0, 500).await.unwrap();
    assert!(size(&part) < 4 << 20 && part.len() > 1);
}
