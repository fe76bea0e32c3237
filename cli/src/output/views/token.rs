//! Tokens: seen without their secret, and created with it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use nla_domain::secret::Secret;
use nla_proto::v1;
use serde::{Serialize, Serializer};

use super::{
    Listed,
    wire::{self, Meta, When},
};
use crate::output::{Cell, Show, Table, Tone, elapsed, millis};

/// A token without its secret.
#[derive(Debug, Serialize)]
pub(crate) struct Token {
    pub(crate) id: String,
    status: &'static str,
    owner: String,
    purpose: String,
    roles: Vec<String>,
    databases: Vec<String>,
    expires_at: When,
    allowed_cidrs: Vec<String>,
    staleness: &'static str,
    limits: Limits,
    revoked_at: When,
    revoked_by: Option<String>,
    predecessor: Option<String>,
    successor: Option<String>,
    labels: BTreeMap<String, String>,
    last_use: Option<LastUse>,
    #[serde(flatten)]
    meta: Meta,
}

#[derive(Debug, Serialize)]
struct Limits {
    calls_per_second: u32,
    burst: u32,
    concurrent_calls: u32,
}

#[derive(Debug, Serialize)]
struct LastUse {
    at: When,
    edge: String,
    address: Option<String>,
    calls: u64,
}

impl LastUse {
    fn from_wire(used: v1::TokenLastUse) -> Self {
        Self {
            at: When::from_wire(used.at.as_ref()),
            edge: used.edge_id,
            address: wire::text(used.client_address),
            calls: used.calls,
        }
    }
}

impl Token {
    pub(crate) fn from_wire(token: v1::TokenView) -> Self {
        let expires_at = When::from_wire(token.expires_at.as_ref());
        // A revocation counts even when its time cannot be read.
        let status = match () {
            () if token.revoked_at.is_some() => "revoked",
            () if expires_at.is_past() => "expired",
            () => "active",
        };
        let limits = token.limits.unwrap_or_default();
        Self {
            id: token.id,
            status,
            owner: token.owner,
            purpose: token.purpose,
            roles: token.roles,
            databases: token.databases,
            expires_at,
            allowed_cidrs: token.allowed_cidrs,
            staleness: wire::staleness(token.staleness),
            limits: Limits {
                calls_per_second: limits.calls_per_second,
                burst: limits.burst,
                concurrent_calls: limits.concurrent_calls,
            },
            revoked_at: When::from_wire(token.revoked_at.as_ref()),
            revoked_by: wire::text(token.revoked_by),
            predecessor: wire::text(token.predecessor),
            successor: wire::text(token.successor),
            labels: token.labels,
            last_use: token.last_use.map(LastUse::from_wire),
            meta: Meta::from_wire(token.meta),
        }
    }

    fn status_cell(&self) -> Cell {
        Cell::whole(self.status).toned(if self.status == "active" { Tone::Good } else { Tone::Bad })
    }
}

impl Listed for Token {
    fn list(items: &[Self]) -> Table {
        items.iter().fold(
            Table::list(["ID", "STATUS", "OWNER", "PURPOSE", "ROLES", "EXPIRES", "LAST USED"]),
            |table, token| {
                table.row([
                    Cell::whole(&token.id),
                    token.status_cell(),
                    Cell::text(&token.owner),
                    Cell::text(&token.purpose),
                    Cell::names(&token.roles),
                    token.expires_at.relative_or("never"),
                    token.last_use.as_ref().map_or_else(|| Cell::text("never"), |used| used.at.relative()),
                ])
            },
        )
    }

    fn name(&self) -> &str {
        &self.id
    }
}

