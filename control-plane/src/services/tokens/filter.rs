//! Which tokens a filter stands for: the same conditions as those of a list, of
//! tokens in force. The plan that an operator confirms and the change are made
//! by the same rule.

use std::sync::Arc;

use nla_domain::clock::Timestamp;
use nla_proto::{failure::Failure, v1};

use super::selection::Selection;
use crate::{
    store::{State, Stored, TokenRecord},
    stream::SyncContext,
};

/// Conditions that all have to hold.
pub(in crate::services) struct Filter(Selection);

impl Filter {
    /// Reads a filter, which needs at least one condition: none stands for all
    /// tokens, which nobody should end by leaving something out.
    pub(in crate::services) fn read(filter: &v1::TokenFilter) -> Result<Self, Failure> {
        if *filter == v1::TokenFilter::default() {
            return Err(Failure::invalid("filter", "name at least one condition, such as an owner"));
        }
        Ok(Self(Selection::read(v1::ListTokensRequest {
            owner: filter.owner.clone(),
            role: filter.role.clone(),
            database: filter.database.clone(),
            labels: filter.labels.clone().into_iter().collect(),
            unused_since: filter.unused_since,
            expires_before: filter.expires_before,
            ..Default::default()
        })?))
    }

    /// The tokens in force that match, in the order of their ids.
    pub(in crate::services) fn matching<'a>(
        &'a self,
        state: &'a State,
        sync: &'a SyncContext,
        now: Timestamp,
    ) -> impl Iterator<Item = &'a Arc<Stored<TokenRecord>>> {
        state.tokens.values().filter(move |stored| {
            let last_use = sync.uses.of(state, &stored.value.token.id);
            self.0.fits(state, stored, last_use.as_ref(), now)
        })
    }
}
