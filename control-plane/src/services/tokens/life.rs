//! How long a new token lives, as asked for and within the policy.

use std::time::Duration;

use nla_domain::{clock::Timestamp, error::ErrorKind};
use nla_proto::failure::Failure;

use super::bounded;
use crate::config::TokenPolicy;

/// The life of a new token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// From when it is made.
    For(Duration),
    /// Without an end.
    Forever,
}

impl Life {
    /// Reads what was asked for.
    pub(super) fn read(
        policy: &TokenPolicy,
        asked: Option<&prost_types::Duration>,
        never_expires: bool,
    ) -> Result<Self, Failure> {
        if !never_expires {
            let (default, min, max) = (policy.default_lifetime, Duration::from_secs(1), policy.max_lifetime);
            return bounded("lifetime", asked, default, min, max).map(Self::For);
        }
        if asked.is_some() {
            return Err(Failure::invalid("never_expires", "a token has a lifetime or no end, not both"));
        }
        if !policy.allow_never {
            let message = "the control plane's policy gives every token an end: ask for a lifetime, \
                           or set tokens.allow_never in its configuration";
            return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("never_expires"));
        }
        Ok(Self::Forever)
    }

    /// The end of a token that is made now.
    pub(super) fn end(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::For(life) => Some(now.plus(life)),
            Self::Forever => None,
        }
    }
}
