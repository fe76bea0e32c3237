//! Rotations that begin by themselves.

use std::{sync::Arc, time::Duration};

use nla_domain::clock::{FixedClock, SystemClock, WallClock as _};
use nla_proto::{convert::duration, v1};
use nla_sandbox::{sample, system::idempotency_key};

use super::bench::{Bench, PAIR};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_begins_when_it_is_due_and_not_before() {
    let clock = Arc::new(FixedClock::at(SystemClock.now()));
    let bench = Bench::start_with_clock(1, clock.clone()).await;
    bench.configure(PAIR, &bench.manager_password).await.unwrap();
    let schedule = |every: Option<Duration>| {
        let request = v1::ScheduleRotationRequest {
            idempotency_key: idempotency_key(),
            database: sample::DATABASE.into(),
            every: every.map(duration),
        };
        let mut client = bench.client();
        async move { client.schedule(request).await }
    };
    assert!(schedule(Some(Duration::from_secs(60))).await.is_err(), "too often");
    let view = schedule(Some(Duration::from_secs(7_200))).await.unwrap().into_inner();
    assert!(view.next_at.is_some() && view.run.is_none(), "{view:?}");

    for round in 1..=2 {
        clock.advance(Duration::from_secs(6_000));
        // The schedule is looked at every 5 s: it has been looked at by then.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let request = v1::GetRotationRequest { database: sample::DATABASE.into() };
        let view = bench.client().get(request).await.unwrap().into_inner();
        assert_eq!(view.run.map_or(0, |run| run.number), round - 1, "before its time");
        clock.advance(Duration::from_secs(1_300));
        let request = v1::GetRotationRequest { database: sample::DATABASE.into() };
        let number = async || {
            let view = bench.client().get(request.clone()).await.unwrap().into_inner();
            view.run.is_some_and(|run| run.number == round && super::bench::is_ended(&run))
        };
        nla_sandbox::system::wait_for("the scheduled rotation", number).await.unwrap();
        assert_eq!(bench.run().await.started_by, "control-plane/rotation");
    }
    let view = schedule(None).await.unwrap().into_inner();
    assert!(view.next_at.is_none() && view.every.is_none(), "{view:?}");
}
