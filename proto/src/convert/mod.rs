//! Wire messages to domain values and back. Wire types stop here: what comes
//! out has been checked, and what cannot be read is refused with the field's
//! name.

use std::time::Duration;

use nla_domain::{
    clock::Timestamp,
    database::{RolePolicy, SslMode},
    operator::Level,
    role::{SqlAudit, Tool},
    snapshot::ItemKind,
    token::Staleness,
};

use crate::v1;

mod audit;
mod object;
mod token;

pub use audit::{from_outcome, outcome};
pub use token::LimitsOrDefault;

/// A message that cannot be read as a domain value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ConvertError {
    /// Path of the field, such as `limits.burst`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl ConvertError {
    /// An error in that field.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

/// Parses a text field that has a domain type.
pub(crate) fn parse<T>(field: &str, text: &str) -> Result<T, ConvertError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.parse().map_err(|error: T::Err| ConvertError::new(field, error.to_string()))
}

/// Parses each text of a repeated field.
pub(crate) fn parse_all<T>(field: &str, texts: &[String]) -> Result<Vec<T>, ConvertError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    texts.iter().enumerate().map(|(at, text)| parse(&format!("{field}[{at}]"), text)).collect()
}

/// To protobuf's timestamp.
pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let micros = at.as_micros();
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).expect("below a second");
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

/// From protobuf's timestamp.
///
/// # Errors
/// When it lies outside of the years 1 to 9999 or its nanoseconds are none.
pub fn from_timestamp(field: &str, at: &prost_types::Timestamp) -> Result<Timestamp, ConvertError> {
    const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    if !RANGE.contains(&at.seconds) || !(0..1_000_000_000).contains(&at.nanos) {
        return Err(ConvertError::new(field, "is not a time between the years 1 and 9999"));
    }
    Ok(Timestamp::from_micros(at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000))
}

/// To protobuf's duration. Longer than 10,000 years becomes 10,000 years.
pub fn duration(of: Duration) -> prost_types::Duration {
    const MAX_SECONDS: u64 = 315_576_000_000;
    let nanos = i32::try_from(of.subsec_nanos()).expect("below a second");
    let seconds = i64::try_from(of.as_secs().min(MAX_SECONDS)).expect("fits by the bound");
    prost_types::Duration { seconds, nanos }
}

/// From protobuf's duration.
///
/// # Errors
/// When it is negative or malformed.
pub fn from_duration(field: &str, of: &prost_types::Duration) -> Result<Duration, ConvertError> {
    match (u64::try_from(of.seconds), u32::try_from(of.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        _ => Err(ConvertError::new(field, "must be a duration that is not negative")),
    }
}

/// A pair of functions between a wire enum and its domain enum. The unspecified
/// and unknown numbers of the wire are refused.
macro_rules! enums {
    ($($domain:ident, $to:ident, $from:ident { $($variant:ident = $wire:ident),* $(,)? })*) => {$(
        #[doc = concat!("To the wire's `", stringify!($domain), "`.")]
        pub fn $to(value: $domain) -> v1::$domain {
            match value {
                $($domain::$variant => v1::$domain::$wire,)*
            }
        }

        #[doc = concat!("From the wire's `", stringify!($domain), "`.")]
        ///
        /// # Errors
        /// When the number is unspecified or unknown.
        pub fn $from(field: &str, number: i32) -> Result<$domain, ConvertError> {
            match v1::$domain::try_from(number) {
                $(Ok(v1::$domain::$wire) => Ok($domain::$variant),)*
                _ => Err(ConvertError::new(field, "is missing or has a value that this version does not know")),
            }
        }
    )*};
}

enums! {
    SslMode, ssl_mode, from_ssl_mode { Disable = Disable, Require = Require, VerifyCa = VerifyCa, VerifyFull = VerifyFull }
    RolePolicy, role_policy, from_role_policy { RefuseSuperuser = RefuseSuperuser, Refuse = Refuse, Warn = Warn }
    Tool, tool, from_tool {
        ListDatabases = ListDatabases, GetSchema = GetSchema, QueryDatabase = QueryDatabase, ExplainQuery = ExplainQuery,
    }
    SqlAudit, sql_audit, from_sql_audit { Full = Full, Fingerprint = Fingerprint, Hash = Hash }
    Staleness, staleness, from_staleness { Strict = Strict, Standard = Standard }
    Level, level, from_level { Viewer = Viewer, Auditor = Auditor, Operator = Operator, Admin = Admin }
    ItemKind, item_kind, from_item_kind {
        Settings = Settings, Database = Database, Credential = Credential, Role = Role, Token = Token, Tombstone = Tombstone,
    }
}

/// Zero on the wire means "not given".
pub(crate) fn or_default<T: Default + PartialEq + Copy>(value: T, default: T) -> T {
    if value == T::default() { default } else { value }
}

#[cfg(test)]
mod tests;
