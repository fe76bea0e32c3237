//! The facts follow the schema: new names at once, changed ones within the
//! period; and they outlive a restart of the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nla_domain::database::DatabaseLimits;
use nla_edge::{
    clock::{BootClock, MonotonicClock},
    pipeline::DatabaseState,
};
use nla_sandbox::postgres::{Options, Postgres};
use serde_json::json;

use super::bench::{Bench, SOON, text};

/// A clock that can be put forward.
#[derive(Debug, Default)]
struct Forward(AtomicU64);

impl Forward {
    fn by_seconds(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl MonotonicClock for Forward {
    fn elapsed(&self) -> Duration {
        BootClock.elapsed() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

const NEVER: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_made_later_can_be_used_at_once() {
    let bench = Bench::with(DatabaseLimits::default(), |config| config.catalog_refresh = NEVER).await;
    bench.query("SELECT 1").await;
    for (make, use_it) in [
        ("CREATE TABLE app.later (a int); GRANT SELECT ON app.later TO reader", "SELECT * FROM app.later"),
        ("CREATE VIEW app.seen AS SELECT 1 AS a; GRANT SELECT ON app.seen TO reader", "SELECT * FROM app.seen"),
        ("CREATE FUNCTION app.twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1'", "SELECT app.twice(4)"),
        (
            "CREATE SCHEMA more; CREATE TABLE more.t (a int); GRANT USAGE ON SCHEMA more TO reader; GRANT SELECT ON more.t TO reader",
            "SELECT * FROM more.t",
        ),
    ] {
        bench.admin.batch_execute(make).await.unwrap();
        bench.query(use_it).await;
    }
    // A function that writes is refused as soon as it is there, with the reason.
    bench.admin.batch_execute("CREATE FUNCTION app.danger() RETURNS int LANGUAGE sql AS 'SELECT 1'").await.unwrap();
    let refused = bench.refused("SELECT app.danger()").await;
    assert!(refused.starts_with("guard.function.volatile"), "{refused}");
    assert!(bench.refused("SELECT * FROM app.nothing").await.starts_with("guard.relation.unknown"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_dropped_is_looked_for_soon() {
    let bench = Bench::with(DatabaseLimits::default(), |config| config.catalog_refresh = NEVER).await;
    bench.admin.batch_execute("CREATE TABLE app.gone (a int); GRANT SELECT ON app.gone TO reader").await.unwrap();
    bench.query("SELECT * FROM app.gone").await;
    let known = bench.pipeline.database_reports()[0].relations.unwrap();
    bench.admin.batch_execute("DROP TABLE app.gone").await.unwrap();
    let began = Instant::now();
    assert!(bench.refused("SELECT * FROM app.gone").await.contains("42P01"));
    while bench.pipeline.database_reports()[0].relations != Some(known - 1) {
        assert!(began.elapsed() < SOON);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_turns_hostile_is_refused_within_the_period() {
    let period = Duration::from_millis(500);
    let bench = Bench::with(DatabaseLimits::default(), |config| config.catalog_refresh = period).await;
    bench
        .admin
        .batch_execute(
            "CREATE FUNCTION app.write() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT 1';
             GRANT USAGE ON SCHEMA app TO reader;
             CREATE VIEW app.v AS SELECT 1 AS a; GRANT SELECT ON app.v TO reader",
        )
        .await
        .unwrap();
    bench.query("SELECT * FROM app.v").await;
    bench.admin.batch_execute("CREATE OR REPLACE VIEW app.v AS SELECT app.write() AS a").await.unwrap();
    let began = Instant::now();
    loop {
        let result = bench.call("query_database", json!({ "sql": "SELECT * FROM app.v" })).await;
        if result.is_error {
            assert!(text(&result).starts_with("guard.relation.code"), "{}", text(&result));
            break;
        }
        assert!(began.elapsed() < SOON);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_that_cannot_be_refreshed_are_used_for_five_minutes_and_no_longer() {
    let clock = Arc::new(Forward::default());
    let shared: Arc<dyn MonotonicClock> = Arc::clone(&clock) as _;
    let bench = Bench::with(DatabaseLimits::default(), |config| config.boot_clock = shared).await;
    bench.query("SELECT 1").await;
    bench.admin.batch_execute("BEGIN; LOCK TABLE pg_catalog.pg_rewrite IN ACCESS EXCLUSIVE MODE").await.unwrap();
    clock.by_seconds(240);
    bench.query("SELECT 1").await;
    assert_eq!(bench.pipeline.database_reports()[0].state, DatabaseState::Unreachable);
    clock.by_seconds(70);
    let refused = bench.refused("SELECT 1").await;
    assert!(refused.starts_with("database_unavailable: ") && refused.contains("55P03"), "{refused}");
    bench.admin.batch_execute("ROLLBACK").await.unwrap();
    clock.by_seconds(10);
    bench.query("SELECT 1").await;
    assert_eq!(bench.pipeline.database_reports()[0].state, DatabaseState::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_is_survived() {
    let period = Duration::from_millis(200);
    let bench = Bench::with(DatabaseLimits::default(), |config| config.catalog_refresh = period).await;
    bench.query("SELECT 1").await;
    let Bench { postgres, pipeline, handler, folder, token, .. } = bench;
    let call = async || {
        use nla_edge::mcp::{handler::Handler, outcome::Outcome};
        let parts = super::bench::parts(&format!("Bearer {}", token.expose()));
        let admitted = handler.admit(&parts).await.unwrap();
        match handler
            .call_tool(&admitted, super::bench::tool_call("query_database", json!({ "sql": "SELECT 1" })))
            .await
        {
            Outcome::Done(result) => result,
            other => panic!("{other:?}"),
        }
    };
    let port = postgres.port();
    postgres.stop().await;
    let began = Instant::now();
    loop {
        let result = call().await;
        if pipeline.database_reports()[0].state == DatabaseState::Unreachable {
            assert!(result.is_error, "{}", text(&result));
            break;
        }
        assert!(began.elapsed() < SOON);
    }
    let _again = Postgres::start(Options::new(folder.path().join("pg")).throw_away().port(port)).await.unwrap();
    let began = Instant::now();
    while call().await.is_error || pipeline.database_reports()[0].state != DatabaseState::Ok {
        assert!(began.elapsed() < SOON);
    }
}
