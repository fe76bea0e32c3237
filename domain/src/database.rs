//! Databases: where they are, how they are reached, and what may be asked of
//! them at once.

use std::{fmt, num::NonZeroU16, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::id::DatabaseName;

/// TLS towards PostgreSQL, as libpq's `sslmode` (PostgreSQL manual, 34.19).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No TLS. Only for loopback addresses and Unix sockets.
    Disable,
    /// TLS without knowing who answers.
    Require,
    /// TLS, and the chain leads to the given root.
    VerifyCa,
    /// TLS, the chain leads to the given root, and the name is the host's.
    #[default]
    VerifyFull,
}

impl SslMode {
    /// libpq's spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no `sslmode` that NLA accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sslmode must be disable, require, verify-ca or verify-full")]
pub struct UnknownSslMode;

impl FromStr for SslMode {
    type Err = UnknownSslMode;

    fn from_str(text: &str) -> Result<Self, UnknownSslMode> {
        match text {
            "disable" => Ok(Self::Disable),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err(UnknownSslMode),
        }
    }
}

/// What an edge does about a database role that may do more than read. The
/// guard and the read-only transaction do not trust the role either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolePolicy {
    /// Refuses rights that reach beyond the database or switch off its own
    /// protection (superuser, REPLICATION, CREATEROLE, BYPASSRLS, the `pg_`
    /// roles that read files, run programs or write everywhere); warns about
    /// the rest.
    #[default]
    RefuseSuperuser,
    /// Refuses whatever the probe finds.
    Refuse,
    /// Refuses nothing and reports all.
    Warn,
}

impl RolePolicy {
    /// All choices.
    pub const ALL: [Self; 3] = [Self::RefuseSuperuser, Self::Refuse, Self::Warn];

    /// The name on the command line and in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RefuseSuperuser => "refuse-superuser",
            Self::Refuse => "refuse",
            Self::Warn => "warn",
        }
    }
}

impl fmt::Display for RolePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where PostgreSQL listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Host name, address, or absolute path of the Unix socket's directory.
    pub host: String,
    /// TCP port, or the number in the socket's name.
    pub port: NonZeroU16,
}

impl Endpoint {
    /// True where traffic cannot leave the machine: a loopback address,
    /// `localhost`, or a Unix socket. Only there may TLS be off.
    pub fn is_local(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host.starts_with('/')
            || host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Bounds that one answer from this database keeps, whatever a caller asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatabaseLimits {
    /// Rows in one answer.
    pub max_rows: u32,
    /// Bytes of values in one answer.
    pub max_bytes: u64,
    /// Time for one statement, on the server.
    pub statement_timeout: Duration,
    /// Connections of one token on one edge.
    pub pool_size: u32,
}

impl Default for DatabaseLimits {
    /// What a model can read in one go; more rows than this belong in a
    /// narrower query. Small pools serve best: PostgreSQL's throughput falls
    /// once its backends outnumber its cores several times.
    fn default() -> Self {
        Self { max_rows: 1_000, max_bytes: 4 << 20, statement_timeout: Duration::from_secs(30), pool_size: 4 }
    }
}

/// A PostgreSQL database that NLA may reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Database {
    /// What callers and operators call it.
    pub name: DatabaseName,
    /// Shown to models, to help them choose.
    pub description: String,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// `dbname` on that server.
    pub dbname: String,
    /// TLS mode.
    pub sslmode: SslMode,
    /// Roots for `verify-ca` and `verify-full`, PEM. `None` means the web's
    /// public roots are not consulted either: verification then fails.
    pub root_certificate_pem: Option<String>,
    /// Bounds.
    pub limits: DatabaseLimits,
    /// What is done about a database role that may do more than read.
    pub role_policy: RolePolicy,
}

/// Why a database definition was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDatabase {
    /// TLS off towards another machine.
    #[error("sslmode disable is only for loopback addresses and Unix sockets, not for {0}: use verify-full")]
    PlainRemote(String),
    /// Verification without anything to verify against.
    #[error("sslmode {0} needs a root certificate: pass the PEM file that signed the server's certificate")]
    NoRoot(SslMode),
    /// A text that PostgreSQL or a log could misread.
    #[error("{field} must be 1 to {max} characters without control characters")]
    Text {
        /// The field's name.
        field: &'static str,
        /// Longest accepted length.
        max: usize,
    },
    /// A limit outside of its range.
    #[error("{field} must be between {min} and {max}")]
    Range {
        /// The field's name.
        field: &'static str,
        /// Smallest accepted value.
        min: u64,
        /// Largest accepted value.
        max: u64,
    },
}

