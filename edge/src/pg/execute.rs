//! One statement on one connection, in a transaction that can only read and is
//! always rolled back. `pipeline` calls [`Lease::run`] with what the guard has
//! checked. Two round trips: BEGIN with its settings beside the server's own
//! parse of the statement, then cursor, rows and ROLLBACK.
//!
//! Invariants: the statement is sent only after BEGIN READ ONLY and every
//! setting have succeeded; a lease that is dropped at any other point than a
//! proven ROLLBACK (deadline, client gone, revocation, byte limit, panic) cancels
//! the statement on the server and discards the connection.

use std::{fmt::Write as _, pin::pin, sync::Arc, time::Duration};

use deadpool::managed::Object;
use futures_util::StreamExt;
use nla_guard::{CheckedSql, StatementKind};
use tokio::time::{Instant, timeout};
use tokio_postgres::SimpleQueryMessage;

use super::{
    connect::{Connected, Target},
    error::PgError,
    pool::Maker,
    rows::{self, Cut, Sink},
    sqlstate,
};

/// The server's own timeout should speak first; this much later the edge stops
/// waiting for it.
const GRACE: Duration = Duration::from_secs(2);
/// A reader that waits for a lock this long waits for a migration, and queues
/// others behind it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// A ROLLBACK has nothing to wait for.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(2);
/// Waits between cancel requests: a lost one is repeated soon, a server that is
/// slow to notice is not pestered.
const STOP_PATIENCE: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
/// PostgreSQL cuts `application_name` there (NAMEDATALEN - 1).
const MAX_APPLICATION_NAME: usize = 63;
/// Rows of few bytes cost more on the wire than in JSON, three times at most.
const WIRE_FACTOR: u64 = 3;
const WIRE_EXTRA_BYTES: u64 = 1 << 20;

/// Bounds of one statement.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Rows in the answer.
    pub max_rows: u32,
    /// Bytes in the answer.
    pub max_bytes: u64,
    /// Time on the server.
    pub statement_timeout: Duration,
    /// Shown in `pg_stat_activity` while the statement runs.
    pub application_name: String,
}

/// A statement of the edge's own: constant SQL with `$1` to `$9` in it, which
/// are replaced by quoted literals.
#[derive(Debug, Clone)]
pub struct OwnSql(String);

impl OwnSql {
    /// Fills in the arguments.
    pub fn new(sql: &'static str, arguments: &[&str]) -> Self {
        let mut text = String::with_capacity(sql.len());
        let mut rest = sql;
        while let Some(at) = rest.find('$') {
            text.push_str(&rest[..at]);
            let number = rest[at + 1..].chars().next().and_then(|digit| digit.to_digit(10));
            let argument = number.and_then(|n| arguments.get(usize::try_from(n).ok()?.checked_sub(1)?));
            match argument {
                Some(argument) => {
                    push_literal(&mut text, argument);
                    rest = &rest[at + 2..];
                }
                None => {
                    text.push('$');
                    rest = &rest[at + 1..];
                }
            }
        }
        text.push_str(rest);
        Self(text)
    }
}

/// A literal that reads the same whatever `standard_conforming_strings` says:
/// the settings of a transaction are sent before that one is known to be on.
fn push_literal(out: &mut String, value: &str) {
    let quoted = value.replace('\0', "").replace('\'', "''");
    if quoted.contains('\\') {
        out.push_str(" E'");
        out.push_str(&quoted.replace('\\', "\\\\"));
    } else {
        out.push('\'');
        out.push_str(&quoted);
    }
    out.push('\'');
}

/// What may be run.
#[derive(Debug, Clone, Copy)]
pub enum Statement<'a> {
    /// A caller's, after the guard.
    Checked(&'a CheckedSql),
    /// The edge's own; it returns rows.
    Own(&'a OwnSql),
}

impl<'a> Statement<'a> {
    fn sql(self) -> &'a str {
        match self {
            Self::Checked(checked) => checked.sql(),
            Self::Own(own) => &own.0,
        }
    }

    /// EXPLAIN and SHOW cannot stand in a cursor.
    fn has_cursor(self) -> bool {
        match self {
            Self::Checked(checked) => checked.kind() == StatementKind::Rows,
            Self::Own(_) => true,
        }
    }
}

/// How a statement ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Executed {
    /// Time with the database.
    pub duration: Duration,
    /// Why not all rows were read.
    pub cut: Option<Cut>,
}

