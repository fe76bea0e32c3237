//! What can go wrong while a private PostgreSQL is found, made, started or
//! reached. The demo prints these to a newcomer, so each says what to do next.

use std::io;
use std::path::{Path, PathBuf};

/// Failure of a private PostgreSQL server.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No `initdb` and `postgres` anywhere.
    #[error(
        "PostgreSQL's server programs were not found (looked in {searched}); run scripts/setup, install your system's postgresql package, or set NLA_PG_BIN to the folder that holds initdb and postgres"
    )]
    ProgramsMissing {
        /// The folders that were looked at.
        searched: String,
    },
    /// The server's account may not enter a folder that it needs.
    #[error(
        "PostgreSQL runs as the account {account:?} (it refuses root), which may not enter {}; open the way (chmod o+x) or use another folder, for example one below {}",
        path.display(), std::env::temp_dir().display()
    )]
    Unreachable {
        /// Account of the server.
        account: String,
        /// The first folder on the way that is closed to it.
        path: PathBuf,
    },
    /// Root has no other account to run the server with.
    #[error("PostgreSQL refuses to run as root, and /etc/passwd has neither postgres nor nobody to run it as")]
    NoAccount,
    /// A file operation failed.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried, as a verb.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A server program could not be started.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// `initdb` ended with an error.
    #[error("initdb failed:\n{output}")]
    Initdb {
        /// What it printed.
        output: String,
    },
    /// The server ended while it was starting.
    #[error("PostgreSQL ended while starting; the last lines of its log:\n{log}")]
    Exited {
        /// End of the server's log.
        log: String,
    },
    /// The server did not accept a connection in time.
    #[error("PostgreSQL accepted no connection within {seconds} s; the last lines of its log:\n{log}")]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// End of the server's log.
        log: String,
        /// Why the last attempt failed; nothing when it was not answered.
        #[source]
        source: Option<tokio_postgres::Error>,
    },
    /// The server's certificate could not be made.
    #[error("cannot make the server's certificate")]
    Certificate(#[source] rcgen::Error),
    /// A connection or a statement of the sandbox itself failed.
    #[error("cannot {what}")]
    Sql {
        /// What was tried, as a verb.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The certificates could not be used for a TLS connection.
    #[error("cannot use the server's certificate authority {}", path.display())]
    Tls {
        /// The authority's file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl PostgresError {
    /// Adds the attempt and the path to an input or output error.
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }

    /// Adds the attempt to an error of the database.
    pub(crate) fn sql(what: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| Self::Sql { what, source }
    }
}
