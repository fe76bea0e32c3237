//! A server with the sample, the guard for its version, and a session in which
//! accepted statements run with nothing but a time limit around them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use nla_guard::{Catalog, CheckedSql, Parser, ParserConfig, Refusal, Rules, catalog::FACTS_SQL};
use nla_sandbox::sample::{self, TemporarySample};
use nla_tests::traces::traces;
use tokio_postgres::{Client, SimpleQueryMessage};

/// `statement_timeout` of the session.
pub(crate) const LIMIT: Duration = Duration::from_secs(2);
/// How much later than that a statement may end, also on a busy machine.
const GRACE: Duration = Duration::from_secs(20);
/// What the session's process may ever have held, beyond the shared buffers.
const MEMORY_KIB: u64 = 1024 * 1024;

pub(crate) struct Bench {
    pub(crate) sample: TemporarySample,
    pub(crate) admin: Client,
    pub(crate) major: u16,
    parser: Parser,
    rules: Rules,
}

/// How a statement ended.
pub(crate) enum Ended {
    Well,
    /// With an error of this SQLSTATE.
    Failed(String),
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let sample = sample::start_temporary().await.unwrap();
        let admin = sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
        // It would write while nobody does.
        for statement in ["ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()"] {
            admin.batch_execute(statement).await.unwrap();
        }
        let row = admin.query_one("SELECT current_setting('server_version_num')::int / 10000", &[]).await.unwrap();
        let major = u16::try_from(row.get::<_, i32>(0)).unwrap();
        let parser = Parser::start(ParserConfig { threads: 1, queue: 8 }).unwrap();
        Self { sample, admin, major, parser, rules: Rules { server_major: major, ..Rules::default() } }
    }

    /// From now on the guard judges with what the database holds, for sessions
    /// that search these schemas.
    pub(crate) async fn look(&mut self, search_path: &str) {
        self.admin.batch_execute(&format!("SET search_path = {search_path}")).await.unwrap();
        let answer = self.admin.simple_query(&format!("BEGIN READ ONLY; {FACTS_SQL}; ROLLBACK")).await.unwrap();
        let facts = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        self.admin.batch_execute("RESET search_path").await.unwrap();
        self.rules.catalog = Some(Arc::new(Catalog::from_json(facts.unwrap().as_bytes()).unwrap()));
    }

    pub(crate) fn judge(&self, sql: &str) -> Result<CheckedSql, Refusal> {
        self.parser.check(sql, &self.rules).unwrap()
    }

    /// One column of text, one value for each row.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        let rows = self.admin.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Runs `work` with a session and fails if anything has changed after it.
    pub(crate) async fn unchanged(&self, work: impl AsyncFnOnce(&Session)) {
        let session = Session::start(self).await;
        // What the first look and the new session leave in the server's own files.
        self.admin.batch_execute("CHECKPOINT").await.unwrap();
        let before = traces(&self.admin).await.unwrap();
        work(&session).await;
        // The session is still there: what it holds, such as a lock, counts.
        let after = traces(&self.admin).await.unwrap();
        drop(session);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after, "an accepted statement has changed this");
        }
        assert_eq!(before.len(), after.len(), "tables came or went");
    }
}

/// A superuser's session that commits each statement by itself.
pub(crate) struct Session {
    client: Client,
    pid: i32,
}

impl Session {
    async fn start(bench: &Bench) -> Self {
        let client = bench.sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
        client
            .batch_execute(&format!(
                "SET statement_timeout = {}; SET temp_file_limit = '200MB'; SET work_mem = '16MB'; SET jit = off;
                 SET max_parallel_workers_per_gather = 0; SET search_path = {}",
                LIMIT.as_millis(),
                bench.rules.catalog.as_ref().map_or("pg_catalog, shop", |catalog| catalog.search_path())
            ))
            .await
            .unwrap();
        let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        Self { client, pid }
    }

    /// Runs an accepted statement.
    ///
    /// # Panics
    /// When it ends the session, takes longer than its limit, or more memory than
    /// any one value may have.
    pub(crate) async fn run(&self, checked: &CheckedSql) -> Ended {
        let sql = checked.sql();
        let start = Instant::now();
        let answer = tokio::time::timeout(LIMIT + GRACE, self.client.simple_query(sql)).await;
        let answer = answer.unwrap_or_else(|_| panic!("still running after {:?}: {sql}", start.elapsed()));
        assert!(!self.client.is_closed(), "the session has ended: {sql}");
        let peak = self.peak_memory_kib();
        assert!(peak.is_none_or(|peak| peak < MEMORY_KIB), "the process has held {peak:?} KiB: {sql}");
        match answer {
            Ok(_) => Ended::Well,
            Err(error) => Ended::Failed(error.code().unwrap_or_else(|| panic!("{sql}: {error:?}")).code().to_owned()),
        }
    }

    /// Where the system tells it, as Linux does; the server runs on this machine.
    fn peak_memory_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    }
}
