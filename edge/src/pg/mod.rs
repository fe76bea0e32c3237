//! PostgreSQL as the edge sees it: TLS as libpq means it, what each database
//! holds and its role may do, a pool for each token and database, statements
//! that only read, and values that stay exact.
//! `pipeline` calls it and nobody else does. A statement goes
//! `pool` -> [`Lease`] -> `execute` -> a [`Sink`].
//! Invariant: a connection whose state is not proven is discarded, and what ran
//! on it is cancelled on the server.

mod connect;
mod error;
mod execute;
mod inspect;
mod json;
mod meter;
mod pool;
mod probe;
mod rows;
mod sqlstate;
mod tls;

pub(crate) use self::json::write_string;
pub use self::{
    connect::{ConnectCause, ConnectError, ConnectStage, Connected, ConnectionSettings, Target},
    error::{PgError, StatementError},
    execute::{Executed, Lease, Limits, OwnSql, Statement},
    inspect::{
        Inspected, Inspector, InspectorSettings, Report,
        look::LookError,
        rights::{Finding, Right, refused, summary},
    },
    pool::{PoolSettings, Pools},
    probe::Probe,
    rows::{Cells, Column, Cut, RowSet, Sink},
};
