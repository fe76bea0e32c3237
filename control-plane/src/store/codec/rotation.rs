//! Rotations as bytes.

use std::time::Duration;

use nla_domain::{clock::Timestamp, id::Revision, secret::Secret};
use nla_proto::convert::ConvertError;

use super::{
    super::record::{Login, RotationRecord, Run, Step},
    parse,
};
use crate::redacted::redacted;

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct RotationBody {
    #[prost(string, tag = "1")]
    database: String,
    #[prost(message, required, tag = "2")]
    manager: LoginBody,
    #[prost(string, repeated, tag = "3")]
    roles: Vec<String>,
    #[prost(uint64, optional, tag = "4")]
    every_seconds: Option<u64>,
    #[prost(sint64, optional, tag = "5")]
    next_at: Option<i64>,
    #[prost(message, optional, tag = "6")]
    run: Option<RunBody>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct LoginBody {
    #[prost(string, tag = "1")]
    username: String,
    #[prost(string, tag = "2")]
    password: String,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct RunBody {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(int32, tag = "2")]
    step: i32,
    #[prost(message, required, tag = "3")]
    old: LoginBody,
    #[prost(message, required, tag = "4")]
    new: LoginBody,
    #[prost(uint64, tag = "5")]
    generation: u64,
    #[prost(bool, tag = "6")]
    emergency: bool,
    #[prost(bool, tag = "7")]
    force: bool,
    #[prost(uint64, tag = "8")]
    grace_ms: u64,
    #[prost(string, tag = "9")]
    started_by: String,
    #[prost(sint64, tag = "10")]
    started_at: i64,
    #[prost(sint64, tag = "11")]
    changed_at: i64,
    #[prost(uint64, tag = "12")]
    revision: u64,
    #[prost(bool, tag = "13")]
    reverting: bool,
    #[prost(string, optional, tag = "14")]
    failure: Option<String>,
    #[prost(string, repeated, tag = "15")]
    unreached: Vec<String>,
    #[prost(string, tag = "16")]
    remark: String,
}

redacted!(RotationBody, LoginBody, RunBody);

impl From<&Login> for LoginBody {
    fn from(login: &Login) -> Self {
        Self { username: login.username.clone(), password: login.password.expose().to_owned() }
    }
}

impl From<LoginBody> for Login {
    fn from(body: LoginBody) -> Self {
        Self { username: body.username, password: Secret::new(body.password) }
    }
}

impl From<&RotationRecord> for RotationBody {
    fn from(record: &RotationRecord) -> Self {
        Self {
            database: record.database.to_string(),
            manager: (&record.manager).into(),
            roles: record.roles.to_vec(),
            every_seconds: record.every.map(|every| every.as_secs()),
            next_at: record.next_at.map(Timestamp::as_micros),
            run: record.run.as_ref().map(|run| RunBody {
                number: run.number,
                step: run.step.number(),
                old: (&run.old).into(),
                new: (&run.new).into(),
                generation: run.generation,
                emergency: run.emergency,
                force: run.force,
                grace_ms: u64::try_from(run.grace.as_millis()).unwrap_or(u64::MAX),
                started_by: run.started_by.clone(),
                started_at: run.started_at.as_micros(),
                changed_at: run.changed_at.as_micros(),
                revision: run.revision.0,
                reverting: run.reverting,
                failure: run.failure.clone(),
                unreached: run.unreached.clone(),
                remark: run.remark.clone(),
            }),
        }
    }
}

impl TryFrom<RotationBody> for RotationRecord {
    type Error = ConvertError;

    fn try_from(body: RotationBody) -> Result<Self, ConvertError> {
        let roles = body.roles.try_into().map_err(|_| ConvertError::new("roles", "must be two"))?;
        Ok(Self {
            database: parse("database", &body.database)?,
            manager: body.manager.into(),
            roles,
            every: body.every_seconds.map(Duration::from_secs),
            next_at: body.next_at.map(Timestamp::from_micros),
            run: body.run.map(run).transpose()?,
        })
    }
}

fn run(body: RunBody) -> Result<Run, ConvertError> {
    let unknown = || ConvertError::new("step", "is not one that this version knows");
    Ok(Run {
        number: body.number,
        step: Step::from_number(body.step).ok_or_else(unknown)?,
        old: body.old.into(),
        new: body.new.into(),
        generation: body.generation,
        emergency: body.emergency,
        force: body.force,
        grace: Duration::from_millis(body.grace_ms),
        started_by: body.started_by,
        started_at: Timestamp::from_micros(body.started_at),
        changed_at: Timestamp::from_micros(body.changed_at),
        revision: Revision(body.revision),
        reverting: body.reverting,
        failure: body.failure,
        unreached: body.unreached,
        remark: body.remark,
    })
}
