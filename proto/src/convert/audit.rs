//! Audit records of calls.

use nla_domain::{
    audit::{CallRecord, CallerRecord, Outcome, SqlRecord},
    error::ErrorKind,
};

use super::{ConvertError, duration, from_duration, from_timestamp, parse, timestamp};
use crate::v1;

/// To the wire's `Outcome`.
pub fn outcome(value: Outcome) -> v1::Outcome {
    match value {
        Outcome::Succeeded => v1::Outcome::Succeeded,
        Outcome::Refused => v1::Outcome::Refused,
        Outcome::Failed => v1::Outcome::Failed,
        Outcome::Cancelled => v1::Outcome::Cancelled,
        Outcome::TimedOut => v1::Outcome::TimedOut,
    }
}

/// From the wire's `Outcome`.
///
/// # Errors
/// When the number is unspecified or unknown.
pub fn from_outcome(field: &str, number: i32) -> Result<Outcome, ConvertError> {
    match v1::Outcome::try_from(number) {
        Ok(v1::Outcome::Succeeded) => Ok(Outcome::Succeeded),
        Ok(v1::Outcome::Refused) => Ok(Outcome::Refused),
        Ok(v1::Outcome::Failed) => Ok(Outcome::Failed),
        Ok(v1::Outcome::Cancelled) => Ok(Outcome::Cancelled),
        Ok(v1::Outcome::TimedOut) => Ok(Outcome::TimedOut),
        Ok(v1::Outcome::Unspecified) | Err(_) => {
            Err(ConvertError::new(field, "is missing or has a value that this version does not know"))
        }
    }
}

impl From<&SqlRecord> for v1::SqlText {
    fn from(sql: &SqlRecord) -> Self {
        let (form, text) = match sql {
            SqlRecord::Full(text) => (v1::SqlAudit::Full, text),
            SqlRecord::Fingerprint(text) => (v1::SqlAudit::Fingerprint, text),
            SqlRecord::Hash(text) => (v1::SqlAudit::Hash, text),
        };
        Self { form: form.into(), text: text.clone() }
    }
}

impl TryFrom<v1::SqlText> for SqlRecord {
    type Error = ConvertError;

    fn try_from(wire: v1::SqlText) -> Result<Self, ConvertError> {
        match v1::SqlAudit::try_from(wire.form) {
            Ok(v1::SqlAudit::Full) => Ok(Self::Full(wire.text)),
            Ok(v1::SqlAudit::Fingerprint) => Ok(Self::Fingerprint(wire.text)),
            Ok(v1::SqlAudit::Hash) => Ok(Self::Hash(wire.text)),
            Ok(v1::SqlAudit::Unspecified) | Err(_) => Err(ConvertError::new("sql.form", "is missing or unknown")),
        }
    }
}

impl From<&CallRecord> for v1::CallEvent {
    /// `edge`, `boot_id` and `boot_sequence` stay empty: the control plane
    /// takes the first from the certificate, and the batch says the others.
    fn from(record: &CallRecord) -> Self {
        let caller = &record.caller;
        Self {
            at: Some(timestamp(record.at)),
            request_id: record.request_id.clone(),
            action: record.action.clone(),
            edge: String::new(),
            boot_id: String::new(),
            boot_sequence: 0,
            client_address: text(caller.address),
            client_name: caller.client_name.clone().unwrap_or_default(),
            token: text(caller.token),
            owner: caller.owner.clone().unwrap_or_default(),
            role: text(caller.role.as_ref()),
            database: text(record.database.as_ref()),
            sql: record.sql.as_ref().map(Into::into),
            relations: record.relations.clone(),
            outcome: outcome(record.outcome).into(),
            reason: record.reason.unwrap_or_default().to_owned(),
            rule: record.rule.clone().unwrap_or_default(),
            sqlstate: record.sqlstate.clone().unwrap_or_default(),
            rows: record.rows,
            bytes: record.bytes,
            truncated: record.truncated,
            duration: Some(duration(record.duration)),
            database_duration: Some(duration(record.database_duration)),
        }
    }
}

impl TryFrom<v1::CallEvent> for CallRecord {
    type Error = ConvertError;

    fn try_from(wire: v1::CallEvent) -> Result<Self, ConvertError> {
        let at = wire.at.ok_or_else(|| ConvertError::new("at", "is missing"))?;
        let reason = match wire.reason.as_str() {
            "" => None,
            known => Some(
                ErrorKind::from_reason(known)
                    .ok_or_else(|| ConvertError::new("reason", "is not one that this version knows"))?
                    .reason(),
            ),
        };
        Ok(Self {
            at: from_timestamp("at", &at)?,
            request_id: wire.request_id,
            action: wire.action,
            caller: CallerRecord {
                address: optional("client_address", &wire.client_address)?,
                token: optional("token", &wire.token)?,
                owner: present(wire.owner),
                role: optional("role", &wire.role)?,
                client_name: present(wire.client_name),
            },
            database: optional("database", &wire.database)?,
            sql: wire.sql.map(TryInto::try_into).transpose()?,
            relations: wire.relations,
            outcome: from_outcome("outcome", wire.outcome)?,
            reason,
            rule: present(wire.rule),
            sqlstate: present(wire.sqlstate),
            rows: wire.rows,
            bytes: wire.bytes,
            truncated: wire.truncated,
            duration: from_duration("duration", &wire.duration.unwrap_or_default())?,
            database_duration: from_duration("database_duration", &wire.database_duration.unwrap_or_default())?,
        })
    }
}

/// Absent is the empty text.
fn text<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn optional<T>(field: &str, text: &str) -> Result<Option<T>, ConvertError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    if text.is_empty() { Ok(None) } else { parse(field, text).map(Some) }
}
