//! Edges, as enrolled and as connected, and the join tokens that enrol them.

use std::path::PathBuf;

use nla_proto::v1;
use serde::Serialize;

use super::{
    Listed, or_dash,
    token::Delivery,
    wire::{self, Meta, When},
};
use crate::output::{Cell, Show, Table, Tone};

/// An edge.
#[derive(Debug, Serialize)]
pub(crate) struct Edge {
    id: String,
    status: &'static str,
    connected: bool,
    acknowledged_revision: u64,
    version: Option<String>,
    mcp_url: Option<String>,
    address: Option<String>,
    certificate_expires_at: When,
    revoked_at: When,
    draining_since: When,
    draining_reason: Option<String>,
    last_heard_at: When,
    fenced_at: When,
    calls_total: Option<u64>,
    calls_running: Option<u32>,
    audit_queue_length: Option<u64>,
    refused_items: Vec<RefusedItem>,
    #[serde(flatten)]
    meta: Meta,
}

#[derive(Debug, Serialize)]
struct RefusedItem {
    kind: String,
    id: String,
    revision: u64,
    reason: String,
}

impl Edge {
    pub(crate) fn from_wire(edge: v1::EdgeView) -> Self {
        let status = match () {
            () if edge.revoked_at.is_some() => "revoked",
            () if edge.connected && edge.draining_since.is_some() => "draining",
            () if edge.connected => "connected",
            () => "away",
        };
        let refused = edge.refused_items.into_iter().map(|item| RefusedItem {
            kind: kind(item.kind),
            id: item.id,
            revision: item.revision,
            reason: item.reason,
        });
        Self {
            id: edge.id,
            status,
            connected: edge.connected,
            acknowledged_revision: edge.acknowledged_revision,
            version: wire::text(edge.version),
            mcp_url: wire::text(edge.mcp_url),
            address: wire::text(edge.address),
            certificate_expires_at: When::from_wire(edge.certificate_expires_at.as_ref()),
            revoked_at: When::from_wire(edge.revoked_at.as_ref()),
            draining_since: When::from_wire(edge.draining_since.as_ref()),
            draining_reason: edge.draining_since.map(|_| edge.draining_reason),
            last_heard_at: When::from_wire(edge.last_heard_at.as_ref()),
            fenced_at: When::from_wire(edge.fenced_at.as_ref()),
            calls_total: edge.usage.as_ref().map(|usage| usage.calls_total),
            calls_running: edge.usage.as_ref().map(|usage| usage.calls_running),
            audit_queue_length: edge.usage.as_ref().map(|usage| usage.audit_queue_length),
            refused_items: refused.collect(),
            meta: Meta::from_wire(edge.meta),
        }
    }
}

impl Edge {
    /// The reason of a drain as the end of a sentence; `None` when the edge
    /// does not drain.
    fn drain(&self) -> Option<String> {
        let reason = self.draining_reason.as_deref()?;
        Some(if reason.is_empty() { String::new() } else { format!(": {reason}") })
    }
}

fn kind(number: i32) -> String {
    let kind = v1::ItemKind::try_from(number).unwrap_or_default();
    kind.as_str_name().trim_start_matches("ITEM_KIND_").to_lowercase()
}

impl Listed for Edge {
    fn list(items: &[Self]) -> Table {
        let header = ["ID", "STATUS", "REVISION", "CALLS", "CERT EXPIRES", "MCP URL"];
        let table = items.iter().fold(Table::list(header), |table, edge| {
            table.row([
                Cell::whole(&edge.id),
                Cell::whole(edge.status).toned(if edge.connected { Tone::Good } else { Tone::Bad }),
                Cell::text(edge.acknowledged_revision),
                edge.calls_total.map_or_else(|| Cell::text("-"), Cell::text),
                edge.certificate_expires_at.relative(),
                or_dash(edge.mcp_url.as_deref().unwrap_or_default()),
            ])
        });
        let table = items.iter().filter_map(|edge| Some((edge, edge.drain()?))).fold(table, |table, (edge, drain)| {
            table.line(format_args!("{} drains until `nlactl edge resume {}`{drain}", edge.id, edge.id))
        });
        items.iter().flat_map(|edge| edge.refused_items.iter().map(move |item| (edge, item))).fold(
            table,
            |table, (edge, item)| {
                table.line(format_args!("{} refuses {} {}: {}", edge.id, item.kind, item.id, item.reason))
            },
        )
    }

