//! Audit events of calls: what an edge records about each request, refusals
//! included. Every request ends in exactly one of them.

use std::{net::IpAddr, time::Duration};

use crate::{
    clock::Timestamp,
    id::{DatabaseName, RoleName, TokenId},
};

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// Answered.
    Succeeded,
    /// Refused by authentication, limits, policy or guard.
    Refused,
    /// PostgreSQL or NLA failed it.
    Failed,
    /// The caller went away or its token ended.
    Cancelled,
    /// The time limit passed.
    TimedOut,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 5] = [Self::Succeeded, Self::Refused, Self::Failed, Self::Cancelled, Self::TimedOut];

    /// The name in filters, exports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }
}

/// What the audit log keeps of a statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SqlRecord {
    /// The whole text.
    Full(String),
    /// The parser's fingerprint.
    Fingerprint(String),
    /// SHA-256 of the text, in hex.
    Hash(String),
}

/// What is known of the caller. Fields fill up as the gates are passed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CallerRecord {
    /// Address of the peer, or what a trusted proxy says it was.
    pub address: Option<IpAddr>,
    /// The token, once its checksum held; its secret was proven only when
    /// `owner` is set.
    pub token: Option<TokenId>,
    /// The token's owner.
    pub owner: Option<String>,
    /// The role that decided.
    pub role: Option<RoleName>,
    /// What the client calls itself; not verified.
    pub client_name: Option<String>,
}

/// One call, as it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallRecord {
    /// When it began.
    pub at: Timestamp,
    /// Joins it with logs, the answer's header and `application_name`.
    pub request_id: String,
    /// What was asked: a tool's name, or `mcp` before that is known.
    pub action: String,
    /// Who asked.
    pub caller: CallerRecord,
    /// The database, once decided.
    pub database: Option<DatabaseName>,
    /// The statement, as far as the role's policy keeps it.
    pub sql: Option<SqlRecord>,
    /// Relations that the statement names, as written.
    pub relations: Vec<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Reason of [`crate::error::ErrorKind`] when it did not succeed.
    pub reason: Option<&'static str>,
    /// The rule that refused it.
    pub rule: Option<String>,
    /// SQLSTATE when PostgreSQL refused it.
    pub sqlstate: Option<String>,
    /// Rows in the answer.
    pub rows: u64,
    /// Bytes of values in the answer.
    pub bytes: u64,
    /// The answer was cut at a limit.
    pub truncated: bool,
    /// From the first byte to the answer.
    pub duration: Duration,
    /// Part of it that PostgreSQL took.
    pub database_duration: Duration,
}
