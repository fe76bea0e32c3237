//! One call on one session: what the server is sent, what it runs when something
//! fails before, and what a call leaves behind.

use std::{
    future::poll_fn,
    num::NonZeroU16,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use nla_domain::{
    database::{DatabaseLimits, SslMode},
    policy::Grant,
};
use nla_edge::pg::{Cells, Cut, Executed, Limits, OwnSql, PgError, Pools, RowSet, Sink, Statement};

use super::{
    bench::{Bench, SOON},
    between::Between,
};

/// A pool of one connection.
struct Party<'a> {
    bench: &'a Bench,
    pools: Pools,
    grant: Grant,
}

impl<'a> Party<'a> {
    fn new(bench: &'a Bench) -> Self {
        Self::through(bench, None, "postgres")
    }

    fn through(bench: &'a Bench, between: Option<&Between>, dbname: &str) -> Self {
        let mut database = bench.database(DatabaseLimits { pool_size: 1, ..DatabaseLimits::default() });
        database.dbname = dbname.into();
        if let Some(between) = between {
            database.sslmode = SslMode::Disable;
            database.endpoint.port = NonZeroU16::new(between.port()).unwrap();
        }
        Self { bench, pools: bench.pools(), grant: bench.grant(database, bench.credential("reader secret", 1)) }
    }

    async fn run_into<S: Sink>(&self, sql: &'static str, max_rows: u32, sink: &mut S) -> Result<Executed, PgError> {
        let lease = self.pools.lease(self.bench.token.id(), &self.grant).await?;
        let limits = Limits {
            max_rows,
            max_bytes: 1 << 20,
            statement_timeout: Duration::from_secs(20),
            application_name: "nla/test".into(),
        };
        lease.run(Statement::Own(&OwnSql::new(sql, &[])), &limits, sink).await
    }

    async fn rows(&self, sql: &'static str) -> Vec<Vec<Option<String>>> {
        let mut cells = Cells::default();
        self.run_into(sql, 100, &mut cells).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        cells.rows
    }

    async fn value(&self, sql: &'static str) -> String {
        self.rows(sql).await.remove(0).remove(0).unwrap()
    }

    async fn error(&self, sql: &'static str) -> PgError {
        self.run_into(sql, 100, &mut Cells::default()).await.expect_err(sql)
    }

    /// Waits until the connection, which is of no use, is gone.
    async fn until_closed(&self) {
        let began = Instant::now();
        while self.pools.open_connections() > 0 {
            assert!(began.elapsed() < SOON, "a connection of unknown state is still there");
            tokio::task::yield_now().await;
        }
    }

    async fn pid(&self) -> String {
        self.value("SELECT pg_backend_pid()").await
    }
}

/// Times that `app.shout` ran: a line in the server's log survives any rollback.
fn shouts(bench: &Bench) -> usize {
    std::fs::read_to_string(bench.postgres.log_file()).unwrap().matches("LOG:  somebody shouts").count()
}

