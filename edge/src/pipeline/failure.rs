//! A call that was not answered as asked, in words for the model that made it.
//! Made by every gate after admission; `call` records it, `tools` shows it.
//! Invariant: the match over the kinds of database errors is exhaustive, and no
//! text holds a host, a secret or another tenant's data.

use nla_domain::{audit::Outcome, error::ErrorKind, policy::Denial};
use nla_guard::Refusal;

use crate::pg::{PgError, StatementError};

/// Why, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The one table of reasons.
    pub kind: ErrorKind,
    /// The rule of policy or guard, such as `guard.statement.insert`.
    pub rule: Option<&'static str>,
    /// What went wrong.
    pub message: String,
    /// What to do instead.
    pub hint: Option<String>,
    /// Characters from the start of the caller's statement, the first being 1.
    pub position: Option<usize>,
    /// PostgreSQL's code.
    pub sqlstate: Option<String>,
}

impl Failure {
    /// Of a kind, with words for the caller.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, rule: None, message: message.into(), hint: None, position: None, sqlstate: None }
    }

    /// Arguments that do not fit.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(super) fn overloaded(message: &str) -> Self {
        Self::new(ErrorKind::Overloaded, message)
    }

    pub(super) fn cancelled(message: &str) -> Self {
        Self::new(ErrorKind::Cancelled, message)
    }

    #[must_use]
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn of_denial(denial: &Denial) -> Self {
        Self { rule: Some(denial.code()), ..Self::new(denial.kind(), denial.to_string()) }
    }

    pub(super) fn of_refusal(refusal: &Refusal) -> Self {
        Self {
            rule: Some(refusal.code()),
            position: refusal.position.map(|position| position.character),
            ..Self::new(ErrorKind::StatementRefused, refusal.message.clone()).with_hint(refusal.hint.clone())
        }
    }

    pub(super) fn of_database(error: &PgError) -> Self {
        let message = error.to_string();
        match error {
            PgError::Unavailable(_) | PgError::Catalog(_) => Self::new(ErrorKind::DatabaseUnavailable, message)
                .with_hint("Try again later; if it persists, tell the operator of this service."),
            PgError::Busy | PgError::Replaced => Self::new(ErrorKind::Overloaded, message),
            PgError::Statement(reported) => Self::of_statement(reported, message),
            PgError::TimedOut => Self::new(ErrorKind::TimedOut, message).with_hint(
                "Ask for less: filter on indexed columns, aggregate, or look at the plan with explain_query.",
            ),
            PgError::Lost => Self::new(ErrorKind::DatabaseUnavailable, message).with_hint("Try again."),
            PgError::NotUtf8 { .. } => Self::new(ErrorKind::DatabaseError, message),
        }
    }

    fn of_statement(reported: &StatementError, message: String) -> Self {
        let kind = reported.kind();
        Self {
            sqlstate: Some(reported.sqlstate.clone()),
            hint: reported.hint.clone(),
            position: reported.position,
            ..Self::new(kind, message)
        }
    }

    /// How the audit log counts it.
    pub(super) fn outcome(&self) -> Outcome {
        match self.kind {
            ErrorKind::MissingToken
            | ErrorKind::InvalidToken
            | ErrorKind::AddressRefused
            | ErrorKind::PermissionDenied
            | ErrorKind::UnknownDatabase
            | ErrorKind::InvalidArgument
            | ErrorKind::StatementRefused
            | ErrorKind::DatabaseRoleRefused
            | ErrorKind::RateLimited
            | ErrorKind::Overloaded
            | ErrorKind::Stale
            | ErrorKind::Quarantined
            | ErrorKind::AuditUnavailable
            | ErrorKind::NotFound => Outcome::Refused,
            ErrorKind::TimedOut => Outcome::TimedOut,
            ErrorKind::Cancelled => Outcome::Cancelled,
            ErrorKind::DatabaseError
            | ErrorKind::DatabaseUnavailable
            | ErrorKind::Conflict
            | ErrorKind::FailedPrecondition
            | ErrorKind::Unavailable
            | ErrorKind::Internal => Outcome::Failed,
        }
    }
}