/// A connection for one statement.
#[derive(Debug)]
pub struct Lease {
    connection: Option<Object<Maker>>,
    target: Arc<Target>,
    /// Nothing of ours is open on the connection.
    clean: bool,
}

impl Lease {
    pub(crate) fn new(connection: Object<Maker>, target: Arc<Target>) -> Self {
        Self { connection: Some(connection), target, clean: true }
    }

    /// The server's major version.
    pub fn server_major(&self) -> u16 {
        self.connected().server_major
    }

    fn connected(&self) -> &Connected {
        self.connection.as_deref().expect("only drop takes the connection")
    }

    /// Runs the statement and hands its rows to `sink`. Dropping the future
    /// cancels the statement on the server.
    ///
    /// # Errors
    /// [`PgError`]; what `sink` has got by then is to be thrown away.
    pub async fn run<S: Sink>(
        mut self,
        statement: Statement<'_>,
        limits: &Limits,
        sink: &mut S,
    ) -> Result<Executed, PgError> {
        let began = Instant::now();
        // From the first message until a proven ROLLBACK.
        self.clean = false;
        let outcome = timeout(limits.statement_timeout + GRACE, self.exchange(statement, limits, sink)).await;
        let outcome = outcome.unwrap_or(Err(PgError::TimedOut));
        let duration = began.elapsed();
        match outcome {
            Ok(cut) => Ok(Executed { duration, cut }),
            Err(PgError::Statement(error)) => {
                self.roll_back().await;
                // The message is in the server's language, the code does not
                // tell a timeout from an administrator's cancel: the clock does.
                let was_timeout =
                    error.sqlstate == sqlstate::QUERY_CANCELED && duration + GRACE / 4 >= limits.statement_timeout;
                Err(if was_timeout { PgError::TimedOut } else { PgError::Statement(error) })
            }
            Err(other) => Err(other),
        }
    }

    async fn exchange<S: Sink>(
        &mut self,
        statement: Statement<'_>,
        limits: &Limits,
        sink: &mut S,
    ) -> Result<Option<Cut>, PgError> {
        let connected = self.connected();
        let client = &connected.client;
        let wire_bytes = limits.max_bytes.saturating_mul(WIRE_FACTOR).saturating_add(WIRE_EXTRA_BYTES);
        connected.meter.allow(wire_bytes);

        // Both are on their way before either is answered. Parsing runs nothing,
        // so it may follow a BEGIN that fails; it also proves that the server
        // sees one statement, because the extended protocol takes no more.
        let begin = begin(limits, &connected.search_path);
        let (begun, prepared) = tokio::join!(client.batch_execute(&begin), client.prepare(statement.sql()));
        begun.map_err(|error| match PgError::of_statement(&error, 0) {
            // Nothing of it is the caller's.
            PgError::Statement(_) => PgError::Lost,
            other => other,
        })?;
        let prepared = prepared.map_err(|error| PgError::of_statement(&error, 0))?;
        sink.begin(rows::columns(&prepared));
        // Closed on the server here, still inside of the transaction, so that a
        // transaction pooler in between closes it where it was made.
        drop(prepared);

        let (before, batch) = batch(statement, limits.max_rows);
        let stream = client.simple_query_raw(&batch).await.map_err(|error| PgError::of_statement(&error, before))?;
        let mut stream = pin!(stream);
        let mut cut = None;
        while let Some(message) = stream.next().await {
            match message {
                Ok(SimpleQueryMessage::Row(row)) if cut.is_none() => {
                    cut = sink.row(&row)?;
                    // The row limit ends with the server's own last row, one
                    // further on; the byte limit may be far from the end.
                    if cut == Some(Cut::Bytes) || (cut.is_some() && !statement.has_cursor()) {
                        return Ok(cut);
                    }
                }
                Ok(_) => {}
                Err(_) if connected.meter.is_exhausted() => return Ok(Some(Cut::Bytes)),
                Err(error) => return Err(PgError::of_statement(&error, before)),
            }
        }
        self.clean = true;
        Ok(cut)
    }

    /// Ends the aborted transaction; the connection is clean only if the server
    /// confirms it.
    async fn roll_back(&mut self) {
        let confirmed = timeout(ROLLBACK_TIMEOUT, self.connected().client.batch_execute("ROLLBACK")).await;
        self.clean = matches!(confirmed, Ok(Ok(())));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(object) = self.connection.take() else { return };
        if self.clean {
            return;
        }
        let connected = Object::take(object);
        let target = Arc::clone(&self.target);
        // Without a runtime the process is ending, and its sockets with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { stop(&target, connected).await });
        }
    }
}

