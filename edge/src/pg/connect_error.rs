//! Why a connection could not be made, and at which step. Made by `socket`,
//! `wire` and `connect`; the pipeline and the probe tell it.
//! Invariant: what a step says holds no host, user name or secret.

use super::sqlstate;

/// The step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectStage {
    /// The host's name.
    Resolve,
    /// TCP or the Unix socket.
    Connect,
    /// The handshake and the certificate.
    Tls,
    /// User, password, database.
    Authenticate,
    /// The first statement.
    Query,
}

impl ConnectStage {
    /// The name in the answer of a probe.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Authenticate => "authenticate",
            Self::Query => "query",
        }
    }
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectCause {
    /// No address for the name.
    #[error("its host name cannot be resolved")]
    UnknownHost,
    /// Nobody listens.
    #[error("its server does not accept connections")]
    Refused,
    /// No route, reset and others.
    #[error("its server cannot be reached")]
    Unreachable,
    /// No answer.
    #[error("its server did not answer in time")]
    TimedOut,
    /// The server has TLS switched off.
    #[error("its server does not offer TLS, and the configured sslmode asks for it")]
    NoTls,
    /// The handshake failed.
    #[error("{0}")]
    Tls(String),
    /// A password in clear text, and nothing that hides it.
    #[error(
        "its server asks for the password in clear text, which is sent over TLS only; use sslmode verify-full, or scram-sha-256 in its pg_hba.conf"
    )]
    ClearText,
    /// GSSAPI, SSPI and others.
    #[error("its server asks for a way to log in that is not supported; use scram-sha-256 in its pg_hba.conf")]
    Method,
    /// Its signature at the end of SCRAM is wrong.
    #[error("its server does not know the configured password: it may not be the server that it claims to be")]
    Impostor,
    /// Wrong user or password, or no entry for us.
    #[error("its server refused the configured credential (SQLSTATE {0})")]
    Credential(String),
    /// No such database.
    #[error("its server has no database of the configured name")]
    NoDatabase,
    /// The server is full.
    #[error("its server has no connection left")]
    TooManyConnections,
    /// Starting up or shutting down.
    #[error("its server is starting up or shutting down")]
    Starting,
    /// Another error of the server.
    #[error("its server refused the connection (SQLSTATE {0})")]
    Server(String),
    /// Without them nothing is run.
    #[error("its server refused a read-only transaction or the settings of one (SQLSTATE {0}), and nothing was run")]
    Settings(String),
    /// Not PostgreSQL, or a connection that broke.
    #[error("its server ended the connection unexpectedly; is it PostgreSQL?")]
    Protocol,
}

/// A connection that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct ConnectError {
    /// Where it stopped.
    pub stage: ConnectStage,
    /// Why.
    pub cause: ConnectCause,
}

impl ConnectError {
    pub(crate) fn new(stage: ConnectStage, cause: ConnectCause) -> Self {
        Self { stage, cause }
    }

    /// Of the socket.
    pub(crate) fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let cause = match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => ConnectCause::Refused,
            ErrorKind::TimedOut => ConnectCause::TimedOut,
            _ => ConnectCause::Unreachable,
        };
        Self::new(ConnectStage::Connect, cause)
    }

    /// Of the server, while logging in.
    pub(crate) fn of_code(code: &str) -> Self {
        let cause = match code {
            sqlstate::INVALID_PASSWORD | sqlstate::INVALID_AUTHORIZATION => ConnectCause::Credential(code.to_owned()),
            sqlstate::INVALID_CATALOG_NAME => ConnectCause::NoDatabase,
            sqlstate::TOO_MANY_CONNECTIONS => ConnectCause::TooManyConnections,
            sqlstate::CANNOT_CONNECT_NOW => ConnectCause::Starting,
            other => ConnectCause::Server(other.to_owned()),
        };
        Self::new(ConnectStage::Authenticate, cause)
    }
}
