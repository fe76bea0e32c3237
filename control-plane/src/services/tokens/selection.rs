//! Which tokens a list or a change of many is about: the plan that an operator
//! confirms and the change are made by the same rule.

use std::sync::Arc;

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
use crate::{
    store::{State, Stored, TokenRecord, TokenUse},
    uses::Uses,
};

/// What a token has to fit, all of it.
pub(super) struct Selection {
    owner: String,
    labels: Labels,
    role: Option<RoleName>,
    database: Option<DatabaseName>,
    unused_since: Option<Timestamp>,
    expires_before: Option<Timestamp>,
}

impl Selection {
    /// Reads a filter. One without a condition fits all tokens.
    pub(super) fn read(filter: v1::TokenFilter) -> Result<Self, Failure> {
        let time = |field: &str, at: &Option<prost_types::Timestamp>| {
            at.as_ref().map(|at| convert::from_timestamp(field, at)).transpose()
        };
        Ok(Self {
            owner: filter.owner,
            labels: labels(filter.labels)?,
            role: name("role", &filter.role)?,
            database: name("database", &filter.database)?,
            unused_since: time("unused_since", &filter.unused_since)?,
            expires_before: time("expires_before", &filter.expires_before)?,
        })
    }

    /// Reads a filter for a change, which needs at least one condition: none
    /// stands for all tokens, which nobody should end by leaving something out.
    pub(super) fn read_some(filter: v1::TokenFilter) -> Result<Self, Failure> {
        if filter == v1::TokenFilter::default() {
            return Err(Failure::invalid("filter", "name at least one condition, such as an owner"));
        }
        Self::read(filter)
    }

    /// The tokens that fit, in the order of their ids; of those that have ended
    /// only where they are wanted.
    pub(super) fn matching<'a>(
        &'a self,
        state: &'a State,
        uses: &'a Uses,
        now: Timestamp,
        include_ended: bool,
    ) -> impl Iterator<Item = &'a Arc<Stored<TokenRecord>>> {
        state.tokens.values().filter(move |stored| {
            let last_use = uses.of(state, &stored.value.token.id);
            (include_ended || view::is_live(&stored.value, now)) && self.fits(state, stored, last_use.as_ref())
        })
    }

    fn fits(&self, state: &State, stored: &Stored<TokenRecord>, last_use: Option<&TokenUse>) -> bool {
        let record = &stored.value;
        let token = &record.token;
        // One that is younger has had no time to be used.
        let idle_since = last_use.map_or(stored.meta.created_at, |used| used.at.max(stored.meta.created_at));
        (self.owner.is_empty() || token.owner == self.owner)
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
