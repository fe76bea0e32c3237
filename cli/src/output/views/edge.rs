//! Edges, as enrolled and as connected, and the join tokens that enrol them.

use std::{path::PathBuf, time::Duration};

use nla_proto::v1;
use serde::Serialize;

use super::{
    Listed, or_dash,
    token::Delivery,
    wire::{self, Meta, When},
};
use crate::output::{Cell, Show, Table, Tone, elapsed};

/// Clocks that differ by more are worth an operator's time.
const CLOCKS_APART: Duration = Duration::from_secs(5);

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
    quarantined_since: When,
    quarantine_reason: Option<String>,
    /// End of the certificate that MCP clients see, while the edge is connected.
    web_certificate_expires_at: When,
    web_certificate_days_left: Option<i64>,
    calls_total: Option<u64>,
    calls_running: Option<u32>,
    audit_queue_length: Option<u64>,
    /// Of the control plane's clock; negative when the edge's is behind.
    clock_lead_ms: Option<i64>,
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
            () if edge.quarantined_since.is_some() => "quarantined",
            () if edge.connected && edge.draining_since.is_some() => "draining",
            () if edge.connected => "connected",
            () => "away",
        };
        let web_certificate = When::from_wire(edge.web_certificate_expires_at.as_ref());
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
            quarantined_since: When::from_wire(edge.quarantined_since.as_ref()),
            quarantine_reason: edge.quarantined_since.map(|_| edge.quarantine_reason),
            web_certificate_expires_at: web_certificate,
            web_certificate_days_left: web_certificate.days_left(),
            calls_total: edge.usage.as_ref().map(|usage| usage.calls_total),
            calls_running: edge.usage.as_ref().map(|usage| usage.calls_running),
            audit_queue_length: edge.usage.as_ref().map(|usage| usage.audit_queue_length),
            clock_lead_ms: edge.usage.as_ref().and_then(|usage| usage.clock_lead_ms),
            refused_items: refused.collect(),
            meta: Meta::from_wire(edge.meta),
        }
    }
}

/// From when on a certificate's end is worth a line, and an urgent one.
const SOON_DAYS: i64 = 30;
const URGENT_DAYS: i64 = 7;

/// A reason as the end of a sentence.
fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

impl Edge {
    /// What an operator should do something about, one line each.
    fn notices(&self) -> Vec<String> {
        let id = &self.id;
        let quarantine = self
            .quarantine_reason
            .as_deref()
            .map(|reason| format!("{id} is in quarantine until `nlactl edge release {id}`{}", because(reason)));
        let drain = self
            .draining_reason
            .as_deref()
            .map(|reason| format!("{id} drains until `nlactl edge resume {id}`{}", because(reason)));
        let refused =
            self.refused_items.iter().map(|item| format!("{id} refuses {} {}: {}", item.kind, item.id, item.reason));
        let ends = self.web_certificate_notice().map(|notice| format!("{id}: {notice}"));
        let clock = self.clock().map(|clock| format!("{id}: its clock is {clock}; set both by NTP"));
        quarantine.into_iter().chain(drain).chain(clock).chain(ends).chain(refused).collect()
    }

    /// Of the certificate that MCP clients see; it is replaced on the edge's
    /// machine, without a restart.
    fn web_certificate_notice(&self) -> Option<String> {
        Some(match self.web_certificate_days_left? {
            ended if ended < 0 => "the certificate for MCP clients has EXPIRED, clients refuse it".to_owned(),
            0 => "the certificate for MCP clients expires WITHIN A DAY: renew it now".to_owned(),
            days if days < URGENT_DAYS => {
                format!("the certificate for MCP clients expires in {days} days: renew it now")
            }
            days if days < SOON_DAYS => format!("the certificate for MCP clients expires in {days} days"),
            _ => return None,
        })
    }

