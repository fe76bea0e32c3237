//! How long tokens may live: the defaults, the accepted range, and what is
//! refused because it contradicts itself.

use std::time::Duration;

use nla_domain::token::DEFAULT_LIFETIME;
use serde::Deserialize;

use super::ConfigError;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A token that outlives a year is forgotten before it ends.
const DEFAULT_MAX_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// Whoever wants more than ten years means "never" and has to say so.
const MOST_DAYS: u64 = 3_650;

/// What tokens may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenPolicy {
    /// Whether a token may have no end.
    pub allow_never: bool,
    /// The longest life that may be asked for.
    pub max_lifetime: Duration,
    /// The life of a token for which none is asked.
    pub default_lifetime: Duration,
}

impl Default for TokenPolicy {
    fn default() -> Self {
        Self { allow_never: false, max_lifetime: DEFAULT_MAX_LIFETIME, default_lifetime: DEFAULT_LIFETIME }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTokens {
    allow_never: Option<bool>,
    max_lifetime_days: Option<u64>,
    default_lifetime_days: Option<u64>,
}

impl RawTokens {
    pub(super) fn check(&self) -> Result<TokenPolicy, ConfigError> {
        let default = TokenPolicy::default();
        let max_lifetime = days("tokens.max_lifetime_days", self.max_lifetime_days)?.unwrap_or(default.max_lifetime);
        // A shorter maximum shortens what is given by default.
        let default_lifetime = days("tokens.default_lifetime_days", self.default_lifetime_days)?
            .unwrap_or_else(|| default.default_lifetime.min(max_lifetime));
        if default_lifetime > max_lifetime {
            return Err(ConfigError::value(
                "tokens.default_lifetime_days",
                default_lifetime.as_secs() / DAY.as_secs(),
                format!("at most tokens.max_lifetime_days, which is {}", max_lifetime.as_secs() / DAY.as_secs()),
            ));
        }
        Ok(TokenPolicy { allow_never: self.allow_never.unwrap_or(default.allow_never), max_lifetime, default_lifetime })
    }
}

fn days(key: &'static str, days: Option<u64>) -> Result<Option<Duration>, ConfigError> {
    match days {
        None => Ok(None),
        Some(days) if (1..=MOST_DAYS).contains(&days) => Ok(Some(Duration::from_secs(days * DAY.as_secs()))),
        Some(days) => Err(ConfigError::value(key, days, format!("1 to {MOST_DAYS} days"))),
    }
}
