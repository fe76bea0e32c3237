//! PostgreSQL's protocol, version 3.0 (manual, chapter 55), as far as a leased
//! connection needs it. `connect` logs in and cancels with it, `execute` runs
//! statements on a [`Session`].
//!
//! Our own, because tokio-postgres ends each statement with a Sync of its own,
//! after which the server goes on with the next one even if the last one failed.
//! Here all messages of a call have one Sync: an error in BEGIN or in a setting
//! makes the server skip the statement.
//!
//! Invariants: a session has no task of its own, so that whoever holds it knows
//! all that it does; it buffers no more of a message than its user allowed.

mod binding;
mod decode;
mod encode;
mod frames;
mod login;
mod session;

#[cfg(test)]
mod tests;

pub use self::decode::Row;
pub(crate) use self::{
    decode::{Field, Reported, fields},
    encode::Call,
    login::{Login, LoginError, protect},
    session::{CancelKey, Session, Settled},
};

/// Why a session cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the connection ended")]
    Closed,
    #[error("the server said what PostgreSQL does not say")]
    Protocol,
    #[error("the answer is larger than this request may read")]
    TooLarge,
}
