//! What can go wrong with a statement, in words that may reach the caller.
//! Made by `execute` and `pool`, mapped to answers by `pipeline::failure`.
//! Invariant: no host, user name, file or other session's data is in a text.

use nla_domain::error::ErrorKind;

use super::{
    connect_error::{ConnectCause, ConnectError, ConnectStage},
    inspect::look::LookError,
    sqlstate::{self, Class},
    wire::Reported,
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
    pub(crate) fn read(reported: &Reported) -> Self {
        let class = sqlstate::class(&reported.code);
        let clip = |text: &str| text.chars().take(LONGEST_TEXT_CHARS).collect::<String>();
        let (message, hint) = match class {
            Class::Statement if reported.code == sqlstate::LOCK_NOT_AVAILABLE => {
                ("a relation of the statement is locked, perhaps by a change to it; try again later".to_owned(), None)
            }
            Class::Statement => (clip(&reported.message), reported.hint.as_deref().map(clip)),
            Class::Resources => ("the database server has no resources left for this statement".to_owned(), None),
            Class::Connection => ("the database server ended the connection".to_owned(), None),
            Class::Server => ("the database server failed; its log has the details".to_owned(), None),
        };
        let position = reported.position.filter(|at| *at > 0 && class == Class::Statement);
        Self { sqlstate: reported.code.clone(), message, hint, position, class }
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
    /// An error before the statement: nothing of it is the caller's.
    pub(crate) fn of_begin(reported: &Reported) -> Self {
        match sqlstate::class(&reported.code) {
            Class::Connection => Self::Lost,
            Class::Statement | Class::Resources | Class::Server => {
                let cause = ConnectCause::Settings(reported.code.clone());
                Self::Unavailable(ConnectError::new(ConnectStage::Query, cause))
            }
        }
    }
}
