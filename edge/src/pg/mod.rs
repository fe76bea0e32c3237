//! PostgreSQL as the edge sees it: TLS as libpq means it, what each database
//! holds and its role may do, a pool for each token and database, statements
//! that only read, and values that stay exact.
//! `pipeline` calls it and nobody else does. A statement goes
//! `pool` -> [`Lease`] -> `execute` -> a [`Sink`], over a session of `wire`.
//! Invariant: a connection whose state is not proven is discarded, and what ran
//! on it is cancelled on the server.

mod connect;
mod connect_error;
mod error;
mod execute;
mod inspect;
mod json;
mod meter;
mod own_sql;
mod pool;
mod probe;
mod rows;
mod settings;
mod socket;
mod sqlstate;
mod wire;

pub(crate) use self::json::write_string;
pub use self::{
    connect::{Connected, ConnectionSettings, Target},
    connect_error::{ConnectCause, ConnectError, ConnectStage},
    error::{PgError, StatementError},
    execute::{Executed, Lease, Limits, Statement},
    inspect::{
        Inspected, Inspector, InspectorSettings, Report,
        look::LookError,
        rights::{Finding, Right, refused, summary},
    },
    own_sql::OwnSql,
    pool::{PoolSettings, Pools},
    probe::Probe,
    rows::{Cells, Column, Cut, RowSet, Sink},
    wire::Row,
};
use nla_proto::tls::postgres as tls;
