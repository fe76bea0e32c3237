//! From wire values to what is shown. A value that this version does not know
//! is shown as `unknown` rather than hidden: an operator may be looking for it.

use std::time::Duration;

use nla_domain::{
    clock::{SystemClock, Timestamp, WallClock as _},
    database::RolePolicy,
};
use nla_proto::{convert, v1};
use serde::{Serialize, Serializer};

use crate::output::{Cell, relative};

/// A time, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct When(pub(super) Option<Timestamp>);

impl When {
    /// From the wire; a time outside of the calendar counts as none.
    pub(super) fn from_wire(at: Option<&prost_types::Timestamp>) -> Self {
        Self(at.and_then(|at| convert::from_timestamp("at", at).ok()))
    }

    /// True when the time has come.
    pub(super) fn is_past(self) -> bool {
        self.0.is_some_and(|at| at <= SystemClock.now())
    }

    /// Whole days until then, negative after it.
    pub(super) fn days_left(self) -> Option<i64> {
        let left = self.0?.as_micros().saturating_sub(SystemClock.now().as_micros());
        Some(left.div_euclid(24 * 3_600 * 1_000_000))
    }

    /// `in 89d`, or a dash.
    pub(super) fn relative(self) -> Cell {
        self.relative_or("-")
    }

    /// `in 89d`, or `absent`.
    pub(super) fn relative_or(self, absent: &str) -> Cell {
        self.0.map_or_else(|| Cell::text(absent), |at| Cell::text(relative(at, SystemClock.now())))
    }

    /// Date and distance, or `absent`.
    pub(super) fn full(self, absent: &str) -> Cell {
        self.0.map_or_else(
            || Cell::text(absent),
            |at| Cell::text(format_args!("{at} ({})", relative(at, SystemClock.now()))),
        )
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(at) => serializer.collect_str(&at),
            None => serializer.serialize_none(),
        }
    }
}

/// A duration; one that is negative or absent counts as zero.
pub(super) fn duration(of: Option<&prost_types::Duration>) -> Duration {
    of.and_then(|of| convert::from_duration("duration", of).ok()).unwrap_or_default()
}

/// Null in JSON for an empty text.
pub(super) fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// An enum's name from its wire number.
pub(super) fn level(number: i32) -> &'static str {
    convert::from_level("level", number).map_or("unknown", |level| level.as_str())
}

/// See [`level`].
pub(super) fn tool(number: i32) -> &'static str {
    convert::from_tool("tool", number).map_or("unknown", |tool| tool.as_str())
}

/// See [`level`].
pub(super) fn sslmode(number: i32) -> &'static str {
    convert::from_ssl_mode("sslmode", number).map_or("unknown", |mode| mode.as_str())
}

/// See [`level`]. What an older control plane does not send is the default.
pub(super) fn role_policy(number: i32) -> &'static str {
    match v1::RolePolicy::try_from(number) {
        Ok(v1::RolePolicy::Unspecified) => RolePolicy::default().as_str(),
        _ => convert::from_role_policy("role_policy", number).map_or("unknown", |policy| policy.as_str()),
    }
}

/// See [`level`].
pub(super) fn sql_audit(number: i32) -> &'static str {
    convert::from_sql_audit("sql_audit", number).map_or("unknown", |audit| audit.as_str())
}

/// See [`level`].
pub(super) fn outcome(number: i32) -> &'static str {
    convert::from_outcome("outcome", number).map_or("unknown", |outcome| outcome.as_str())
}

/// See [`level`].
pub(super) fn staleness(number: i32) -> &'static str {
    match v1::Staleness::try_from(number) {
        Ok(v1::Staleness::Strict) => "strict",
        Ok(v1::Staleness::Standard) => "standard",
        Ok(v1::Staleness::Unspecified) | Err(_) => "unknown",
    }
}

/// Where in its life an object was last changed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Meta {
    pub(super) revision: u64,
    pub(super) created_at: When,
    pub(super) updated_at: When,
    pub(super) created_by: Option<String>,
}

impl Meta {
    pub(super) fn from_wire(meta: Option<v1::ObjectMeta>) -> Self {
        let meta = meta.unwrap_or_default();
        Self {
            revision: meta.revision,
            created_at: When::from_wire(meta.created_at.as_ref()),
            updated_at: When::from_wire(meta.updated_at.as_ref()),
            created_by: text(meta.created_by),
        }
    }

    /// The fields that every object ends with.
    pub(super) fn rows(&self, table: crate::output::Table) -> crate::output::Table {
        table
            .field("Created", self.created_at.full("-"))
            .optional("Created by", self.created_by.as_deref().unwrap_or_default())
            .field("Updated", self.updated_at.full("-"))
            .field("Revision", Cell::text(self.revision))
    }
}
