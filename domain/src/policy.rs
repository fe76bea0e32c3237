//! The decisions that an edge takes from its snapshot alone: who is calling,
//! and what the caller may do. Whatever no rule allows is refused.

use std::{net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;

use crate::{
    clock::Timestamp,
    credential::Credential,
    database::{Database, DatabaseLimits},
    error::ErrorKind,
    id::DatabaseName,
    role::{Role, SqlAudit, Tool},
    snapshot::Snapshot,
    token::{Staleness, Token, TokenText},
};

/// Why a bearer token was not accepted. The audit event holds the variant; the
/// caller is told only what [`AuthFailure::kind`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// No token of that id: never made, revoked, or removed.
    #[error("the token is unknown or revoked")]
    Unknown,
    /// The id exists and the secret is another.
    #[error("the token's secret is wrong")]
    WrongSecret,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Not accepted from that address.
    #[error("the token is not accepted from this address")]
    Address,
    /// The edge was without contact to the control plane for longer than the
    /// token's class allows.
    #[error("this edge has lost contact to the control plane for too long")]
    Stale,
}

impl AuthFailure {
    /// What the caller may know.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::Unknown | Self::WrongSecret | Self::Expired => ErrorKind::InvalidToken,
            Self::Address => ErrorKind::AddressRefused,
            Self::Stale => ErrorKind::Stale,
        }
    }

    /// Stable name for audit events and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "auth.unknown",
            Self::WrongSecret => "auth.wrong_secret",
            Self::Expired => "auth.expired",
            Self::Address => "auth.address",
            Self::Stale => "auth.stale",
        }
    }
}

/// Decides who is calling. `age` is the time since the last heartbeat, on a
/// clock that counts suspend.
///
/// # Errors
/// [`AuthFailure`]; the secret is checked first, so that only its holder
/// learns anything else about the token.
pub fn authenticate(
    snapshot: &Snapshot,
    presented: &TokenText,
    peer: IpAddr,
    now: Timestamp,
    age: Duration,
) -> Result<Arc<Token>, AuthFailure> {
    let verifier = presented.verifier(&snapshot.settings.pepper);
    let token = snapshot.tokens.get(&presented.id()).ok_or(AuthFailure::Unknown)?;
    if token.verifier != verifier {
        return Err(AuthFailure::WrongSecret);
    }
    still_valid(snapshot, token, now, age)?;
    // An IPv4 client of a dual-stack socket shows up as ::ffff:a.b.c.d.
    let peer = peer.to_canonical();
    if !token.allowed_cidrs.is_empty() && !token.allowed_cidrs.iter().any(|net| holds(net, peer)) {
        return Err(AuthFailure::Address);
    }
    Ok(Arc::clone(token))
}

/// Whether an address lies in a range. A range of IPv4 addresses may be written
/// as IPv6 maps them (RFC 4291, section 2.5.5.2); a wider one is of IPv6 alone.
fn holds(net: &IpNet, peer: IpAddr) -> bool {
    match (net, peer) {
        (IpNet::V6(net), IpAddr::V4(peer)) => net.prefix_len() >= 96 && net.contains(&peer.to_ipv6_mapped()),
        (net, peer) => net.contains(&peer),
    }
}

/// Decides whether a token that was accepted earlier still stands.
///
/// # Errors
/// [`AuthFailure::Expired`] or [`AuthFailure::Stale`].
pub fn still_valid(snapshot: &Snapshot, token: &Token, now: Timestamp, age: Duration) -> Result<(), AuthFailure> {
    if token.expires_at.is_some_and(|end| now >= end) {
        return Err(AuthFailure::Expired);
    }
    let bound = match token.staleness {
        Staleness::Strict => snapshot.settings.strict_staleness,
        Staleness::Standard => snapshot.settings.standard_staleness,
    };
    if age > bound {
        return Err(AuthFailure::Stale);
    }
    Ok(())
}

/// What a caller may do with one database, and within which limits.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The database.
    pub database: Arc<Database>,
    /// How to log in to it.
    pub credential: Arc<Credential>,
    /// The first role that allows the call, whose name the audit event holds.
    /// Its exceptions for the guard are those of all the roles that allow it.
    pub role: Arc<Role>,
    /// Limits of the database, narrowed by the role.
    pub limits: DatabaseLimits,
    /// Whether `EXPLAIN ANALYZE` is allowed.
    pub allow_explain_analyze: bool,
    /// How much of the statement the audit log keeps.
    pub sql_audit: SqlAudit,
}

