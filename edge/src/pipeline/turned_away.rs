//! Requests that end before they are calls: the HTTP answer and the audit event
//! of each. Made by the first gates, written by `mcp` as it is.
//! Invariants: an answer never tells whether a token exists; a flood of refused
//! requests does not flood the audit log, yet its size is in it.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use nla_domain::{audit::Outcome, error::ErrorKind, id::TokenId, policy::AuthFailure, token::Token};

use super::{Peer, Pipeline, admitted::retry_after_seconds, attempts::Source};
use crate::snapshot::Standing;

/// Why a request was turned away.
#[derive(Debug, Clone)]
pub(super) enum Why {
    NoAddress,
    Draining { peer: Peer },
    Quarantined { peer: Peer },
    NoToken { peer: Peer },
    Malformed { peer: Peer },
    NoSnapshot { peer: Peer },
    NotAuthenticated { peer: Peer, token: TokenId, failure: AuthFailure },
    TooFast { peer: Peer, token: Arc<Token>, wait: Duration },
    TooMany { peer: Peer, token: Arc<Token>, at_once: u32 },
    AuditUnavailable,
}

/// An HTTP answer instead of a call.
#[derive(Debug, Clone)]
pub struct TurnedAway {
    /// For the status and the reason in the body.
    pub kind: ErrorKind,
    /// For a person or a model.
    pub message: String,
    /// `WWW-Authenticate` and `Retry-After`. Boxed to keep the happy path's
    /// result small.
    pub headers: Box<HeaderMap>,
}

impl TurnedAway {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A restart or a short loss of the control plane is over by then.
const RETRY_LATER: Duration = Duration::from_secs(5);

impl Pipeline {
    /// Refuses while the edge stops, is banned or in quarantine. One that the control plane
    /// drains answers: its balancer needs time to see that it is not ready.
    pub(super) fn accepts_calls(&self, peer: Peer) -> Result<(), Why> {
        let draining = self.draining.load(std::sync::atomic::Ordering::Acquire);
        match *self.snapshots.standing() {
            Standing::Quarantined(_) => Err(Why::Quarantined { peer }),
            Standing::Banned(_) => Err(Why::Draining { peer }),
            _ if draining => Err(Why::Draining { peer }),
            Standing::Follows | Standing::Draining(_) => Ok(()),
        }
    }

    pub(super) fn turn_away(&self, why: Why) -> TurnedAway {
        self.record_turned_away(&why);
        self.answer(&why)
    }

