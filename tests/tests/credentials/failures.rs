//! What goes wrong with a rotation, and the way back or on. In all of it the
//! database can be queried.

use std::time::Duration;

use nla_domain::secret::Secret;
use nla_proto::{
    convert::duration,
    v1::{self, RotationStep, credentials_client::CredentialsClient},
};
use nla_sandbox::{
    sample,
    system::{idempotency_key, wait_for},
};
use serde_json::json;
use tonic::Code;

use super::{
    bench::{Bench, MANAGER, PAIR, other},
    traffic::traffic,
};

/// Computes for hours.
const ENDLESS: &str = "SELECT count(*) FROM shop.orders a, shop.orders b, shop.orders c, shop.orders d";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_the_password_and_one_that_takes_it_later() {
    let bench = Bench::configured(1).await;
    let token = bench.token().await;
    bench.watch.batch_execute(&format!("ALTER ROLE {MANAGER} NOCREATEROLE")).await.unwrap();
    let run = bench.rotate(|_| ()).await;
    assert_eq!(run.step(), RotationStep::Planned, "{run:?}");
    assert!(run.failure.contains("permission denied") && run.failure.contains("42501"), "{run:?}");
    assert!(run.next.contains("credential of nla_reader is in force") && run.next.contains("resume shop"), "{run:?}");
    assert_eq!(bench.user(0, &token).await, sample::READER);
    let twice = bench.begin().await.unwrap_err();
    assert!(twice.code() == Code::FailedPrecondition && twice.message().contains("resume or abort"), "{twice:?}");

    bench.watch.batch_execute(&format!("ALTER ROLE {MANAGER} CREATEROLE")).await.unwrap();
    bench.resume(false).await.unwrap();
    let run = bench.ended().await;
    assert_eq!((run.step(), run.failure.as_str()), (RotationStep::Done, ""), "{run:?}");
    assert!(run.remark.contains("nla_reader is not of the pair"), "{run:?}");
    assert_eq!(bench.user(0, &token).await, PAIR[0]);
    assert!(bench.open(sample::READER).await.0, "a role outside of the pair is left alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_cannot_use_the_role_stops_it_and_abort_shuts_the_role() {
    let bench = Bench::configured(1).await;
    let token = bench.token().await;
    bench.watch.batch_execute(&format!("ALTER ROLE {} CREATEROLE", PAIR[0])).await.unwrap();
    let run = bench.rotate(|_| ()).await;
    assert_eq!(run.step(), RotationStep::Verified, "{run:?}");
    assert!(run.failure.contains("edge-1 cannot use it, at rights") && run.failure.contains("CREATEROLE"), "{run:?}");
    assert_eq!(bench.open(PAIR[0]).await, (true, true));

    bench.abort().await.unwrap();
    let run = bench.ended().await;
    assert_eq!(run.step(), RotationStep::Aborted, "{run:?}");
    assert_eq!(bench.open(PAIR[0]).await, (false, false));
    assert_eq!(bench.user(0, &token).await, sample::READER);
    assert!(bench.abort().await.is_err(), "there is nothing left to take back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_never_confirms_is_waited_for_until_it_has_fenced_itself() {
    let mut bench = Bench::configured(2).await;
    bench.rotate(|_| ()).await;
    let plane = &mut bench.sandbox.control_plane;
    plane.config_mut().staleness.strict = Duration::from_secs(1);
    plane.config_mut().staleness.standard = Duration::from_secs(2);
    plane.stop().await.unwrap();
    plane.resume().await.unwrap();
    bench.connected(2).await;
    bench.sandbox.edges[1].stop().await.unwrap();
    bench.connected(1).await;

    let began = std::time::Instant::now();
    bench.begin().await.unwrap();
    let waiting = bench.until("an edge that is waited for", |run| run.waiting_for.contains("edge-2")).await;
    assert_eq!(waiting.step(), RotationStep::Published);
    assert!(waiting.waiting_for.contains("edge-2 (not connected)"), "{waiting:?}");
    assert_eq!(bench.open(&waiting.old_role).await, (true, true), "the edge may still use it");
    let refused = bench.begin().await.unwrap_err();
    assert!(refused.message().contains("under way"), "{refused:?}");
    let request = v1::SetCredentialRequest {
        idempotency_key: idempotency_key(),
        database: sample::DATABASE.into(),
        username: sample::READER.into(),
        password: "any".into(),
        expected_revision: 0,
    };
    let refused = CredentialsClient::new(bench.sandbox.admin.channel()).set(request).await.unwrap_err();
    assert!(refused.message().contains("a rotation of shop is under way"), "{refused:?}");

    let run = bench.ended().await;
    assert!(began.elapsed() >= Duration::from_secs(12), "{:?}: before the edge has fenced itself", began.elapsed());
    assert_eq!((run.step(), run.unreached_edges), (RotationStep::Done, vec!["edge-2".to_owned()]));
    assert_eq!(bench.open(&run.old_role).await, (false, false));

    // By force nobody is waited for who is not there.
    let run = bench.rotate(|request| request.force = true).await;
    assert_eq!((run.step(), run.unreached_edges), (RotationStep::Done, vec!["edge-2".to_owned()]));
    bench.sandbox.edges[1].resume().await.unwrap();
    bench.sandbox.edges[1].ready().await.unwrap();
    let token = bench.token().await;
    assert_eq!(bench.user(1, &token).await, run.new_role);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_can_be_taken_back() {
    let mut bench = Bench::configured(2).await;
    let token = bench.token().await;
    let first = bench.rotate(|_| ()).await;
    bench.sandbox.edges[1].stop().await.unwrap();
    bench.connected(1).await;
    bench.begin().await.unwrap();
    let waiting = bench.until("a published credential", |run| run.step() == RotationStep::Published).await;
    wait_for("the new role on the edge", || async { bench.user(0, &token).await == waiting.new_role }).await.unwrap();

    let back = bench.abort().await.unwrap().run.unwrap();
    assert!(back.reverting && back.new_role == first.new_role, "{back:?}");
    wait_for("the old role on the edge", || async { bench.user(0, &token).await == first.new_role }).await.unwrap();
    bench.resume(true).await.unwrap();
    let run = bench.ended().await;
    assert_eq!(run.step(), RotationStep::Aborted, "{run:?}");
    assert_eq!(bench.open(&first.new_role).await, (true, true));
    assert_eq!(bench.open(other(&first.new_role)).await, (false, false));
    assert_eq!(bench.user(0, &token).await, first.new_role);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_grace_ends_and_an_emergency_has_none() {
    let bench = Bench::configured(1).await;
    let token = bench.token().await;
    let first = bench.rotate(|_| ()).await;
    let endless = || {
        let client = bench.sandbox.client(0, &token).unwrap();
        let call = json!({ "name": "query_database", "arguments": { "sql": ENDLESS } });
        tokio::spawn(async move { client.request("tools/call", call).await.map(drop) })
    };
    let runs = |role: String| {
        let watch = &bench.watch;
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND state = 'active'";
        async move { watch.query_one(sql, &[&role]).await.unwrap().get::<_, i64>(0) == 1 }
    };
    let running = endless();
    wait_for("a long statement", || runs(first.new_role.clone())).await.unwrap();
    let second = bench.rotate(|request| request.grace = Some(duration(Duration::from_secs(2)))).await;
    assert_eq!(second.step(), RotationStep::Done, "{second:?}");
    assert!(second.remark.contains("1 sessions of") && second.remark.contains("after the grace"), "{second:?}");
    assert_eq!(bench.sessions(&first.new_role).await, 0);
    // It only reads, so that it begins again under the new role.
    wait_for("the statement under the new role", || runs(second.new_role.clone())).await.unwrap();

    let traffic = traffic([bench.sandbox.client(0, &token).unwrap()]);
    traffic.goes_on(5).await;
    let began = std::time::Instant::now();
    let third = bench.rotate(|request| request.emergency = true).await;
    assert_eq!((third.step(), third.remark.as_str()), (RotationStep::Done, ""), "{third:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!((bench.sessions(&second.new_role).await, bench.open(&second.new_role).await), (0, (false, false)));
    traffic.goes_on(5).await;
    traffic.end().await;
    running.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_cannot_work_is_refused_with_the_reason() {
    let bench = Bench::start(1).await;
    let wrong = Secret::new("wrong-password-of-this-test");
    let cases = [
        (PAIR, &wrong, "cannot log in as nla_manager"),
        ([PAIR[0], PAIR[0]], &bench.manager_password, "three different ones"),
        ([PAIR[0], MANAGER], &bench.manager_password, "three different ones"),
        ([PAIR[0], "nobody_of_that_name"], &bench.manager_password, "does not have both roles"),
        ([PAIR[0], "nla_super"], &bench.manager_password, "is a superuser"),
        ([PAIR[0], "nla_stranger"], &bench.manager_password, "may not end the sessions"),
    ];
    bench.watch.batch_execute("CREATE ROLE nla_super SUPERUSER; CREATE ROLE nla_stranger").await.unwrap();
    for (roles, password, reason) in cases {
        let refused = bench.configure(roles, password).await.unwrap_err();
        assert!(refused.message().contains(reason), "{roles:?}: {refused:?}");
        assert!(!format!("{refused:?}").contains(password.expose()), "{refused:?}");
    }
    let missing = bench.begin().await.unwrap_err();
    assert!(missing.code() == Code::NotFound && missing.message().contains("rotation configure"), "{missing:?}");
}
