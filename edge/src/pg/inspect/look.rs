//! One look at a database: what it holds, as the guard needs it, and what its
//! database role may do. The inspector's entries look again and again, the
//! probe of `nlactl database test` once.
//! Invariant: everything is read in one read-only transaction that is rolled
//! back, so that nothing stays behind on a connection of a transaction pooler;
//! time and bytes are bounded, and no request worker parses.

use std::{
    pin::pin,
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::{StreamExt, future};
use nla_guard::catalog::{Catalog, FACTS_SQL};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::{Instant, timeout},
};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::{
    super::{
        meter::Meter,
        sqlstate::{self, Class},
    },
    rights::{self, Finding, RIGHTS_SQL},
};

/// A catalog of a hundred thousand relations is read in a few seconds.
const LONGEST_LOOK: Duration = Duration::from_secs(15);
/// The same catalog is a quarter of this.
const MOST_BYTES: u64 = 64 << 20;
/// For notices while nothing is asked.
const IDLE_BYTES: u64 = 256 << 10;

/// The server gives up before the edge does. Each of these is set for this
/// transaction alone; the first batch is of its own, because a batch is read as
/// a whole by the setting that is in force when it arrives.
const BEGIN: &str = "BEGIN READ ONLY; \
    SET LOCAL standard_conforming_strings = on; \
    SET LOCAL statement_timeout = '12s'; \
    SET LOCAL lock_timeout = '5s'; \
    SET LOCAL idle_in_transaction_session_timeout = '20s'; \
    SET LOCAL jit = off; \
    SET LOCAL max_parallel_workers_per_gather = 0";
static LOOK: LazyLock<String> = LazyLock::new(|| format!("{FACTS_SQL};\n{RIGHTS_SQL};\nROLLBACK"));

/// Why a database could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// More bytes than the edge is willing to read.
    #[error("it is larger than {} MiB", MOST_BYTES >> 20)]
    TooLarge,
    /// The edge's limit.
    #[error("that took too long; is the server busy, or is its catalog locked?")]
    TimedOut,
    /// What PostgreSQL said.
    #[error("its server answered with SQLSTATE {0}")]
    Server(String),
    /// The connection has ended.
    #[error("the connection was lost")]
    Lost,
    /// Not what the statement returns.
    #[error("its server answered something else than a catalog")]
    Malformed,
}

impl LookError {
    /// True where another connection may fare better.
    pub(super) fn is_broken_connection(&self) -> bool {
        match self {
            Self::Lost => true,
            Self::Server(code) => sqlstate::class(code) == Class::Connection,
            _ => false,
        }
    }
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) findings: Vec<Finding>,
    /// Such as `15.18 (Debian ...)`.
    pub(crate) server_version: String,
    /// With a connection that stood.
    pub(crate) took: Duration,
}

/// Looks once. After an error the connection is of no use any more.
///
/// # Errors
/// [`LookError`] says what to look at.
pub(crate) async fn look(client: &Client, meter: &Meter, parsing: &Arc<Semaphore>) -> Result<Seen, LookError> {
    meter.allow(MOST_BYTES);
    let began = Instant::now();
    let seen = timeout(LONGEST_LOOK, async { parse(read(client, meter).await?, parsing, began).await });
    let seen = seen.await.unwrap_or(Err(LookError::TimedOut));
    meter.allow(IDLE_BYTES);
    seen
}

struct Answer {
    facts: SimpleQueryRow,
    findings: Vec<Finding>,
    server_version: String,
}

async fn read(client: &Client, meter: &Meter) -> Result<Answer, LookError> {
    let explain = |error: &tokio_postgres::Error| match error.code() {
        Some(code) => LookError::Server(code.code().to_owned()),
        None if meter.is_exhausted() => LookError::TooLarge,
        None => LookError::Lost,
    };
    // Sent one after the other without waiting: one round trip.
    let (begun, answers) = future::join(client.batch_execute(BEGIN), client.simple_query_raw(&LOOK)).await;
    begun.map_err(|error| explain(&error))?;
    let mut answers = pin!(answers.map_err(|error| explain(&error))?);
    let (mut facts, mut findings, mut server_version) = (None, Vec::new(), String::new());
    while let Some(message) = answers.next().await {
        let SimpleQueryMessage::Row(row) = message.map_err(|error| explain(&error))? else { continue };
        match row.len() {
            1 => facts = Some(row),
            2 => {
                let text = |at: usize| row.try_get(at).ok().flatten().unwrap_or_default();
                match text(0) {
                    rights::SERVER_VERSION => text(1).clone_into(&mut server_version),
                    kind => findings.push(Finding::read(kind, text(1))),
                }
            }
            _ => return Err(LookError::Malformed),
        }
    }
    let facts = facts.filter(|_| !server_version.is_empty()).ok_or(LookError::Malformed)?;
    Ok(Answer { facts, findings: rights::essential(findings), server_version })
}

/// Few parse at once: a large catalog takes a second of CPU and several times
/// its size in memory.
async fn parse(answer: Answer, parsing: &Arc<Semaphore>, began: Instant) -> Result<Seen, LookError> {
    let permit = Arc::clone(parsing).acquire_owned().await.map_err(|_| LookError::Lost)?;
    let Answer { facts, findings, server_version } = answer;
    let parsed = spawn_blocking(move || {
        let _permit: OwnedSemaphorePermit = permit;
        let text = facts.try_get(0).ok().flatten().unwrap_or_default();
        Catalog::from_json(text.as_bytes())
    });
    match parsed.await {
        Ok(Ok(catalog)) => Ok(Seen { catalog: Arc::new(catalog), findings, server_version, took: began.elapsed() }),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a database's catalog cannot be read");
            Err(LookError::Malformed)
        }
        Err(_) => Err(LookError::Malformed),
    }
}
