//! Gate 4: what the caller may do, by the roles of its token. Called for each
//! call. Invariant: a permit is made from the snapshot that was held when
//! the call began, or from a newer one that still holds its token.

use std::time::Duration;

use nla_domain::{
    error::ErrorKind,
    policy::{self, Grant},
    role::Tool,
};

use super::{Call, Failure, Pipeline};
use crate::pg::{Limits, RowSet};

/// A decision in the caller's favour.
#[derive(Debug)]
pub(super) struct Permit {
    grant: Grant,
}

/// A catalog query is bounded by the text that can be made of it.
const CATALOG_MAX_BYTES: u64 = 8 << 20;
const CATALOG_TIMEOUT: Duration = Duration::from_secs(15);

impl Permit {
    pub(super) fn decide(call: &mut Call<'_>, tool: Tool, database: Option<&str>) -> Result<Self, Failure> {
        let (snapshot, token) = call.policy();
        let grant = policy::decide(snapshot, token, tool, database).map_err(|denial| Failure::of_denial(&denial))?;
        call.note_grant(&grant);
        Ok(Self { grant })
    }

    /// The same decision by what the edge holds now, for a call that the
    /// database failed because its credential or definition was replaced
    /// meanwhile. `None` when that is not the reason, or nothing is granted any
    /// more: the failure stands.
    pub(super) fn renewed(
        pipeline: &Pipeline,
        call: &mut Call<'_>,
        tool: Tool,
        grant: &Grant,
        failure: &Failure,
    ) -> Option<Self> {
        if !matches!(failure.kind, ErrorKind::DatabaseUnavailable | ErrorKind::Overloaded) {
            return None;
        }
        let (snapshot, token) = pipeline.held(call.token())?;
        let newer = policy::decide(&snapshot, &token, tool, Some(grant.database.name.as_str())).ok()?;
        if newer.credential == grant.credential && newer.database == grant.database {
            return None;
        }
        tracing::debug!(database = %newer.database.name, "a call goes on with the credential that is in force now");
        call.note_grant(&newer);
        Some(Self { grant: newer })
    }

    pub(super) fn grant(&self) -> &Grant {
        &self.grant
    }

    /// What was asked for, or what is allowed if that is less.
    pub(super) fn max_rows(&self, asked: Option<u32>) -> u32 {
        asked.unwrap_or(u32::MAX).min(self.grant.limits.max_rows)
    }

    pub(super) fn limits(&self, call: &Call<'_>, rows: &RowSet) -> Limits {
        Limits {
            max_rows: rows.max_rows(),
            max_bytes: self.grant.limits.max_bytes,
            statement_timeout: self.grant.limits.statement_timeout,
            application_name: call.application_name(),
        }
    }

    pub(super) fn catalog_limits(&self, call: &Call<'_>, max_rows: u32) -> Limits {
        Limits {
            max_rows,
            max_bytes: CATALOG_MAX_BYTES,
            statement_timeout: self.grant.limits.statement_timeout.min(CATALOG_TIMEOUT),
            application_name: call.application_name(),
        }
    }
}