    /// A clock that is off, as the end of a sentence; `None` while it is not.
    fn clock(&self) -> Option<String> {
        let lead = self.clock_lead_ms?;
        let apart = Duration::from_millis(lead.unsigned_abs());
        let side = if lead < 0 { "behind" } else { "ahead of" };
        (apart > CLOCKS_APART).then(|| format!("{} {side} the control plane's", elapsed(apart)))
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
                Cell::whole(edge.status).toned(if edge.connected && edge.quarantine_reason.is_none() {
                    Tone::Good
                } else {
                    Tone::Bad
                }),
                Cell::text(edge.acknowledged_revision),
                edge.calls_total.map_or_else(|| Cell::text("-"), Cell::text),
                edge.certificate_expires_at.relative(),
                or_dash(edge.mcp_url.as_deref().unwrap_or_default()),
            ])
        });
        items.iter().flat_map(Edge::notices).fold(table, |table, notice| table.prose(notice))
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
            .field("Certificate", self.certificate_expires_at.full("-"))
            .field("For clients", self.web_certificate_expires_at.full("-"));
        let table = match &self.quarantine_reason {
            None => table,
            Some(reason) => table.field("Quarantine", self.quarantined_since.full("-")).optional("Reason", reason),
        };
        let table = match &self.draining_reason {
            None => table,
            Some(reason) => table.field("Draining", self.draining_since.full("-")).optional("Reason", reason),
        };
        let table = match self.fenced_at.0 {
            None => table,
            Some(_) => table.field("Refuses from", self.fenced_at.full("-")),
        };
        let table = self.meta.rows(table);
        self.notices().into_iter().fold(table, |table, notice| table.prose(notice))
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

    #[test]
    fn a_clock_that_is_off_is_said() {
        for (lead, said) in [
            (None, None),
            (Some(4_900), None),
            (Some(-600_000), Some("10m behind the control plane's")),
            (Some(61_000), Some("61s ahead of the control plane's")),
        ] {
            let usage = Some(v1::Usage { clock_lead_ms: lead, ..Default::default() });
            let edge = Edge::from_wire(v1::EdgeView { usage, ..edge(true, false) });
            assert_eq!(edge.clock().as_deref(), said);
            let shown = Edge::list(&[edge]).render(80, false);
            assert_eq!(shown.contains("set both by NTP"), said.is_some(), "{shown}");
        }
    }

    fn draining(connected: bool) -> v1::EdgeView {
        let draining_since = Some(prost_types::Timestamp::default());
        v1::EdgeView { draining_since, draining_reason: "odd\u{1b}".into(), ..edge(connected, false) }
    }

    fn quarantined(connected: bool) -> v1::EdgeView {
        let quarantined_since = Some(prost_types::Timestamp::default());
        v1::EdgeView { quarantined_since, quarantine_reason: "odd calls".into(), ..draining(connected) }
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
            (quarantined(true), "quarantined"),
            (quarantined(false), "quarantined"),
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
    fn quarantine_is_named_under_the_list_and_under_the_edge() {
        let line = "edge-1 is in quarantine until `nlactl edge release edge-1`: odd calls\n";
        let edge = Edge::from_wire(quarantined(true));
        assert!(edge.table().render(80, false).contains(line), "{}", edge.table().render(80, false));
        assert!(Edge::list(&[edge]).render(80, false).contains(line));
    }

    #[test]
    fn the_end_of_the_certificate_for_clients_is_warned_of() {
        const HOUR: i64 = 3_600;
        let now = nla_domain::clock::WallClock::now(&nla_domain::clock::SystemClock).as_micros() / 1_000_000;
        // (seconds to its end, part of the notice)
        let cases = [
            (None, None),
            (Some(31 * 24 * HOUR + 60), None),
            (Some(30 * 24 * HOUR - HOUR), Some("in 29 days\n")),
            (Some(7 * 24 * HOUR - HOUR), Some("in 6 days: renew it now\n")),
            (Some(HOUR), Some("WITHIN A DAY")),
            (Some(-HOUR), Some("EXPIRED")),
        ];
        for (left, notice) in cases {
            let web_certificate_expires_at = left.map(|left| prost_types::Timestamp { seconds: now + left, nanos: 0 });
            let edge = Edge::from_wire(v1::EdgeView { web_certificate_expires_at, ..edge(true, false) });
            let json = serde_json::to_value(&edge).unwrap();
            assert_eq!(json["web_certificate_expires_at"].is_string(), left.is_some());
            assert_eq!(json["web_certificate_days_left"].as_i64(), left.map(|left| left.div_euclid(24 * HOUR)));
            for text in [edge.table().render(80, false), Edge::list(&[edge]).render(80, false)] {
                assert_eq!(text.contains("edge-1: the certificate for MCP clients"), notice.is_some(), "{text}");
                assert!(notice.is_none_or(|notice| text.contains(notice)), "{text}");
            }
        }
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
