//! Sources of credentials as bytes.

use std::time::Duration;

use nla_domain::clock::Timestamp;
use nla_proto::convert::ConvertError;

use super::{super::record::SourceRecord, parse};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SourceBody {
    #[prost(string, tag = "1")]
    database: String,
    #[prost(string, tag = "2")]
    username: String,
    #[prost(string, tag = "3")]
    source: String,
    #[prost(uint64, optional, tag = "4")]
    every_seconds: Option<u64>,
    #[prost(sint64, tag = "5")]
    refreshed_at: i64,
    #[prost(sint64, optional, tag = "6")]
    expires_at: Option<i64>,
    #[prost(string, optional, tag = "7")]
    error: Option<String>,
}

impl From<&SourceRecord> for SourceBody {
    fn from(record: &SourceRecord) -> Self {
        Self {
            database: record.database.to_string(),
            username: record.username.clone(),
            source: record.source.clone(),
            every_seconds: record.every.map(|every| every.as_secs()),
            refreshed_at: record.refreshed_at.as_micros(),
            expires_at: record.expires_at.map(Timestamp::as_micros),
            error: record.error.clone(),
        }
    }
}

impl TryFrom<SourceBody> for SourceRecord {
    type Error = ConvertError;

    fn try_from(body: SourceBody) -> Result<Self, ConvertError> {
        Ok(Self {
            database: parse("database", &body.database)?,
            username: body.username,
            source: body.source,
            every: body.every_seconds.map(Duration::from_secs),
            refreshed_at: Timestamp::from_micros(body.refreshed_at),
            expires_at: body.expires_at.map(Timestamp::from_micros),
            error: body.error,
        })
    }
}
