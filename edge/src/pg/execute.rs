//! One statement on one connection, in a transaction that can only read and is
//! always rolled back. `pipeline` calls [`Lease::run`] with what the guard has
//! checked. One round trip: BEGIN, its settings, the statement and ROLLBACK are
//! one write with one Sync.
//!
//! Invariants: the server runs the statement only after BEGIN READ ONLY and every
//! setting have succeeded, and sees one statement, because the extended protocol
//! takes no more; a lease that is dropped at any other point than a proven
//! ROLLBACK (deadline, client gone, revocation, byte limit, panic) cancels the
//! statement on the server and discards the connection.

use std::{sync::Arc, time::Duration};

use deadpool::managed::Object;
use nla_guard::CheckedSql;
use postgres_protocol::message::backend as tag;
use tokio::time::{Instant, timeout};

use super::{
    connect::{Opened, Target},
    error::{PgError, StatementError},
    own_sql::OwnSql,
    pool::Maker,
    rows::{self, Cut, Sink},
    settings::{self, DEALLOCATE, GRACE, UNLOCK},
    sqlstate,
    wire::{self, Reported, Row, Session, Settled, WireError},
};

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
/// A statement that neither a cancel request nor its time limit ends is waited for
/// this long before its place in the pool is given away.
const UNSTOPPABLE: Duration = Duration::from_secs(600);
/// Rows of few bytes cost more on the wire than in JSON, three times at most.
const WIRE_FACTOR: u64 = 3;
const WIRE_EXTRA_BYTES: u64 = 1 << 20;
/// Beside its values, which are never shorter in JSON, a row has a length of
/// four bytes for each of 1,664 columns at most.
const ROW_EXTRA_BYTES: u64 = 8 << 10;

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
            Self::Own(own) => own.sql(),
        }
    }

    /// The path that the guard's verdict rests on.
    fn search_path(self) -> Option<&'a str> {
        match self {
            Self::Checked(checked) => checked.search_path(),
            Self::Own(_) => None,
        }
    }

    /// The name of a type of the database's own.
    fn type_name(self, oid: u32) -> Option<String> {
        match self {
            Self::Checked(checked) => checked.catalog()?.type_name(oid),
            Self::Own(_) => None,
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

/// What the server answers next. It answers in the order in which it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin,
    Settings,
    Statement,
    Unlock,
    Deallocate,
    Rollback,
    Done,
}

impl Step {
    fn next(self) -> Self {
        match self {
            Self::Begin => Self::Settings,
            Self::Settings => Self::Statement,
            Self::Statement => Self::Unlock,
            Self::Unlock => Self::Deallocate,
            Self::Deallocate => Self::Rollback,
            Self::Rollback | Self::Done => Self::Done,
        }
    }
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

    fn opened(&mut self) -> &mut Opened {
        self.connection.as_deref_mut().expect("only drop takes the connection")
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
        let Opened { session, search_path, .. } = self.opened();
        let search_path = statement.search_path().unwrap_or(search_path);
        // The guard lets no NUL through, and nothing was sent yet.
        let call = settings::call(statement.sql(), limits, search_path).map_err(|_| PgError::Lost)?;
        let longest_row = usize::try_from(limits.max_bytes.saturating_add(ROW_EXTRA_BYTES)).unwrap_or(usize::MAX);
        session.allow(limits.max_bytes.saturating_mul(WIRE_FACTOR).saturating_add(WIRE_EXTRA_BYTES), longest_row);
        session.send(call).await.map_err(|_| PgError::Lost)?;

        let mut step = Step::Begin;
        let mut columns = 0;
        let mut cut = None;
        let mut failed: Option<PgError> = None;
        let mut reads = true;
        loop {
            let (kind, body) = match session.receive().await {
                Ok(message) => message,
                Err(error) => {
                    return match (failed, error) {
                        // A long message of an error, or the end of a fatal one.
                        (Some(failed), _) => Err(failed),
                        (None, WireError::TooLarge) if step == Step::Statement => Ok(Some(Cut::Bytes)),
                        (None, _) => Err(PgError::Lost),
                    };
                }
            };
            match (kind, step) {
                (tag::PARSE_COMPLETE_TAG | tag::BIND_COMPLETE_TAG | tag::PARAMETER_DESCRIPTION_TAG, _) => {}
                (tag::DATA_ROW_TAG, Step::Settings | Step::Unlock) => {}
                (tag::ROW_DESCRIPTION_TAG, Step::Statement) => {
                    let fields = wire::fields(body).map_err(|_| PgError::Lost)?;
                    columns = fields.len();
                    sink.begin(rows::columns(fields, |oid| statement.type_name(oid)));
                }
                (tag::NO_DATA_TAG, Step::Statement) => sink.begin(Vec::new()),
                // What comes after the last row that was asked for.
                (tag::DATA_ROW_TAG, Step::Statement) if cut.is_some() => {}
                (tag::DATA_ROW_TAG, Step::Statement) => {
                    let row = Row::read(body).ok().filter(|row| row.len() == columns).ok_or(PgError::Lost)?;
                    cut = sink.row(&row)?;
                    // The row limit ends with the server's own last row, one
                    // further on; the byte limit may be far from the end.
                    if cut == Some(Cut::Bytes) {
                        return Ok(cut);
                    }
                }
                (tag::COMMAND_COMPLETE_TAG, _) => {
                    reads &= step != Step::Statement || is_reading(body);
                    step = step.next();
                }
                (tag::PORTAL_SUSPENDED_TAG, Step::Statement) => step = step.next(),
                (tag::ERROR_RESPONSE_TAG, _) => {
                    let reported = Reported::read(body);
                    failed = Some(match step {
                        Step::Begin | Step::Settings => PgError::of_begin(&reported),
                        _ => PgError::Statement(StatementError::read(&reported)),
                    });
                }
                (tag::READY_FOR_QUERY_TAG, _) => {
                    let idle = body == b"I";
                    session.rest();
                    return match failed {
                        Some(failed) => Err(failed),
                        None if step == Step::Done && reads => {
                            self.clean = idle;
                            Ok(cut)
                        }
                        // What was not a reading statement was rolled back; what
                        // a ROLLBACK leaves goes with the connection.
                        None => Err(PgError::Lost),
                    };
                }
                _ => return Err(PgError::Lost),
            }
        }
    }

    /// Ends the failed transaction; the connection is clean only if the server
    /// confirms it.
    async fn roll_back(&mut self) {
        let session = &mut self.opened().session;
        if !session.is_answered() {
            return;
        }
        let end = format!("ROLLBACK; {UNLOCK}; {DEALLOCATE}");
        let confirmed = timeout(ROLLBACK_TIMEOUT, session.simple(&end)).await;
        session.rest();
        self.clean = matches!(confirmed, Ok(Ok(Ok(answer))) if answer.idle);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(object) = self.connection.take() else { return };
        if self.clean {
            return;
        }
        let target = Arc::clone(&self.target);
        let mut doubtful = Doubtful(Some(object));
        // Without a runtime the process is ending, and its sockets with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // It keeps its place in the pool until it has stopped, so that what
            // cannot be stopped takes no more of the server than the pool may.
            runtime.spawn(async move {
                if let Some(object) = &mut doubtful.0 {
                    stop(&target, &mut object.session).await;
                }
            });
        }
    }
}

