use nla_domain::{
    audit::Outcome,
    clock::{FixedClock, Timestamp},
};

use super::*;

fn queue(limits: QueueLimits) -> AuditQueue {
    AuditQueue::new("boot".into(), limits, Arc::new(FixedClock::at(Timestamp::from_micros(1))))
}

fn records(queue: &AuditQueue) -> Vec<Arc<CallRecord>> {
    queue.spool().front(usize::MAX, usize::MAX).map_or_else(Vec::new, |batch| batch.records)
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_recorded_event_frees_no_place() {
    let queue = queue(QueueLimits { max_events: 2, ..QueueLimits::default() });
    let first = queue.reserve().unwrap();
    let second = queue.reserve().unwrap();
    assert!(queue.is_full());
    assert_eq!(queue.reserve().err(), Some(AuditUnavailable));
    let _ = first.finish();
    let _ = second.finish();
    assert_eq!(queue.reserve().err(), Some(AuditUnavailable), "events wait for the control plane");
    queue.spool().stored_through(1);
    drop(queue.reserve().unwrap());
}

#[tokio::test]
async fn the_byte_bound_counts_reservations_and_then_what_is_there() {
    let queue = queue(QueueLimits { max_events: 1_000, max_bytes: 2 * RESERVED_BYTES });
    let first = queue.reserve().unwrap();
    let second = queue.reserve().unwrap();
    assert_eq!(queue.reserve().err(), Some(AuditUnavailable));
    let _ = first.finish();
    let _ = second.finish();
    let mut third = queue.reserve().unwrap();
    third.record_mut().rule = Some("x".repeat(2 * RESERVED_BYTES));
    drop(third);
    assert!(queue.is_full());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_slot_still_says_what_is_known() {
    let queue = queue(QueueLimits::default());
    let mut slot = queue.reserve().unwrap();
    slot.record_mut().action = "query_database".into();
    tokio::time::advance(Duration::from_secs(2)).await;
    drop(slot);
    let events = records(&queue);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].action, "query_database");
    assert_eq!(events[0].outcome, Outcome::Cancelled);
    assert_eq!(events[0].reason, Some("cancelled"));
    assert_eq!(events[0].duration, Duration::from_secs(2));
}

#[tokio::test]
async fn a_panic_is_recorded_as_a_failure() {
    let queue = queue(QueueLimits::default());
    let slot = queue.reserve().unwrap();
    let task = tokio::spawn(async move {
        let _slot = slot;
        panic!("on purpose");
    });
    assert!(task.await.unwrap_err().is_panic());
    let events = records(&queue);
    assert_eq!((events[0].outcome, events[0].reason), (Outcome::Failed, Some("internal")));
}

#[tokio::test]
async fn a_slot_makes_one_event_only() {
    let queue = queue(QueueLimits::default());
    let mut slot = queue.reserve().unwrap();
    let mut record = slot.record_mut().clone();
    record.outcome = Outcome::Succeeded;
    record.reason = None;
    let _ = slot.record(record.clone());
    let events = records(&queue);
    assert_eq!(events.len(), 1);
    assert_eq!(*events[0], record);
}

#[tokio::test]
async fn batches_are_bounded_and_removal_keeps_the_numbers() {
    let queue = queue(QueueLimits::default());
    for at in 0..5 {
        let mut slot = queue.reserve().unwrap();
        slot.record_mut().rows = at;
        let _ = slot.finish();
    }
    let mut spool = queue.spool();
    let batch = spool.front(3, usize::MAX).unwrap();
    assert_eq!((batch.first, batch.last()), (1, 3));
    assert_eq!(spool.front(3, 1).unwrap().records.len(), 1, "one event goes even when it is too large");
    spool.stored_through(2);
    let rest = spool.front(10, usize::MAX).unwrap();
    assert_eq!((rest.first, rest.last()), (3, 5));
    assert_eq!(rest.records[0].rows, 2);
    spool.stored_through(99);
    assert_eq!(spool.len(), 0);
    drop(spool);
    let _ = queue.reserve().unwrap().finish();
    assert_eq!(queue.spool().front(1, usize::MAX).unwrap().first, 6);
}

mod delivery {
    use super::*;
    use crate::fixture::{ControlPlane, SOON, eventually};

    fn record(queue: &AuditQueue, id: usize) {
        let mut slot = queue.reserve().unwrap();
        slot.record_mut().request_id = format!("r{id}");
        let _ = slot.finish();
    }

    /// Request ids that the control plane has stored, in order.
    fn stored(plane: &ControlPlane) -> Vec<String> {
        let audit = plane.shared.audit.lock().unwrap();
        audit.get("boot").map_or_else(Vec::new, |boot| boot.values().cloned().collect())
    }

    #[tokio::test]
    async fn nothing_is_lost_or_doubled_over_a_restart() {
        let mut plane = ControlPlane::start().await;
        let queue = queue(QueueLimits::default());
        let task = tokio::spawn(Delivery::new(queue.clone(), plane.url.clone(), plane.edge_tls()).run());
        *plane.shared.lost_answers.lock().unwrap() = 2;
        for id in 0..700 {
            record(&queue, id);
        }
        eventually("the first events arrive", || !stored(&plane).is_empty()).await;
        plane.stop().await;
        for id in 700..1_500 {
            record(&queue, id);
        }
        *plane.shared.lost_answers.lock().unwrap() = 1;
        *plane.shared.refusals.lock().unwrap() = 1;
        plane.restart().await;
        assert!(queue.flush(SOON).await, "{} events are left", queue.waiting());
        let expected: Vec<String> = (0..1_500).map(|id| format!("r{id}")).collect();
        assert_eq!(stored(&plane), expected);
        task.abort();
    }

    #[tokio::test]
    async fn a_full_queue_takes_events_again_once_they_are_stored() {
        let mut plane = ControlPlane::start().await;
        plane.stop().await;
        let queue = queue(QueueLimits { max_events: 3, ..QueueLimits::default() });
        let task = tokio::spawn(Delivery::new(queue.clone(), plane.url.clone(), plane.edge_tls()).run());
        for id in 0..3 {
            record(&queue, id);
        }
        assert!(queue.reserve().is_err());
        assert!(!queue.flush(Duration::from_millis(50)).await, "a flush ends at its deadline");
        plane.restart().await;
        eventually("there is room again", || !queue.is_full()).await;
        record(&queue, 3);
        assert!(queue.flush(SOON).await);
        assert_eq!(stored(&plane), ["r0", "r1", "r2", "r3"]);
        task.abort();
    }
}