/// Cancels what runs until the server is proven idle, then hangs up. One request
/// is not enough: it is lost when it overtakes the statement on its way to the
/// server, and a server does not notice that its client has hung up.
async fn stop(target: &Target, connected: Connected) {
    let mut idle = pin!(connected.client.batch_execute("ROLLBACK"));
    for patience in STOP_PATIENCE {
        target.cancel(&connected.cancel).await;
        // Any answer will do, an error as well: it is the answer to what was
        // sent last.
        if timeout(patience, idle.as_mut()).await.is_ok() {
            return;
        }
    }
    tracing::warn!(database = %target.database.name, "a statement did not stop when cancelled; its time limit will end it");
}

/// BEGIN and all that a statement rests on. Set in each transaction, because
/// the role's own settings must not change an answer and a transaction pooler
/// may hand out another session each time. The SELECT also takes the snapshot,
/// after which PostgreSQL lets nobody make the transaction writable.
fn begin(limits: &Limits, search_path: &str) -> String {
    let milliseconds = |duration: Duration| duration.as_millis().max(1).to_string();
    let name: String =
        limits.application_name.chars().filter(char::is_ascii_graphic).take(MAX_APPLICATION_NAME).collect();
    let settings = [
        ("statement_timeout", milliseconds(limits.statement_timeout)),
        ("lock_timeout", milliseconds(LOCK_TIMEOUT.min(limits.statement_timeout))),
        ("idle_in_transaction_session_timeout", milliseconds(limits.statement_timeout + GRACE)),
        ("application_name", name),
        ("search_path", search_path.to_owned()),
        ("standard_conforming_strings", "on".to_owned()),
        ("client_encoding", "UTF8".to_owned()),
        ("datestyle", "ISO, MDY".to_owned()),
        ("intervalstyle", "postgres".to_owned()),
        ("extra_float_digits", "1".to_owned()),
        ("bytea_output", "hex".to_owned()),
        ("xmlbinary", "base64".to_owned()),
        ("timezone", "UTC".to_owned()),
        // The whole answer is read: a plan that is quick to its first row only
        // would be the wrong one.
        ("cursor_tuple_fraction", "1".to_owned()),
    ];
    let mut sql = String::from("BEGIN READ ONLY; SELECT ");
    for (at, (setting, value)) in settings.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        let _ = write!(sql, "{comma}pg_catalog.set_config('{setting}', ");
        push_literal(&mut sql, value);
        sql.push_str(", true)");
    }
    sql
}

/// The statement with its cursor and ROLLBACK, and the number of characters
/// before it. A simple batch stops at its first error.
fn batch(statement: Statement<'_>, max_rows: u32) -> (usize, String) {
    const DECLARE: &str = "DECLARE nla NO SCROLL CURSOR FOR ";
    let sql = statement.sql();
    if statement.has_cursor() {
        let rows = u64::from(max_rows) + 1;
        (DECLARE.len(), format!("{DECLARE}{sql}\n;FETCH FORWARD {rows} FROM nla;ROLLBACK"))
    } else {
        (0, format!("{sql}\n;ROLLBACK"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_statements_quote_their_arguments() {
        let own = OwnSql::new("SELECT $1, $2, '$9', $$", &["it's", "$1"]);
        assert_eq!(own.0, "SELECT 'it''s', '$1', '$9', $$");
        assert_eq!(OwnSql::new("SELECT $1", &["\\'; x"]).0, "SELECT  E'\\\\''; x'");
    }

    #[test]
    fn a_hostile_application_name_stays_inside_its_literal() {
        let limits = Limits {
            max_rows: 1,
            max_bytes: 1,
            statement_timeout: Duration::from_millis(1_500),
            application_name: format!("a'b\n{}", "x".repeat(100)),
        };
        let sql = begin(&limits, "pg_catalog, \"$user\", public, pg_temp");
        assert!(sql.starts_with("BEGIN READ ONLY; "), "{sql}");
        assert!(sql.contains("'statement_timeout', '1500'"), "{sql}");
        assert!(sql.contains("'application_name', 'a''bx"), "{sql}");
        assert!(!sql.contains(&"x".repeat(64)), "{sql}");
    }
}