impl Show for Token {
    fn table(&self) -> Table {
        let databases = if self.databases.is_empty() { "all of its roles".into() } else { self.databases.join(", ") };
        let addresses = if self.allowed_cidrs.is_empty() { "any".into() } else { self.allowed_cidrs.join(", ") };
        let limits = &self.limits;
        let mut table = Table::fields()
            .field("Id", Cell::text(&self.id))
            .field("Status", self.status_cell())
            .field("Owner", Cell::text(&self.owner))
            .field("Purpose", Cell::text(&self.purpose))
            .field("Roles", Cell::names(&self.roles))
            .field("Databases", Cell::text(databases))
            .field("Expires", self.expires_at.full("never"))
            .field("Addresses", Cell::text(addresses))
            .field("Staleness", Cell::text(self.staleness))
            .field(
                "Limits",
                Cell::text(format_args!(
                    "{} calls/s, bursts of {}, {} at once",
                    limits.calls_per_second, limits.burst, limits.concurrent_calls
                )),
            );
        let labels: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        table = table.optional("Labels", &labels.join(", "));
        table = match &self.last_use {
            None => table.field("Last used", Cell::text("never")),
            Some(used) => table
                .field("Last used", used.at.full("-"))
                .field(
                    "Used from",
                    Cell::text(format_args!("{} by {}", used.address.as_deref().unwrap_or("-"), used.edge)),
                )
                .field("Calls", Cell::text(used.calls)),
        };
        if self.status == "revoked" {
            table = table.field("Revoked", self.revoked_at.full("-"));
        }
        table = table
            .optional("Revoked by", self.revoked_by.as_deref().unwrap_or_default())
            .optional("Predecessor", self.predecessor.as_deref().unwrap_or_default())
            .optional("Successor", self.successor.as_deref().unwrap_or_default());
        self.meta.rows(table)
    }

    fn essence(&self) -> Vec<String> {
        vec![self.id.clone()]
    }
}

/// Where a new secret went: here, or to a file.
#[derive(Debug)]
pub(crate) enum Delivery {
    Shown(Secret),
    File(PathBuf),
}

impl Serialize for Delivery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            // The one place where a secret is meant to be seen.
            Self::Shown(secret) => serializer.serialize_str(secret.expose()),
            Self::File(_) => serializer.serialize_none(),
        }
    }
}

impl Delivery {
    /// The file's path, where there is one.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::Shown(_) => None,
            Self::File(path) => Some(path),
        }
    }

    /// The line that `--quiet` leaves, and that a table ends with.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Shown(secret) => secret.expose().to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// A new token, with its secret for the only time.
#[derive(Debug, Serialize)]
pub(crate) struct NewToken {
    #[serde(rename = "token_text")]
    delivery: Delivery,
    token_file: Option<PathBuf>,
    token: Token,
    predecessor: Option<Token>,
    /// Where the predecessor ended at once: each edge that was connected.
    edges: Vec<Applied>,
}

impl NewToken {
    pub(crate) fn new(token: Token, delivery: Delivery, predecessor: Option<Token>) -> Self {
        Self { token_file: delivery.file().cloned(), delivery, token, predecessor, edges: vec![] }
    }

    /// The same, with the edges on which the old token ended.
    #[must_use]
    pub(crate) fn ended_on(mut self, edges: Vec<v1::EdgeApplied>) -> Self {
        self.edges = edges.into_iter().map(Applied::from_wire).collect();
        self
    }

    /// The edges that did not confirm.
    pub(crate) fn silent(&self) -> Vec<&str> {
        self.edges.iter().filter(|edge| !edge.applied).map(|edge| edge.edge.as_str()).collect()
    }
}

impl Show for NewToken {
    fn table(&self) -> Table {
        let mut table = self.token.table();
        if let Some(old) = &self.predecessor {
            table = table.field("Replaces", Cell::text(format_args!("{}, which is {}", old.id, old.status)));
            table = table.field("Old expires", old.expires_at.full("never"));
        }
        table = self.edges.iter().fold(table, |table, edge| table.field(&edge.edge, edge.cell()));
        let label = if self.token_file.is_some() { "Token written to:" } else { "Token:" };
        table.line("").line(label).line(self.delivery.line())
    }

    fn essence(&self) -> Vec<String> {
        vec![self.delivery.line()]
    }
}

#[derive(Debug, Serialize)]
struct Applied {
    edge: String,
    applied: bool,
    after_ms: Option<f64>,
    #[serde(skip)]
    after: Duration,
}

impl Applied {
    fn from_wire(edge: v1::EdgeApplied) -> Self {
        let after = wire::duration(edge.after.as_ref());
        let after_ms = edge.applied.then(|| millis(after));
        Self { edge: edge.edge_id, applied: edge.applied, after_ms, after }
    }

    fn cell(&self) -> Cell {
        if self.applied {
            Cell::text(format_args!("applied in {}", elapsed(self.after))).toned(Tone::Good)
        } else {
            Cell::text("not confirmed").toned(Tone::Bad)
        }
    }
}

#[cfg(test)]
mod tests;