/// Why a call was denied. The texts are shown to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No role allows the tool.
    #[error("this token's roles do not allow the tool {0}")]
    Tool(Tool),
    /// The named database does not exist for this token. It reads the same
    /// whether the database exists elsewhere or not.
    #[error("there is no database {0:?} for this token; list_databases names those that it may use")]
    Database(String),
    /// No database was named, and the token has several.
    #[error("name a database: this token may use {}", .0.join(", "))]
    Ambiguous(Vec<String>),
    /// The token has no database at all.
    #[error("this token may not use any database; ask its owner for a role that opens one")]
    NoDatabase,
    /// The database has no credential yet.
    #[error("the database {0} has no credential yet; an operator must set one")]
    NoCredential(DatabaseName),
}

impl Denial {
    /// The error kind.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Tool(_) | Self::NoDatabase => ErrorKind::PermissionDenied,
            Self::Database(_) => ErrorKind::UnknownDatabase,
            Self::Ambiguous(_) => ErrorKind::InvalidArgument,
            Self::NoCredential(_) => ErrorKind::DatabaseUnavailable,
        }
    }

    /// Stable name for audit events and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Tool(_) => "policy.tool",
            Self::Database(_) => "policy.database",
            Self::Ambiguous(_) => "policy.database_missing",
            Self::NoDatabase => "policy.no_database",
            Self::NoCredential(_) => "policy.no_credential",
        }
    }
}

fn roles<'a>(snapshot: &'a Snapshot, token: &'a Token) -> impl Iterator<Item = &'a Arc<Role>> {
    // A role that the token names and the snapshot lacks allows nothing.
    token.roles.iter().filter_map(|name| snapshot.roles.get(name))
}

fn opens(token: &Token, role: &Role, database: &DatabaseName) -> bool {
    role.opens(database) && (token.databases.is_empty() || token.databases.contains(database))
}

/// True when some role of the token allows the tool.
pub fn allows_tool(snapshot: &Snapshot, token: &Token, tool: Tool) -> bool {
    roles(snapshot, token).any(|role| role.allows(tool))
}

/// The databases that the token may use with `tool`, by name.
pub fn databases(snapshot: &Snapshot, token: &Token, tool: Tool) -> Vec<Arc<Database>> {
    let allowed = |database: &&Arc<Database>| {
        roles(snapshot, token).any(|role| role.allows(tool) && opens(token, role, &database.name))
    };
    snapshot.databases.values().filter(allowed).cloned().collect()
}

/// Decides what the caller may do with a database. Without a name, the token's
/// only database is meant.
///
/// # Errors
/// [`Denial`], in words for the caller.
pub fn decide(snapshot: &Snapshot, token: &Token, tool: Tool, database: Option<&str>) -> Result<Grant, Denial> {
    if !allows_tool(snapshot, token, tool) {
        return Err(Denial::Tool(tool));
    }
    let candidates = databases(snapshot, token, tool);
    let database = match database {
        Some(name) => candidates
            .into_iter()
            .find(|candidate| candidate.name.as_str() == name)
            .ok_or_else(|| Denial::Database(name.chars().take(80).collect()))?,
        None => match candidates.as_slice() {
            [] => return Err(Denial::NoDatabase),
            [only] => Arc::clone(only),
            many => return Err(Denial::Ambiguous(many.iter().map(|d| d.name.to_string()).collect())),
        },
    };
    let credential =
        snapshot.credentials.get(&database.name).ok_or_else(|| Denial::NoCredential(database.name.clone()))?;

    // Several roles may allow the call: the widest limit decides, because a
    // token may do what any one of its roles allows. Of the audit settings the
    // one that keeps most decides, so that adding a role never hides anything.
    // Exceptions for the guard add up.
    let mut chosen: Option<Arc<Role>> = None;
    let mut max_rows = 0;
    let mut allow_explain_analyze = false;
    let mut sql_audit = SqlAudit::Hash;
    for role in roles(snapshot, token).filter(|r| r.allows(tool) && opens(token, r, &database.name)) {
        max_rows = max_rows.max(role.max_rows.unwrap_or(u32::MAX));
        allow_explain_analyze |= role.allow_explain_analyze;
        sql_audit = match (sql_audit, role.sql_audit) {
            (SqlAudit::Full, _) | (_, SqlAudit::Full) => SqlAudit::Full,
            (SqlAudit::Fingerprint, _) | (_, SqlAudit::Fingerprint) => SqlAudit::Fingerprint,
            (SqlAudit::Hash, SqlAudit::Hash) => SqlAudit::Hash,
        };
        chosen = Some(match chosen {
            None => Arc::clone(role),
            Some(first) if role.is_without_exceptions() => first,
            Some(first) => Arc::new(Arc::unwrap_or_clone(first).with_exceptions_of(role)),
        });
    }
    let role = chosen.ok_or(Denial::NoDatabase)?;
    let mut limits = database.limits;
    limits.max_rows = limits.max_rows.min(max_rows);
    Ok(Grant { limits, credential: Arc::clone(credential), database, role, allow_explain_analyze, sql_audit })
}

#[cfg(test)]
mod tests;
