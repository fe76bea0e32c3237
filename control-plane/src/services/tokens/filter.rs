//! Which tokens a filter stands for. A pure function of the state, so that the
//! plan that an operator confirms and the change are made by the same rule.

use std::sync::Arc;

use nla_domain::{
    clock::Timestamp,
    id::{DatabaseName, RoleName},
};
use nla_proto::{convert, failure::Failure, v1};

use super::super::{change::parse, view};
use crate::store::{State, Stored, TokenRecord};

/// Conditions that all have to hold.
#[derive(Debug, Default)]
pub(in crate::services) struct Filter {
    owner: Option<String>,
    role: Option<RoleName>,
    database: Option<DatabaseName>,
    expires_before: Option<Timestamp>,
}

impl Filter {
    /// Reads a filter, which needs at least one condition: none stands for all
    /// tokens, which nobody should end by leaving something out.
    pub(in crate::services) fn read(filter: &v1::TokenFilter) -> Result<Self, Failure> {
        if !filter.labels.is_empty() {
            return Err(Failure::invalid("filter.labels", "tokens have no labels"));
        }
        if filter.unused_since.is_some() {
            return Err(Failure::invalid("filter.unused_since", "the last use of tokens is not recorded"));
        }
        let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let expires_before = filter.expires_before.as_ref();
        let read = Self {
            owner: name(&filter.owner),
            role: name(&filter.role).map(|role| parse("filter.role", &role)).transpose()?,
            database: name(&filter.database).map(|database| parse("filter.database", &database)).transpose()?,
            expires_before: expires_before
                .map(|at| convert::from_timestamp("filter.expires_before", at))
                .transpose()?,
        };
        let Self { owner: None, role: None, database: None, expires_before: None } = read else { return Ok(read) };
        Err(Failure::invalid("filter", "name at least one condition: owner, role, database or expires_before"))
    }

    /// The tokens in force that match, in the order of their ids.
    pub(in crate::services) fn matching<'a>(
        &'a self,
        state: &'a State,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Arc<Stored<TokenRecord>>> {
        state
            .tokens
            .values()
            .filter(move |stored| view::is_live(&stored.value, now) && self.holds(state, &stored.value))
    }

    fn holds(&self, state: &State, record: &TokenRecord) -> bool {
        let token = &record.token;
        let may_use = |database: &DatabaseName| {
            let opened = |role: &RoleName| state.roles.get(role).is_some_and(|role| role.value.opens(database));
            (token.databases.is_empty() || token.databases.contains(database)) && token.roles.iter().any(opened)
        };
        self.owner.as_ref().is_none_or(|owner| token.owner == *owner)
            && self.role.as_ref().is_none_or(|role| token.roles.contains(role))
            && self.database.as_ref().is_none_or(may_use)
            && self.expires_before.is_none_or(|before| token.expires_at.is_some_and(|end| end < before))
    }
}