    fn name(&self) -> &str {
        &self.id
    }
}

impl Show for Edge {
    fn table(&self) -> Table {
        let table = Table::fields().field("Id", Cell::text(&self.id)).field("Status", Cell::text(self.status));
        let table = table
            .optional("Version", self.version.as_deref().unwrap_or_default())
            .optional("MCP URL", self.mcp_url.as_deref().unwrap_or_default())
            .field("Certificate", self.certificate_expires_at.full("-"));
        let table = match &self.draining_reason {
            None => table,
            Some(reason) => table.field("Draining", self.draining_since.full("-")).optional("Reason", reason),
        };
        let table = match self.fenced_at.0 {
            None => table,
            Some(_) => table.field("Refuses from", self.fenced_at.full("-")),
        };
        self.meta.rows(table)
    }

    fn essence(&self) -> Vec<String> {
        vec![self.id.clone()]
    }
}

/// A join token, shown for the only time.
#[derive(Debug, Serialize)]
pub(crate) struct JoinToken {
    edge: String,
    #[serde(rename = "join_token")]
    delivery: Delivery,
    join_token_file: Option<PathBuf>,
    expires_at: When,
}

impl JoinToken {
    pub(crate) fn new(edge: String, delivery: Delivery, expires_at: Option<prost_types::Timestamp>) -> Self {
        let join_token_file = delivery.file().cloned();
        Self { edge, delivery, join_token_file, expires_at: When::from_wire(expires_at.as_ref()) }
    }
}

impl Show for JoinToken {
    fn table(&self) -> Table {
        let label = if self.join_token_file.is_some() { "Join token written to:" } else { "Join token:" };
        Table::fields()
            .field("Edge", Cell::text(&self.edge))
            .field("Expires", self.expires_at.full("-"))
            .line("")
            .line(label)
            .line(self.delivery.line())
    }

    fn essence(&self) -> Vec<String> {
        vec![self.delivery.line()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draining(connected: bool) -> v1::EdgeView {
        let draining_since = Some(prost_types::Timestamp::default());
        v1::EdgeView { draining_since, draining_reason: "odd\u{1b}".into(), ..edge(connected, false) }
    }

    fn edge(connected: bool, revoked: bool) -> v1::EdgeView {
        v1::EdgeView {
            id: "edge-1".into(),
            connected,
            revoked_at: revoked.then(prost_types::Timestamp::default),
            mcp_url: "https://edge-1.example.com:8443/mcp".into(),
            ..Default::default()
        }
    }

    #[test]
    fn status() {
        let cases = [
            (edge(true, false), "connected"),
            (edge(false, false), "away"),
            (edge(true, true), "revoked"),
            (draining(true), "draining"),
            (draining(false), "away"),
        ];
        for (view, expected) in cases {
            assert_eq!(Edge::from_wire(view).status, expected);
        }
    }

    #[test]
    fn a_drain_is_named_under_the_list_also_of_an_edge_that_is_away() {
        for connected in [true, false] {
            let text = Edge::list(&[Edge::from_wire(draining(connected))]).render(80, false);
            assert!(text.ends_with("edge-1 drains until `nlactl edge resume edge-1`: odd\\u{1b}\n"), "{text}");
        }
        let text = Edge::list(&[Edge::from_wire(edge(true, false))]).render(80, false);
        assert!(!text.contains("drain"), "{text}");
    }

    #[test]
    fn refused_items_are_named_under_the_list() {
        let nack =
            v1::Nack { revision: 3, kind: v1::ItemKind::Role.into(), id: "r".into(), reason: "odd\u{1b}".into() };
        let view = v1::EdgeView { refused_items: vec![nack], ..edge(true, false) };
        let text = Edge::list(&[Edge::from_wire(view)]).render(80, false);
        assert!(text.ends_with("edge-1 refuses role r: odd\\u{1b}\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
