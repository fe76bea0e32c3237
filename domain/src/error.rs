//! One table of what can go wrong, for every surface: the reason that clients
//! and operators see, HTTP status, gRPC code and metric label.

/// An error with all of its causes, in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Why a call was not answered as asked. The variants are what callers act on;
/// details travel in the message beside it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorKind {
    /// No bearer token was sent.
    MissingToken,
    /// The token is malformed, unknown, expired or revoked. Callers do not
    /// learn which, so that they cannot probe; the audit event says it.
    InvalidToken,
    /// The client's address is not among the token's.
    AddressRefused,
    /// The token's roles do not allow this.
    PermissionDenied,
    /// The database is not known, or not for this token.
    UnknownDatabase,
    /// An argument or message is malformed.
    InvalidArgument,
    /// The statement does more than read, or cannot be proven not to.
    StatementRefused,
    /// Too many calls.
    RateLimited,
    /// No room for this call now.
    Overloaded,
    /// PostgreSQL refused or failed the statement.
    DatabaseError,
    /// PostgreSQL cannot be reached or does not let NLA in.
    DatabaseUnavailable,
    /// The database role may do more than the database's policy lets it.
    DatabaseRoleRefused,
    /// The time limit passed.
    TimedOut,
    /// The caller went away, or its token ended meanwhile.
    Cancelled,
    /// The edge has not heard from the control plane for too long.
    Stale,
    /// An operator has taken the edge out of service.
    Quarantined,
    /// The call cannot be recorded, so it is not answered.
    AuditUnavailable,
    /// No such object.
    NotFound,
    /// An object of that name exists, or an idempotency key was used for
    /// something else.
    Conflict,
    /// The object has changed since the caller read it, or is in use.
    FailedPrecondition,
    /// The other side is not there at the moment.
    Unavailable,
    /// A defect of NLA.
    Internal,
}

/// A gRPC status code (grpc/doc/statuscodes.md); the domain does not know tonic.
pub type GrpcCode = i32;

impl ErrorKind {
    /// Every kind, for tests and metrics.
    pub const ALL: [Self; 22] = [
        Self::MissingToken,
        Self::InvalidToken,
        Self::AddressRefused,
        Self::PermissionDenied,
        Self::UnknownDatabase,
        Self::InvalidArgument,
        Self::StatementRefused,
        Self::RateLimited,
        Self::Overloaded,
        Self::DatabaseError,
        Self::DatabaseUnavailable,
        Self::DatabaseRoleRefused,
        Self::TimedOut,
        Self::Cancelled,
        Self::Stale,
        Self::Quarantined,
        Self::AuditUnavailable,
        Self::NotFound,
        Self::Conflict,
        Self::FailedPrecondition,
        Self::Unavailable,
        Self::Internal,
    ];

    /// (reason, HTTP status, gRPC code): the one table.
    const fn row(self) -> (&'static str, u16, GrpcCode) {
        match self {
            Self::MissingToken => ("missing_token", 401, 16),
            Self::InvalidToken => ("invalid_token", 401, 16),
            Self::AddressRefused => ("address_refused", 403, 7),
            Self::PermissionDenied => ("permission_denied", 403, 7),
            Self::UnknownDatabase => ("unknown_database", 404, 5),
            Self::InvalidArgument => ("invalid_argument", 400, 3),
            Self::StatementRefused => ("statement_refused", 400, 3),
            Self::RateLimited => ("rate_limited", 429, 8),
            Self::Overloaded => ("overloaded", 503, 8),
            Self::DatabaseError => ("database_error", 422, 9),
            Self::DatabaseUnavailable => ("database_unavailable", 503, 14),
            Self::DatabaseRoleRefused => ("database_role_refused", 503, 9),
            Self::TimedOut => ("timed_out", 504, 4),
            Self::Cancelled => ("cancelled", 499, 1),
            Self::Stale => ("stale", 503, 14),
            Self::Quarantined => ("quarantined", 503, 14),
            Self::AuditUnavailable => ("audit_unavailable", 503, 14),
            Self::NotFound => ("not_found", 404, 5),
            Self::Conflict => ("conflict", 409, 6),
            Self::FailedPrecondition => ("failed_precondition", 412, 9),
            Self::Unavailable => ("unavailable", 503, 14),
            Self::Internal => ("internal", 500, 13),
        }
    }

    /// Stable, machine-readable; also the metric label.
    pub const fn reason(self) -> &'static str {
        self.row().0
    }

    /// HTTP status where the answer is an HTTP error.
    pub const fn http_status(self) -> u16 {
        self.row().1
    }

    /// gRPC status code.
    pub const fn grpc_code(self) -> GrpcCode {
        self.row().2
    }

    /// The kind behind a reason, for clients.
    pub fn from_reason(reason: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.reason() == reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_unique_and_lead_back() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_reason(kind.reason()), Some(kind));
            assert!((400..600).contains(&kind.http_status()));
            assert!((1..=16).contains(&kind.grpc_code()));
        }
    }
}
