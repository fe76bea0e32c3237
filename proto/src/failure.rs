//! Errors as gRPC carries them: a code, a reason and the field at fault, in
//! google.rpc error details (google/rpc/error_details.proto), and back again
//! for clients.

use nla_domain::error::ErrorKind;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// `ErrorInfo.domain` of all our errors.
pub const DOMAIN: &str = "nla";

/// A call that was not done as asked. The message is for people and never
/// holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What callers act on.
    pub kind: ErrorKind,
    /// What failed and what to do next.
    pub message: String,
    /// The request's field at fault.
    pub field: Option<String>,
}

impl Failure {
    /// A failure of that kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), field: None }
    }

    /// A malformed field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::InvalidArgument, message: message.into(), field: Some(field.into()) }
    }

    /// No such object.
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::new(ErrorKind::NotFound, format!("there is no {what} {:?}", id.chars().take(80).collect::<String>()))
    }

    /// The same failure, pointing at a field.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Reads what a server answered. Errors that our servers did not make, such
    /// as those of the transport, are explained as far as they can be.
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let known = details.error_info().filter(|info| info.domain == DOMAIN);
        if let Some(kind) = known.and_then(|info| ErrorKind::from_reason(&info.reason)) {
            let field = details.bad_request().and_then(|bad| bad.field_violations.first()).map(|v| v.field.clone());
            return Self { kind, message: status.message().to_owned(), field };
        }
        let kind = match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => ErrorKind::PermissionDenied,
            Code::NotFound => ErrorKind::NotFound,
            Code::AlreadyExists | Code::Aborted => ErrorKind::Conflict,
            Code::InvalidArgument | Code::OutOfRange => ErrorKind::InvalidArgument,
            Code::FailedPrecondition => ErrorKind::FailedPrecondition,
            Code::DeadlineExceeded => ErrorKind::TimedOut,
            Code::ResourceExhausted => ErrorKind::Overloaded,
            Code::Unavailable | Code::Cancelled | Code::Unknown => ErrorKind::Unavailable,
            Code::Internal | Code::DataLoss | Code::Unimplemented | Code::Ok => ErrorKind::Internal,
        };
        Self::new(kind, explain_transport(status))
    }
}

/// With TLS 1.3 a client learns only from its first call that the server has
/// refused its certificate, and then as a broken connection; say so.
fn explain_transport(status: &Status) -> String {
    let mut causes = vec![status.message().to_owned()];
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        let text = cause.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        source = cause.source();
    }
    let text = causes.join(": ");
    let lower = text.to_lowercase();
    if lower.contains("certificate") || lower.contains("alert") {
        return format!("{text} (was the certificate issued by this control plane, and is it still valid?)");
    }
    let broken = matches!(status.code(), Code::Unknown | Code::Cancelled) && lower.contains("transport");
    if broken || lower.contains("connection closed") || lower.contains("broken pipe") {
        return format!("{text} (the server closed the connection; it may have refused the client certificate)");
    }
    text
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let mut details = ErrorDetails::new();
        details.set_error_info(failure.kind.reason(), DOMAIN, [] as [(String, String); 0]);
        if let Some(field) = &failure.field {
            details.add_bad_request_violation(field, &failure.message);
        }
        Self::with_error_details(Code::from_i32(failure.kind.grpc_code()), failure.message, details)
    }
}

impl From<crate::convert::ConvertError> for Failure {
    fn from(error: crate::convert::ConvertError) -> Self {
        let message = error.to_string();
        Self::invalid(error.field, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive_the_wire() {
        for kind in ErrorKind::ALL {
            for field in [None, Some("limits.burst".to_owned())] {
                let failure = Failure { kind, message: "no".into(), field };
                assert_eq!(Failure::from_status(&failure.clone().into()), failure);
            }
        }
    }

    #[test]
    fn errors_of_others_keep_their_meaning() {
        let failure = Failure::from_status(&Status::unavailable("connection refused"));
        assert_eq!(failure.kind, ErrorKind::Unavailable);
        let failure = Failure::from_status(&Status::unknown("transport error"));
        assert!(failure.message.contains("client certificate"), "{failure}");
    }
}
