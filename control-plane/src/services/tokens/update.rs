//! What may change in a token without a new secret.

use std::sync::Arc;

use ipnet::IpNet;
use nla_domain::{error::ErrorKind, id::TokenId, label::Labels};
use nla_proto::{convert::LimitsOrDefault, failure::Failure, v1};

use super::{
    super::{
        change::{Recorder, parse, required_revision, text},
        view,
    },
    find, grants, labels, put,
};
use crate::store::{Draft, RecordKey};

/// What is to change; what is `None` stays.
pub(super) struct Update {
    id: TokenId,
    expected_revision: u64,
    owner: Option<String>,
    purpose: Option<String>,
    allowed_cidrs: Option<Vec<IpNet>>,
    labels: Option<Labels>,
    limits: Option<v1::TokenLimits>,
}

impl Update {
    pub(super) fn read(request: v1::UpdateTokenRequest) -> Result<Self, Failure> {
        let update = Self {
            id: parse("id", &request.id)?,
            expected_revision: required_revision(request.expected_revision)?,
            owner: request.owner,
            purpose: request.purpose,
            allowed_cidrs: request
                .allowed_cidrs
                .map(|ranges| grants::all("allowed_cidrs", &ranges.cidrs))
                .transpose()?,
            labels: request.labels.map(|wire| labels(wire.labels)).transpose()?,
            limits: request.limits,
        };
        if let Some(owner) = &update.owner {
            text("owner", owner, 1, 200)?;
        }
        if let Some(purpose) = &update.purpose {
            text("purpose", purpose, 1, 200)?;
        }
        // Whether they are in range shows before anything is decided by them.
        LimitsOrDefault::try_from(update.limits)?;
        let nothing = update.owner.is_none()
            && update.purpose.is_none()
            && update.allowed_cidrs.is_none()
            && update.labels.is_none()
            && update.limits.is_none();
        if nothing {
            return Err(Failure::new(ErrorKind::InvalidArgument, "the request names nothing that is to change"));
        }
        Ok(update)
    }

    pub(super) fn apply(self, draft: &mut Draft<'_>, recorder: &Recorder) -> Result<v1::TokenView, Failure> {
        let stored = Arc::clone(find(draft.state(), self.id)?);
        draft.expect_revision(&RecordKey::Token(self.id), self.expected_revision)?;
        if !view::is_live(&stored.value, draft.now()) {
            let message = "the token has ended, so that nothing in it can change: create a new one";
            return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("id"));
        }
        let mut record = stored.value.clone();
        let token = &mut record.token;
        if let Some(owner) = self.owner {
            token.owner = owner;
        }
        if let Some(cidrs) = self.allowed_cidrs {
            token.allowed_cidrs = cidrs;
        }
        if let Some(limits) = self.limits {
            let or_held = |asked: u32, held: u32| if asked == 0 { held } else { asked };
            let held = token.limits;
            token.limits = LimitsOrDefault::try_from(Some(v1::TokenLimits {
                calls_per_second: or_held(limits.calls_per_second, held.calls_per_second),
                burst: or_held(limits.burst, held.burst),
                concurrent_calls: or_held(limits.concurrent_calls, held.concurrent_calls),
            }))?
            .0;
        }
        record.purpose = self.purpose.unwrap_or(record.purpose);
        record.labels = self.labels.unwrap_or(record.labels);
        let meta = put(draft, recorder, &record, Some(&stored.value), "");
        Ok(view::token(&record, &meta))
    }
}
