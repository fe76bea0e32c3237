//! What holds when the guard is not there, and what one caller costs another.

use std::time::Duration;

use nla_domain::{database::DatabaseLimits, token::TokenText};
use nla_edge::pg::{Cells, Limits, OwnSql, PgError, Statement};

use super::bench::Bench;

fn limits() -> Limits {
    Limits {
        max_rows: 10,
        max_bytes: 1 << 20,
        statement_timeout: Duration::from_secs(5),
        application_name: "nla/test".into(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_refused_without_the_guard() {
    let bench = Bench::start(DatabaseLimits::default()).await;
    bench
        .admin
        .batch_execute(
            "CREATE TABLE app.t (a int); ALTER TABLE app.t OWNER TO reader;
             CREATE SEQUENCE app.s; ALTER SEQUENCE app.s OWNER TO reader;
             CREATE FUNCTION app.write() RETURNS int LANGUAGE sql AS 'INSERT INTO app.t VALUES (1) RETURNING a';
             CREATE FUNCTION app.open() RETURNS text LANGUAGE sql AS
               'SELECT set_config(''transaction_read_only'', ''off'', false)';",
        )
        .await
        .unwrap();
    let pools = bench.pools();
    let grant = bench.grant(bench.database(DatabaseLimits::default()), bench.credential("reader secret", 1));
    let cases = [
        ("SELECT app.write()", "25006"),
        ("SELECT nextval('app.s')", "25006"),
        ("SELECT app.open(), app.write()", "25001"),
        ("INSERT INTO app.t VALUES (1)", "25006"),
        ("WITH x AS (INSERT INTO app.t VALUES (1) RETURNING a) SELECT * FROM x", "25006"),
        ("SET TRANSACTION READ WRITE", "25001"),
        ("DO $$ BEGIN COMMIT; INSERT INTO app.t VALUES (1); END $$", "2D000"),
        ("SELECT 1; INSERT INTO app.t VALUES (1)", "42601"),
        ("SELECT 1; COMMIT; INSERT INTO app.t VALUES (1)", "42601"),
        ("SELECT 1\n;ROLLBACK; INSERT INTO app.t VALUES (1)", "42601"),
    ];
    for (sql, sqlstate) in cases {
        let lease = pools.lease(bench.token.id(), &grant).await.unwrap();
        let own = OwnSql::new(sql, &[]);
        let error = lease.run(Statement::Own(&own), &limits(), &mut Cells::default()).await.unwrap_err();
        let PgError::Statement(reported) = &error else { panic!("{sql}: {error:?}") };
        assert_eq!(reported.sqlstate, sqlstate, "{sql}: {error:?}");
    }
    // Settings, notifications and large objects do not outlive the transaction.
    for sql in ["SELECT set_config('app.tenant', '7', false)", "SELECT pg_notify('x', 'y')"] {
        let lease = pools.lease(bench.token.id(), &grant).await.unwrap();
        let own = OwnSql::new(sql, &[]);
        lease.run(Statement::Own(&own), &limits(), &mut Cells::default()).await.unwrap();
    }
    let lease = pools.lease(bench.token.id(), &grant).await.unwrap();
    let mut cells = Cells::default();
    let own =
        OwnSql::new("SELECT coalesce(current_setting('app.tenant', true), ''), (SELECT count(*) FROM app.t)", &[]);
    lease.run(Statement::Own(&own), &limits(), &mut cells).await.unwrap();
    assert_eq!(cells.rows, [[Some(String::new()), Some("0".into())]]);
    assert_eq!(pools.open_connections(), 1, "refused statements do not cost connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_are_apart() {
    let bench = Bench::start(DatabaseLimits::default()).await;
    let small = DatabaseLimits { pool_size: 1, ..DatabaseLimits::default() };
    let pools = bench.pools();
    let grant = bench.grant(bench.database(small), bench.credential("reader secret", 1));
    let (first, second) = (bench.token.id(), TokenText::generate().unwrap().id());
    let held = pools.lease(first, &grant).await.unwrap();
    assert_eq!(pools.lease(first, &grant).await.unwrap_err(), PgError::Busy);
    let other = pools.lease(second, &grant).await.unwrap();
    assert_eq!(pools.open_connections(), 2);
    drop((held, other));
    // A new generation of the credential has a pool of its own.
    let renewed = bench.grant(bench.database(small), bench.credential("wrong", 2));
    let PgError::Unavailable(error) = pools.lease(first, &renewed).await.unwrap_err() else { panic!() };
    assert_eq!(error.to_string(), "its server refused the configured credential (SQLSTATE 28P01)");
    assert!(pools.lease(first, &grant).await.is_ok());
}
