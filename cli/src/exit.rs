//! How a command that did not work ends: one error type for all commands, the
//! exit code that it leads to, and the message that says what failed, why, and
//! what to do next.

use std::{error::Error, io::Write as _};

use nla_domain::{error::ErrorKind, error::with_causes};
use nla_proto::failure::Failure;
use tonic::Status;

use crate::output::escape;

/// Exit codes; `nlactl --help` documents them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    Refused = 3,
    NotFound = 4,
    Conflict = 5,
    Unreachable = 6,
    StatementRefused = 7,
}

/// A command that was not done as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line cannot mean what was asked.
    #[error("{message}")]
    Usage { message: String, next: Option<String> },
    /// Something on this machine is in the way.
    #[error("{message}")]
    Local { message: String, next: Option<String>, source: Option<Box<dyn Error + Send + Sync>> },
    /// The control plane answered with an error.
    #[error("cannot {what}")]
    Answered { what: String, source: Failure },
    /// The control plane did not answer.
    #[error("cannot {what}")]
    Unreachable { what: String, url: String, source: Failure },
    /// The answer was shown and says that a part of the work failed.
    #[error("{message}")]
    Incomplete { message: String, next: Option<String> },
    /// The guard refuses the statement; the answer that was shown says why.
    #[error("the statement is refused")]
    StatementRefused,
}

impl CliError {
    /// A command line that cannot be followed.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), next: None }
    }

    /// An error of this machine.
    pub(crate) fn local(message: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Local { message: message.into(), next: None, source: Some(Box::new(source)) }
    }

    /// The same error, saying what to do.
    #[must_use]
    pub(crate) fn with_next(mut self, text: impl Into<String>) -> Self {
        match &mut self {
            Self::Usage { next, .. } | Self::Local { next, .. } | Self::Incomplete { next, .. } => {
                *next = Some(text.into());
            }
            // What follows from an answer is decided by its kind.
            Self::Answered { .. } | Self::Unreachable { .. } | Self::StatementRefused => {}
        }
        self
    }

    /// What the control plane answered to `what`, or that it did not answer.
    pub(crate) fn from_status(what: &str, url: &str, status: &Status) -> Self {
        let what = what.to_owned();
        let source = Failure::from_status(status);
        if is_silence(status, source.kind) {
            return Self::Unreachable { what, url: url.to_owned(), source };
        }
        Self::Answered { what, source }
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::Local { .. } | Self::Incomplete { .. } => Exit::Failed,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::StatementRefused => Exit::StatementRefused,
            Self::Answered { source, .. } => exit_of(source.kind),
        }
    }

    fn next(&self) -> Option<String> {
        match self {
            Self::Usage { next, .. } => next.clone().or_else(|| Some("see the command's --help".into())),
            Self::Local { next, .. } | Self::Incomplete { next, .. } => next.clone(),
            Self::StatementRefused => None,
            Self::Answered { source, .. } => next_after(source.kind).map(Into::into),
            Self::Unreachable { url, source, .. } if source.kind == ErrorKind::TimedOut => Some(format!(
                "a change may have been made at {url} all the same: look before you repeat it, or give it more time with --timeout"
            )),
            Self::Unreachable { url, .. } => Some(format!(
                "check that the control plane runs at {url} and that `nlactl config current-context` is the right context"
            )),
        }
    }
}

/// True when no control plane answered: our own errors always carry details,
/// those of a transport or a proxy do not.
pub(crate) fn is_silence(status: &Status, kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::TimedOut) && status.details().is_empty()
}

fn exit_of(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::PermissionDenied | ErrorKind::MissingToken | ErrorKind::InvalidToken | ErrorKind::AddressRefused => {
            Exit::Refused
        }
        ErrorKind::NotFound | ErrorKind::UnknownDatabase => Exit::NotFound,
        ErrorKind::Conflict | ErrorKind::FailedPrecondition => Exit::Conflict,
        ErrorKind::InvalidArgument => Exit::Usage,
        ErrorKind::StatementRefused
        | ErrorKind::RateLimited
        | ErrorKind::Overloaded
        | ErrorKind::DatabaseError
        | ErrorKind::DatabaseUnavailable
        | ErrorKind::DatabaseRoleRefused
        | ErrorKind::TimedOut
        | ErrorKind::Cancelled
        | ErrorKind::Stale
        | ErrorKind::Quarantined
        | ErrorKind::AuditUnavailable
        | ErrorKind::Unavailable
        | ErrorKind::Internal => Exit::Failed,
    }
}