impl InvalidDatabase {
    /// The field that an error response points at.
    pub fn field(&self) -> &'static str {
        match self {
            Self::PlainRemote(_) => "sslmode",
            Self::NoRoot(_) => "root_certificate_pem",
            Self::Text { field, .. } | Self::Range { field, .. } => field,
        }
    }
}

impl Database {
    /// Checks what the single fields' types cannot express.
    ///
    /// # Errors
    /// [`InvalidDatabase`] names the field and the accepted range.
    pub fn validate(&self) -> Result<(), InvalidDatabase> {
        let text = |field, value: &str, min: usize, max: usize| {
            let length = value.chars().count();
            if length < min || length > max || value.chars().any(char::is_control) {
                return Err(InvalidDatabase::Text { field, max });
            }
            Ok(())
        };
        text("host", &self.endpoint.host, 1, 253)?;
        text("dbname", &self.dbname, 1, 63)?;
        text("description", &self.description, 0, 500)?;
        if self.sslmode == SslMode::Disable && !self.endpoint.is_local() {
            return Err(InvalidDatabase::PlainRemote(self.endpoint.to_string()));
        }
        let verifies = matches!(self.sslmode, SslMode::VerifyCa | SslMode::VerifyFull);
        if verifies && self.root_certificate_pem.is_none() {
            return Err(InvalidDatabase::NoRoot(self.sslmode));
        }
        let range = |field, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) { Ok(()) } else { Err(InvalidDatabase::Range { field, min, max }) }
        };
        let limits = &self.limits;
        range("max_rows", limits.max_rows.into(), 1, 1_000_000)?;
        range("max_bytes", limits.max_bytes, 1_024, 256 << 20)?;
        let timeout_ms = u64::try_from(limits.statement_timeout.as_millis()).unwrap_or(u64::MAX);
        range("statement_timeout_ms", timeout_ms, 10, 3_600_000)?;
        range("pool_size", limits.pool_size.into(), 1, 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(host: &str, sslmode: SslMode, root: Option<&str>) -> Database {
        Database {
            name: "shop".parse().unwrap(),
            description: String::new(),
            endpoint: Endpoint { host: host.into(), port: NonZeroU16::new(5432).unwrap() },
            dbname: "shop".into(),
            sslmode,
            root_certificate_pem: root.map(Into::into),
            limits: DatabaseLimits::default(),
            role_policy: RolePolicy::default(),
        }
    }

    #[test]
    fn tls_rules() {
        let cases = [
            ("db.example.com", SslMode::VerifyFull, Some("pem"), None),
            ("db.example.com", SslMode::VerifyFull, None, Some("root_certificate_pem")),
            ("db.example.com", SslMode::VerifyCa, None, Some("root_certificate_pem")),
            ("db.example.com", SslMode::Require, None, None),
            ("db.example.com", SslMode::Disable, None, Some("sslmode")),
            ("127.0.0.1.example.com", SslMode::Disable, None, Some("sslmode")),
            ("10.0.0.1", SslMode::Disable, None, Some("sslmode")),
            ("127.0.0.1", SslMode::Disable, None, None),
            ("::1", SslMode::Disable, None, None),
            ("localhost", SslMode::Disable, None, None),
            ("/run/postgresql", SslMode::Disable, None, None),
            ("", SslMode::Require, None, Some("host")),
            ("a\nb", SslMode::Require, None, Some("host")),
        ];
        for (host, sslmode, root, refused) in cases {
            let verdict = database(host, sslmode, root).validate();
            assert_eq!(verdict.err().map(|e| e.field()), refused, "{host} {sslmode}");
        }
    }

    #[test]
    fn limits_have_ranges() {
        type Change = fn(&mut DatabaseLimits);
        let cases: [(Change, &str); 4] = [
            (|l| l.max_rows = 0, "max_rows"),
            (|l| l.max_bytes = 1, "max_bytes"),
            (|l| l.statement_timeout = Duration::ZERO, "statement_timeout_ms"),
            (|l| l.pool_size = 1_000, "pool_size"),
        ];
        for (change, field) in cases {
            let mut database = database("localhost", SslMode::Disable, None);
            change(&mut database.limits);
            assert_eq!(database.validate().unwrap_err().field(), field);
        }
    }
}
