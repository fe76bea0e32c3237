//! Tokens.

use nla_domain::{
    pepper::FIRST_GENERATION,
    token::{Token, TokenLimits, TokenVerifier},
};

use super::{ConvertError, from_staleness, from_timestamp, or_default, parse, parse_all, staleness, timestamp};
use crate::v1;

/// Most calls per second, burst and concurrency that a token may be given: far
/// above what one agent does, low enough that a typo does no harm.
const MAX_LIMIT: u32 = 100_000;

impl From<TokenLimits> for v1::TokenLimits {
    fn from(limits: TokenLimits) -> Self {
        Self {
            calls_per_second: limits.calls_per_second,
            burst: limits.burst,
            concurrent_calls: limits.concurrent_calls,
        }
    }
}

impl TryFrom<Option<v1::TokenLimits>> for LimitsOrDefault {
    type Error = ConvertError;

    fn try_from(wire: Option<v1::TokenLimits>) -> Result<Self, ConvertError> {
        let default = TokenLimits::default();
        let Some(wire) = wire else { return Ok(Self(default)) };
        let checked = |field: &str, value: u32, default: u32| {
            if value > MAX_LIMIT {
                return Err(ConvertError::new(format!("limits.{field}"), format!("must be at most {MAX_LIMIT}")));
            }
            Ok(or_default(value, default))
        };
        Ok(Self(TokenLimits {
            calls_per_second: checked("calls_per_second", wire.calls_per_second, default.calls_per_second)?,
            burst: checked("burst", wire.burst, default.burst)?,
            concurrent_calls: checked("concurrent_calls", wire.concurrent_calls, default.concurrent_calls)?,
        }))
    }
}

/// [`TokenLimits`] from a message in which each field may be absent.
#[derive(Clone, Copy, Debug)]
pub struct LimitsOrDefault(pub TokenLimits);

impl From<&Token> for v1::Token {
    fn from(token: &Token) -> Self {
        Self {
            id: token.id.to_string(),
            verifier: token.verifier.as_bytes().to_vec(),
            owner: token.owner.clone(),
            roles: token.roles.iter().map(ToString::to_string).collect(),
            databases: token.databases.iter().map(ToString::to_string).collect(),
            expires_at: token.expires_at.map(timestamp),
            allowed_cidrs: token.allowed_cidrs.iter().map(ToString::to_string).collect(),
            staleness: staleness(token.staleness).into(),
            limits: Some(token.limits.into()),
            // The first goes without a number, as tokens from before there were others do.
            pepper_generation: if token.pepper_generation == FIRST_GENERATION { 0 } else { token.pepper_generation },
        }
    }
}

impl TryFrom<v1::Token> for Token {
    type Error = ConvertError;

    fn try_from(wire: v1::Token) -> Result<Self, ConvertError> {
        Ok(Self {
            id: parse("id", &wire.id)?,
            verifier: TokenVerifier::from_slice(&wire.verifier)
                .ok_or_else(|| ConvertError::new("verifier", "must be 32 bytes"))?,
            owner: wire.owner,
            roles: parse_all("roles", &wire.roles)?,
            databases: parse_all("databases", &wire.databases)?,
            expires_at: wire.expires_at.as_ref().map(|at| from_timestamp("expires_at", at)).transpose()?,
            allowed_cidrs: parse_all("allowed_cidrs", &wire.allowed_cidrs)?,
            staleness: from_staleness("staleness", wire.staleness)?,
            limits: LimitsOrDefault::try_from(wire.limits)?.0,
            pepper_generation: or_default(wire.pepper_generation, FIRST_GENERATION),
        })
    }
}