fn next_after(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::PermissionDenied | ErrorKind::MissingToken | ErrorKind::InvalidToken | ErrorKind::AddressRefused => {
            Some("`nlactl system status` shows who you are and your level; an admin can do it or raise the level")
        }
        ErrorKind::NotFound | ErrorKind::UnknownDatabase => Some("the command's `list` shows what exists"),
        ErrorKind::Conflict => Some("choose another name, or look at what exists with `show` or `list`"),
        ErrorKind::FailedPrecondition => Some("look at its present state with `show` or `list`, then repeat"),
        ErrorKind::InvalidArgument => Some("correct the value; the command's --help says what is accepted"),
        ErrorKind::RateLimited | ErrorKind::Overloaded | ErrorKind::Unavailable | ErrorKind::TimedOut => {
            Some("try again in a moment")
        }
        ErrorKind::AuditUnavailable => Some("the control plane cannot record the change: look at its log and its disk"),
        ErrorKind::Internal => Some("the control plane's log says more"),
        ErrorKind::StatementRefused
        | ErrorKind::DatabaseError
        | ErrorKind::DatabaseUnavailable
        | ErrorKind::DatabaseRoleRefused
        | ErrorKind::Cancelled
        | ErrorKind::Stale
        | ErrorKind::Quarantined => None,
    }
}

/// What a person reads on stderr. Texts from elsewhere are escaped.
pub(crate) fn message(error: &CliError) -> String {
    let mut text = escape(&format!("error: {}", with_causes(error))).into_owned();
    if let CliError::Answered { source: Failure { field: Some(field), .. }, .. } = error {
        text.push_str("\nfield: ");
        text.push_str(&escape(field));
    }
    if let Some(next) = error.next() {
        text.push_str("\nnext:  ");
        text.push_str(&escape(&next));
    }
    text
}

/// Writes the error to stderr; when even that fails, the exit code remains. A
/// refused statement is no error of the command: its answer has said all.
pub(crate) fn report(error: &CliError) {
    if matches!(error, CliError::StatementRefused) {
        return;
    }
    let _ = writeln!(std::io::stderr(), "{}", message(error));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(kind: ErrorKind) -> CliError {
        CliError::from_status("do it", "https://cp:7443", &Failure::new(kind, "because").into())
    }

    #[test]
    fn exit_codes() {
        let cases = [
            (answered(ErrorKind::PermissionDenied), Exit::Refused),
            (answered(ErrorKind::NotFound), Exit::NotFound),
            (answered(ErrorKind::Conflict), Exit::Conflict),
            (answered(ErrorKind::FailedPrecondition), Exit::Conflict),
            (answered(ErrorKind::InvalidArgument), Exit::Usage),
            (answered(ErrorKind::Internal), Exit::Failed),
            (answered(ErrorKind::Unavailable), Exit::Failed),
            (CliError::usage("no"), Exit::Usage),
            (CliError::StatementRefused, Exit::StatementRefused),
            (CliError::local("no", std::io::Error::other("disk")), Exit::Failed),
            (CliError::from_status("do it", "u", &Status::unavailable("refused")), Exit::Unreachable),
            (CliError::from_status("do it", "u", &Status::deadline_exceeded("late")), Exit::Unreachable),
            (CliError::from_status("do it", "u", &Status::permission_denied("no")), Exit::Refused),
        ];
        for (error, exit) in cases {
            assert_eq!(error.exit(), exit, "{error:?}");
        }
    }

    #[test]
    fn a_message_says_what_why_where_and_what_next() {
        let status = Failure::invalid("limits.burst", "limits.burst must be between 1 and 1000").into();
        let text = message(&CliError::from_status("create the token", "u", &status));
        assert_eq!(
            text,
            "error: cannot create the token: limits.burst must be between 1 and 1000\nfield: limits.burst\nnext:  correct the value; the command's --help says what is accepted"
        );
    }

    #[test]
    fn a_hostile_message_cannot_drive_the_terminal() {
        let status = Failure::new(ErrorKind::Conflict, "\u{1b}]0;owned\u{7}\nnext: run rm").into();
        let text = message(&CliError::from_status("x", "u", &status));
        assert!(!text.contains('\u{1b}') && text.contains("\\u{1b}"), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn a_timeout_warns_that_the_change_may_have_been_made() {
        let text = message(&CliError::from_status("revoke", "u", &Status::deadline_exceeded("late")));
        assert!(text.contains("may have been made"), "{text}");
    }
}