    fn answer(&self, why: &Why) -> TurnedAway {
        let mut headers = HeaderMap::new();
        let mut retry = |wait: Duration| {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds(wait).max(1)));
        };
        let (kind, message) = match why {
            Why::NoAddress => (ErrorKind::Internal, "the request's address is not known".to_owned()),
            Why::Draining { .. } => {
                retry(RETRY_LATER);
                (
                    ErrorKind::Unavailable,
                    "this edge takes no calls at the moment; try again, another one will answer".to_owned(),
                )
            }
            Why::Quarantined { .. } => {
                retry(RETRY_LATER);
                (
                    ErrorKind::Quarantined,
                    "an operator has taken this edge out of service; another one will answer".to_owned(),
                )
            }
            Why::NoToken { .. } => {
                (ErrorKind::MissingToken, "send an NLA token as `Authorization: Bearer nla_...`".to_owned())
            }
            Why::Malformed { .. } => (
                ErrorKind::InvalidToken,
                "the Authorization header holds no well-formed NLA token; was it copied whole?".to_owned(),
            ),
            Why::NoSnapshot { .. } => {
                retry(RETRY_LATER);
                (ErrorKind::Stale, "this edge has not heard from its control plane yet; try again soon".to_owned())
            }
            Why::NotAuthenticated { failure, .. } => {
                let kind = failure.kind();
                let message = match kind {
                    ErrorKind::AddressRefused => "this token is not accepted from this address".to_owned(),
                    ErrorKind::Stale => {
                        retry(RETRY_LATER);
                        "this edge has lost contact to its control plane for too long; try again soon".to_owned()
                    }
                    _ => "the token is not valid; ask its owner for a new one".to_owned(),
                };
                (kind, message)
            }
            Why::TooFast { token, wait, .. } => {
                retry(*wait);
                let rate = token.limits.calls_per_second;
                let message = format!(
                    "this token may make {rate} calls per second; wait {} s and repeat this call",
                    retry_after_seconds(*wait).max(1)
                );
                (ErrorKind::RateLimited, message)
            }
            Why::TooMany { at_once, .. } => {
                retry(Duration::from_secs(1));
                let message =
                    format!("this token may run {at_once} calls at once; wait until one of them has been answered");
                (ErrorKind::RateLimited, message)
            }
            Why::AuditUnavailable => {
                retry(RETRY_LATER);
                (ErrorKind::AuditUnavailable, "calls cannot be recorded at the moment, so none is answered".to_owned())
            }
        };
        if let Some(challenge) = self.challenge(kind) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        TurnedAway { kind, message, headers: Box::new(headers) }
    }

    /// RFC 6750, section 3: no error code when no token was sent.
    fn challenge(&self, kind: ErrorKind) -> Option<HeaderValue> {
        let mut challenge = String::from("Bearer realm=\"nla\"");
        match kind {
            ErrorKind::MissingToken => {}
            ErrorKind::InvalidToken => {
                challenge.push_str(", error=\"invalid_token\", error_description=\"the token is not valid\"");
            }
            _ => return None,
        }
        if let Some(url) = &self.config.resource_metadata {
            challenge.push_str(&format!(", resource_metadata=\"{url}\""));
        }
        HeaderValue::from_str(&challenge).ok()
    }

    fn record_turned_away(&self, why: &Why) {
        let (source, rule, token) = match why {
            // The one is a defect and the other has nowhere to go; readiness
            // shows both.
            Why::NoAddress | Why::AuditUnavailable => return,
            Why::Draining { peer } => (Source::Address(peer.address), "edge.draining", None),
            Why::Quarantined { peer } => (Source::Address(peer.address), "edge.quarantined", None),
            Why::NoSnapshot { peer } => (Source::Address(peer.address), "edge.no_snapshot", None),
            Why::NoToken { peer } => (Source::Address(peer.address), "auth.missing", None),
            Why::Malformed { peer } => (Source::Address(peer.address), "auth.malformed", None),
            Why::NotAuthenticated { peer, token, failure } => {
                (Source::Address(peer.address), failure.code(), Some((*token, None)))
            }
            Why::TooFast { token, .. } => (Source::Token(token.id), "limit.rate", Some((token.id, Some(&token.owner)))),
            Why::TooMany { token, .. } => {
                (Source::Token(token.id), "limit.concurrency", Some((token.id, Some(&token.owner))))
            }
        };
        let Some(left_out) = self.attempts.note(source) else { return };
        // Without room the refusal stands anyway; that calls cannot be
        // recorded shows in readiness.
        let Ok(mut slot) = self.audit.reserve() else { return };
        let address = match why {
            Why::Draining { peer }
            | Why::Quarantined { peer }
            | Why::NoSnapshot { peer }
            | Why::NoToken { peer }
            | Why::Malformed { peer }
            | Why::NotAuthenticated { peer, .. }
            | Why::TooFast { peer, .. }
            | Why::TooMany { peer, .. } => Some(peer.address),
            _ => None,
        };
        let record = slot.record_mut();
        record.action = match left_out {
            0 => "authenticate".to_owned(),
            more => format!("authenticate (and {more} refused attempts before it)"),
        };
        record.caller.address = address;
        record.caller.token = token.map(|(id, _)| id);
        record.caller.owner = token.and_then(|(_, owner)| owner.cloned());
        record.outcome = Outcome::Refused;
        record.reason = Some(why.kind_for_audit().reason());
        record.rule = Some(rule.to_owned());
        let _ = slot.finish();
    }
}

impl Why {
    fn kind_for_audit(&self) -> ErrorKind {
        match self {
            Self::NoToken { .. } => ErrorKind::MissingToken,
            Self::Draining { .. } => ErrorKind::Unavailable,
            Self::Quarantined { .. } => ErrorKind::Quarantined,
            Self::NoSnapshot { .. } => ErrorKind::Stale,
            Self::NotAuthenticated { failure, .. } => failure.kind(),
            _ => self.limit_kind().unwrap_or(ErrorKind::InvalidToken),
        }
    }
}
