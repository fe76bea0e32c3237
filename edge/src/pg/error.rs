//! What can go wrong with a statement, in words that may reach the caller.
//! Made by `execute` and `pool`, mapped to answers by `pipeline::failure`.
//! Invariant: no host, user name, file or other session's data is in a text.

use nla_domain::error::ErrorKind;
use tokio_postgres::error::{DbError, ErrorPosition};

use super::{
    connect::ConnectError,
    inspect::look::LookError,
    sqlstate::{self, Class},
};

/// Why a statement has no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PgError {
    /// No connection to the database.
    #[error("the database cannot be used at the moment: {0}")]
    Unavailable(ConnectError),
    /// Without knowing what it holds, no statement can be judged.
    #[error("the database cannot be used at the moment: what it holds could not be read: {0}")]
    Catalog(LookError),
    /// All of the token's connections are busy.
    #[error(
        "all connections of this token to the database are busy; try again in a moment, or run fewer calls at once"
    )]
    Busy,
    /// PostgreSQL refused or failed the statement.
    #[error("{}", .0.message)]
    Statement(StatementError),
    /// The time limit passed.
    #[error("the statement ran longer than its limit and was cancelled")]
    TimedOut,
    /// The connection ended meanwhile.
    #[error("the connection to the database was lost while the statement ran")]
    Lost,
    /// The token's access or the credential changed meanwhile.
    #[error("the credential or the definition of this database has just changed; try again")]
    Replaced,
    /// A value is not text in UTF-8.
    #[error("column {column} ({name:?}) holds bytes that are not valid UTF-8; cast it to bytea to read them")]
    NotUtf8 {
        /// From 1.
        column: usize,
        /// Its name.
        name: String,
    },
}

/// An error that PostgreSQL reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementError {
    /// Five characters, PostgreSQL manual, appendix A.
    pub sqlstate: String,
    /// What happened, fit to be shown.
    pub message: String,
    /// PostgreSQL's hint, if it may be shown.
    pub hint: Option<String>,
    /// Characters from the start of the statement, the first being 1.
    pub position: Option<usize>,
    /// Whether it is about the caller's SQL or about the server.
    pub(crate) class: Class,
}

/// Texts beyond this are of no use to a reader.
const LONGEST_TEXT_CHARS: usize = 1_000;

impl StatementError {
    /// `offset_chars` is the length of what was put before the statement.
    pub(crate) fn read(error: &DbError, offset_chars: usize) -> Self {
        let code = error.code().code();
        let class = sqlstate::class(code);
        let clip = |text: &str| text.chars().take(LONGEST_TEXT_CHARS).collect::<String>();
        let (message, hint) = match class {
            Class::Statement if code == sqlstate::LOCK_NOT_AVAILABLE => {
                ("a relation of the statement is locked, perhaps by a change to it; try again later".to_owned(), None)
            }
            Class::Statement => (clip(error.message()), error.hint().map(clip)),
            Class::Resources => ("the database server has no resources left for this statement".to_owned(), None),
            Class::Connection => ("the database server ended the connection".to_owned(), None),
            Class::Server => ("the database server failed; its log has the details".to_owned(), None),
        };
        let position = match error.position() {
            Some(ErrorPosition::Original(at)) if class == Class::Statement => {
                usize::try_from(*at).ok().and_then(|at| at.checked_sub(offset_chars)).filter(|at| *at > 0)
            }
            _ => None,
        };
        Self { sqlstate: code.to_owned(), message, hint, position, class }
    }

    /// Whether PostgreSQL did not find something that the statement names.
    pub fn is_undefined(&self) -> bool {
        sqlstate::is_undefined(&self.sqlstate)
    }

    /// The reason that callers see.
    pub fn kind(&self) -> ErrorKind {
        match self.class {
            Class::Statement if self.sqlstate == sqlstate::QUERY_CANCELED => ErrorKind::Cancelled,
            Class::Statement | Class::Server => ErrorKind::DatabaseError,
            Class::Resources => ErrorKind::Overloaded,
            Class::Connection => ErrorKind::DatabaseUnavailable,
        }
    }
}

impl PgError {
    /// Reads an error of a running connection.
    pub(crate) fn of_statement(error: &tokio_postgres::Error, offset_chars: usize) -> Self {
        match error.as_db_error() {
            Some(reported) => Self::Statement(StatementError::read(reported, offset_chars)),
            None => Self::Lost,
        }
    }
}
