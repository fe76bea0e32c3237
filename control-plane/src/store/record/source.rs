//! Where a credential comes from that NLA does not hold by itself.

use std::time::Duration;

use nla_domain::{clock::Timestamp, id::DatabaseName};

/// A credential that is looked up elsewhere and looked up again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRecord {
    /// The database that it opens.
    pub database: DatabaseName,
    /// PostgreSQL's role name, unless the source names another.
    pub username: String,
    /// `file:/path`, `env:NAME` or `exec:/path/to/program argument ...`.
    pub source: String,
    /// Between two looks; `None` follows what the source says of its end.
    pub every: Option<Duration>,
    /// When the value in force came.
    pub refreshed_at: Timestamp,
    /// When it ends, if the source said so.
    pub expires_at: Option<Timestamp>,
    /// Why the last look failed, without anything of the value.
    pub error: Option<String>,
}
