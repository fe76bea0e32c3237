//! Which tokens a list is about.

use nla_domain::{
    clock::Timestamp,
    id::{DatabaseName, RoleName},
    label::Labels,
};
use nla_proto::{convert, failure::Failure, v1};

use super::{
    super::{change::parse, view},
    labels,
};
use crate::store::{State, Stored, TokenRecord, TokenUse};

/// What a token has to fit, all of it.
pub(super) struct Selection {
    owner: String,
    include_ended: bool,
    labels: Labels,
    role: Option<RoleName>,
    database: Option<DatabaseName>,
    unused_since: Option<Timestamp>,
    expires_before: Option<Timestamp>,
}

impl Selection {
    pub(super) fn read(request: v1::ListTokensRequest) -> Result<Self, Failure> {
        let time = |field: &str, at: &Option<prost_types::Timestamp>| {
            at.as_ref().map(|at| convert::from_timestamp(field, at)).transpose()
        };
        Ok(Self {
            owner: request.owner,
            include_ended: request.include_ended,
            labels: labels(request.labels)?,
            role: name("role", &request.role)?,
            database: name("database", &request.database)?,
            unused_since: time("unused_since", &request.unused_since)?,
            expires_before: time("expires_before", &request.expires_before)?,
        })
    }

    pub(super) fn fits(
        &self,
        state: &State,
        stored: &Stored<TokenRecord>,
        last_use: Option<&TokenUse>,
        now: Timestamp,
    ) -> bool {
        let record = &stored.value;
        let token = &record.token;
        // One that is younger has had no time to be used.
        let idle_since = last_use.map_or(stored.meta.created_at, |used| used.at.max(stored.meta.created_at));
        (self.include_ended || view::is_live(record, now))
            && (self.owner.is_empty() || token.owner == self.owner)
            && record.labels.include(&self.labels)
            && self.role.as_ref().is_none_or(|role| token.roles.contains(role))
            && self.database.as_ref().is_none_or(|database| opens(state, record, database))
            && self.unused_since.is_none_or(|since| idle_since < since)
            && self.expires_before.is_none_or(|before| token.expires_at.is_some_and(|end| end < before))
    }
}

fn name<T>(field: &str, text: &str) -> Result<Option<T>, Failure>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    if text.is_empty() { Ok(None) } else { parse(field, text).map(Some) }
}

/// Whether the token may use the database with any tool.
fn opens(state: &State, record: &TokenRecord, database: &DatabaseName) -> bool {
    let token = &record.token;
    (token.databases.is_empty() || token.databases.contains(database))
        && token.roles.iter().any(|role| state.roles.get(role).is_some_and(|role| role.value.opens(database)))
}