async fn bench() -> Bench {
    let bench = Bench::start(DatabaseLimits::default()).await;
    bench
        .admin
        .batch_execute(
            "CREATE FUNCTION app.shout() RETURNS int LANGUAGE plpgsql AS
               $$ BEGIN RAISE LOG 'somebody shouts'; RETURN 1; END $$;
             CREATE FUNCTION app.notices(n int) RETURNS int LANGUAGE plpgsql AS
               $$ BEGIN RAISE NOTICE '%', repeat('n', n); RETURN 1; END $$;",
        )
        .await
        .unwrap();
    bench
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_runs_after_a_begin_or_a_setting_that_fails() {
    let bench = bench().await;
    let plain = Party::new(&bench);
    assert_eq!(plain.value("SELECT app.shout()").await, "1");
    assert_eq!(shouts(&bench), 1, "the proof needs a function that can be heard");

    // BEGIN fails outside of any transaction, where a statement that came after
    // it would run; so does a setting, and a path that is not one.
    for (word, other, sqlstate) in [
        ("BEGIN READ ONLY", "BEGIN READ OILY", "42601"),
        ("set_config('xmlbinary', 'base64'", "set_config('xmlbinary', 'base65'", "22023"),
        ("set_config('timezone'", "set_config('thymezon'", "42704"),
        ("pg_catalog, \"$user\", public", "pg_catalog, \"$user\" public,", "22023"),
    ] {
        let between = Between::start(bench.postgres.port(), word, other).await;
        let party = Party::through(&bench, Some(&between), "postgres");
        let error = party.error("SELECT app.shout()").await;
        let PgError::Unavailable(reason) = &error else { panic!("{word}: {error:?}") };
        assert!(reason.to_string().contains(&format!("SQLSTATE {sqlstate}")), "{word}: {reason}");
        assert!(reason.to_string().contains("nothing was run"), "{word}: {reason}");
        assert_eq!(shouts(&bench), 1, "{word}: the statement ran");
        party.until_closed().await;
    }

    // A server that refuses the settings to this role.
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC";
    bench.admin.batch_execute(revoke).await.unwrap();
    let error = plain.error("SELECT app.shout()").await;
    assert!(error.to_string().contains("SQLSTATE 42501"), "{error}");
    assert_eq!(shouts(&bench), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_one_piece_with_one_sync() {
    let bench = bench().await;
    let between = Between::start(bench.postgres.port(), "", "").await;
    let party = Party::through(&bench, Some(&between), "postgres");
    let pid = party.pid().await;
    let login = between.take().concat();
    let has = |sent: &[u8], part: &[u8]| sent.windows(part.len()).filter(|window| *window == part).count();
    assert_eq!(has(&login, b"default_transaction_read_only=on"), 1);
    assert_eq!(party.pid().await, pid);
    let sent = between.take();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].ends_with(b"S\0\0\0\x04"), "{sent:?}");
    for (part, times) in [
        (&b"S\0\0\0\x04"[..], 1),
        (b"\0BEGIN READ ONLY\0\0\0", 1),
        (b"\0SELECT pg_backend_pid()\0\0\0", 1),
        (b"\0ROLLBACK\0\0\0", 1),
    ] {
        assert_eq!(has(&sent[0], part), times, "{part:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_computes_one_row_more_than_asked_for() {
    let bench = bench().await;
    let party = Party::new(&bench);
    let pid = party.pid().await;
    for (sql, max_rows, rows, computed, cut) in [
        ("SELECT app.shout() FROM generate_series(1, 1000)", 10, 10, 11, Some(Cut::Rows)),
        ("SELECT app.shout() FROM generate_series(1, 11)", 10, 10, 11, Some(Cut::Rows)),
        ("SELECT app.shout() FROM generate_series(1, 10)", 10, 10, 10, None),
        ("SELECT app.shout() WHERE false", 10, 0, 0, None),
    ] {
        let before = shouts(&bench);
        let mut set = RowSet::new(max_rows, 1 << 20);
        let executed = party.run_into(sql, max_rows, &mut set).await.unwrap();
        assert_eq!((set.row_count(), executed.cut, set.cut()), (rows, cut, cut), "{sql}");
        assert_eq!(shouts(&bench) - before, computed, "{sql}");
    }
    // As large as a limit can be, which is not "no rows".
    let mut set = RowSet::new(u32::MAX, 1 << 20);
    assert_eq!(party.run_into("SELECT generate_series(1, 3)", u32::MAX, &mut set).await.unwrap().cut, None);
    assert_eq!(set.row_count(), 3);
    assert_eq!(party.pid().await, pid, "a cut by rows costs no connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_leaves_the_connection_as_it_was() {
    let bench = bench().await;
    let party = Party::new(&bench);
    let pid = party.pid().await;
    for (sql, sqlstate, position) in [
        ("SELECT 1 / 0", "22012", None),
        ("SELECT é FROM nowhere", "42P01", Some(15)),
        ("SELEC 1", "42601", Some(1)),
        ("SELECT 1; SELECT 2", "42601", None),
        ("SELECT 1 / (3 - g) FROM generate_series(1, 5) g", "22012", None),
        ("SELECT 'x'::int", "22P02", Some(8)),
    ] {
        let PgError::Statement(error) = party.error(sql).await else { panic!("{sql}") };
        assert_eq!((error.sqlstate.as_str(), error.position), (sqlstate, position), "{sql}: {error:?}");
        assert_eq!(party.pid().await, pid, "{sql}");
    }
    // A message of an error that quotes a large value is told by its beginning.
    let PgError::Statement(error) = party.error("SELECT repeat('x', 20000000)::int").await else { panic!() };
    assert_eq!((error.sqlstate.as_str(), error.message.len()), ("22P02", 1_000));
    // Notices are nobody's, whatever their size.
    assert_eq!(party.value("SELECT app.notices(1000000)").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_call_is_there_for_the_next() {
    let bench = bench().await;
    let party = Party::new(&bench);
    let pid = party.pid().await;
    let left = "SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
                       (SELECT count(*) FROM pg_prepared_statements WHERE name <> ''),
                       (SELECT count(*) FROM pg_cursors WHERE name <> ''),
                       (SELECT count(*) FROM pg_listening_channels()),
                       coalesce(current_setting('app.tenant', true), '')";
    let nothing = [["0", "0", "0", "0", ""].map(|value| Some(value.to_owned())).to_vec()];
    assert_eq!(party.rows("SELECT pg_advisory_lock(7), set_config('app.tenant', '7', false)").await.len(), 1);
    assert_eq!(party.rows(left).await, nothing);
    assert_eq!(party.pid().await, pid);
    // What is not a SELECT takes its connection with it.
    for sql in ["PREPARE x AS SELECT 1", "LISTEN x", "SET app.tenant = '7'", "DECLARE c CURSOR WITH HOLD FOR SELECT 1"]
    {
        let pid = party.pid().await;
        assert_eq!(party.error(sql).await, PgError::Lost, "{sql}");
        party.until_closed().await;
        assert_eq!(party.rows(left).await, nothing, "{sql}");
        assert_ne!(party.pid().await, pid, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shapes_of_answers() {
    let bench = bench().await;
    let party = Party::new(&bench);
    assert_eq!(party.rows("SELECT").await, [[None::<String>; 0]]);
    assert_eq!(
        party.rows("SELECT 1 AS a, '' AS a, NULL AS a WHERE true").await,
        [[Some("1".to_owned()), Some(String::new()), None]]
    );
    let mut wide = RowSet::new(10, 1 << 20);
    let columns = (0..1_664).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let sql: &'static str = Box::leak(format!("SELECT {columns}").into_boxed_str());
    party.run_into(sql, 10, &mut wide).await.unwrap();
    assert_eq!((wide.columns().len(), wide.row_count()), (1_664, 1));
    for sql in ["EXPLAIN SELECT 1", "SHOW server_version"] {
        assert_eq!(party.rows(sql).await.len(), 1, "{sql}");
    }

    let ascii = "CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'";
    bench.admin.batch_execute(ascii).await.unwrap();
    let party = Party::through(&bench, None, "bytes");
    // The server looks before it sends.
    let PgError::Statement(error) = party.error("SELECT 1, chr(255) AS odd").await else { panic!() };
    assert_eq!(error.sqlstate, "22021");
    assert_eq!(party.value("SELECT 'é'").await, "é");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_server_ended_is_not_used() {
    let bench = bench().await;
    let party = Party::new(&bench);
    let pid = party.pid().await;
    // Chatter of an idle connection is not its end.
    bench.admin.batch_execute("ALTER SYSTEM SET timezone = 'Asia/Tokyo'; ").await.unwrap();
    bench.admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    assert_eq!(party.pid().await, pid);
    let end = format!("SELECT pg_terminate_backend({pid}, 20000)");
    assert!(bench.admin.query_one(&end, &[]).await.unwrap().get::<_, bool>(0));
    assert_ne!(party.pid().await, pid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_may_be_dropped_at_any_point() {
    let bench = bench().await;
    let party = Party::new(&bench);
    let sql = "SELECT app.shout(), repeat('x', 1000), pg_sleep(0.02)";
    // Polled so many times and then dropped: before the lease, while logging in,
    // while writing, while waiting.
    for polls in 0..24 {
        let mut cells = Cells::default();
        let mut call = pin!(party.run_into(sql, 10, &mut cells));
        let mut left = polls;
        poll_fn(|context| {
            if left == 0 || call.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            left -= 1;
            Poll::Pending
        })
        .await;
    }
    bench.until_running(0).await;
    // Its last place in the pool is free again once the last one has stopped.
    let began = Instant::now();
    while party.run_into("SELECT 1", 1, &mut Cells::default()).await == Err(PgError::Busy) {
        assert!(began.elapsed() < SOON);
    }
    assert_eq!(party.value("SELECT 1").await, "1");
}
