//! What every statement rests on, put into one [`Call`] with it. `execute` sends
//! the call.
//! Invariants: BEGIN READ ONLY and all settings stand before the statement and
//! ROLLBACK after it, with one Sync for all, so that the server runs none of what
//! follows an error; each setting ends with its transaction.

use std::{io, time::Duration};

use super::{execute::Limits, wire::Call};

/// The server's own timeout should speak first; this much later the edge stops
/// waiting for it.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// A reader that waits for a lock this long waits for a migration, and queues
/// others behind it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// PostgreSQL cuts `application_name` there (NAMEDATALEN - 1).
const MAX_APPLICATION_NAME: usize = 63;

/// Set in each transaction, because the role's own settings must not change an
/// answer and a transaction pooler may hand out another session each time. The
/// SELECT also takes the snapshot, after which PostgreSQL lets nobody make the
/// transaction writable.
///
/// No parallel plans: a plan that is read with a row limit runs in one process,
/// for which another plan is the right one.
const SET: &str = "SELECT \
    pg_catalog.set_config('statement_timeout', $1, true), \
    pg_catalog.set_config('lock_timeout', $2, true), \
    pg_catalog.set_config('idle_in_transaction_session_timeout', $3, true), \
    pg_catalog.set_config('application_name', $4, true), \
    pg_catalog.set_config('search_path', $5, true), \
    pg_catalog.set_config('standard_conforming_strings', 'on', true), \
    pg_catalog.set_config('client_encoding', 'UTF8', true), \
    pg_catalog.set_config('datestyle', 'ISO, MDY', true), \
    pg_catalog.set_config('intervalstyle', 'postgres', true), \
    pg_catalog.set_config('extra_float_digits', '1', true), \
    pg_catalog.set_config('bytea_output', 'hex', true), \
    pg_catalog.set_config('xmlbinary', 'base64', true), \
    pg_catalog.set_config('timezone', 'UTC', true), \
    pg_catalog.set_config('max_parallel_workers_per_gather', '0', true)";

/// What a function can leave behind that a ROLLBACK does not undo: advisory locks
/// and prepared statements.
pub(super) const UNLOCK: &str = "SELECT pg_catalog.pg_advisory_unlock_all()";
pub(super) const DEALLOCATE: &str = "DEALLOCATE ALL";

/// The statement with all that comes before and after it.
///
/// # Errors
/// A NUL in the statement.
pub(super) fn call(sql: &str, limits: &Limits, search_path: &str) -> io::Result<Call> {
    let milliseconds = |duration: Duration| duration.as_millis().max(1).to_string();
    let name: String =
        limits.application_name.chars().filter(char::is_ascii_graphic).take(MAX_APPLICATION_NAME).collect();
    let values = [
        &milliseconds(limits.statement_timeout),
        &milliseconds(LOCK_TIMEOUT.min(limits.statement_timeout)),
        &milliseconds(limits.statement_timeout + GRACE),
        &name,
        search_path,
    ];
    let mut call = Call::default();
    call.control("BEGIN READ ONLY", &[])?;
    call.control(SET, &values)?;
    // One row more than the limit, to know whether there is one.
    call.statement(sql, limits.max_rows.saturating_add(1))?;
    call.control(UNLOCK, &[])?;
    call.control(DEALLOCATE, &[])?;
    call.control("ROLLBACK", &[])?;
    Ok(call)
}