/// A connection that never goes back to its pool.
struct Doubtful(Option<Object<Maker>>);

impl Drop for Doubtful {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

/// Whether a statement's own name for itself is that of one which reads. The
/// guard lets no other through.
fn is_reading(command: &[u8]) -> bool {
    [&b"SELECT "[..], b"EXPLAIN\0", b"SHOW\0"].iter().any(|name| command.starts_with(name))
}

/// Cancels what runs until the server is proven idle, then hangs up. One request
/// is not enough: it is lost when it overtakes the statement on its way to the
/// server, and a server does not notice that its client has hung up.
async fn stop(target: &Target, session: &mut Session) {
    for patience in STOP_PATIENCE {
        let heard = match session.key() {
            Some(key) => target.cancel(key, session.peer()).await,
            None => false,
        };
        match timeout(patience, session.settle()).await {
            Ok(Settled::Ended) => return,
            // It sent rows, so that the request has not overtaken anything, and
            // it cannot act on it while it waits for a reader.
            Ok(Settled::Talking) if heard => return,
            Ok(Settled::Talking) | Err(_) => {}
        }
    }
    tracing::warn!(database = %target.database.name, "a statement did not stop when cancelled; its time limit will end it");
    // Some of libxml2's work looks at no limit. The end comes with the answer, or
    // with the connection.
    let _ = timeout(UNSTOPPABLE, session.settle()).await;
}
