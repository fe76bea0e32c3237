//! Receipts: what each edge has made of a revision, alone and as the end of a
//! revocation.

use std::time::Duration;

use nla_domain::clock::{SystemClock, WallClock as _};
use nla_proto::v1::{self, edge_receipt::State};
use serde::Serialize;

use super::{
    token::Token,
    wire::{self, When},
};
use crate::output::{Cell, Show, Table, Tone, elapsed, millis, relative};

/// What the edges have made of a revision.
#[derive(Debug, Serialize)]
pub(crate) struct Receipt {
    revision: u64,
    complete: bool,
    applied: usize,
    fenced: usize,
    pending: usize,
    slowest_ms: Option<f64>,
    calls_cut: u32,
    edges: Vec<EdgeReceipt>,
    #[serde(skip)]
    slowest: Option<Duration>,
}

#[derive(Debug, Serialize)]
struct EdgeReceipt {
    edge: String,
    state: &'static str,
    after_ms: Option<f64>,
    calls_cut: u32,
    fenced_at: When,
    connected: bool,
    revoked: bool,
    #[serde(skip)]
    after: Option<Duration>,
}

impl Receipt {
    pub(crate) fn from_wire(receipt: v1::Receipt) -> Self {
        let edges: Vec<EdgeReceipt> = receipt.edges.into_iter().map(EdgeReceipt::from_wire).collect();
        let count = |state| edges.iter().filter(|edge| edge.state == state).count();
        let slowest = edges.iter().filter_map(|edge| edge.after).max();
        Self {
            revision: receipt.revision,
            complete: receipt.complete,
            applied: count("applied"),
            fenced: count("fenced"),
            pending: edges.len() - count("applied") - count("fenced"),
            slowest_ms: slowest.map(millis),
            calls_cut: edges.iter().map(|edge| edge.calls_cut).sum(),
            edges,
            slowest,
        }
    }

    /// Whether every edge has applied the revision or refuses calls.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The edges that are still out, each with the time by which it refuses.
    pub(crate) fn outstanding(&self) -> Vec<String> {
        let out = self.edges.iter().filter(|edge| !matches!(edge.state, "applied" | "fenced"));
        out.map(|edge| match edge.fenced_at.0 {
            Some(at) => format!("{} (until {at} at the latest)", edge.edge),
            None => edge.edge.clone(),
        })
        .collect()
    }

    /// `on 5/5 edges in 38 ms`.
    fn summary(&self) -> String {
        let mut text = match self.edges.len() {
            0 => "; no edge is enrolled that could hold anything older".to_owned(),
            total => format!(" on {}/{total} edges", self.applied),
        };
        if let Some(slowest) = self.slowest {
            text.push_str(&format!(" in {}", elapsed(slowest)));
        }
        if self.fenced > 0 {
            text.push_str(&format!(", {} out of reach and fenced", self.fenced));
        }
        match self.calls_cut {
            0 => {}
            1 => text.push_str(", 1 call cut"),
            calls => text.push_str(&format!(", {calls} calls cut")),
        }
        text
    }

    fn rows(&self, table: Table) -> Table {
        self.edges.iter().fold(table, |table, edge| table.field(&edge.edge, edge.cell()))
    }
}

impl EdgeReceipt {
    fn from_wire(edge: v1::EdgeReceipt) -> Self {
        let after = edge.after.as_ref().map(|after| wire::duration(Some(after)));
        let state = match edge.state() {
            State::Applied => "applied",
            State::Fenced => "fenced",
            State::Pending => "pending",
            State::Unspecified => "unknown",
        };
        Self {
            state,
            after_ms: after.map(millis),
            calls_cut: edge.calls_cut,
            fenced_at: When::from_wire(edge.fenced_at.as_ref()),
            connected: edge.connected,
            revoked: edge.revoked,
            edge: edge.edge_id,
            after,
        }
    }

    fn cell(&self) -> Cell {
        let cut = match self.calls_cut {
            0 => String::new(),
            1 => ", 1 call cut".to_owned(),
            calls => format!(", {calls} calls cut"),
        };
        let who = match (self.revoked, self.connected) {
            (true, _) => "banned",
            (false, true) => "does not confirm",
            (false, false) => "out of reach",
        };
        let at = self.fenced_at.0;
        let when = at.map(|at| format!("{at} ({})", relative(at, SystemClock.now())));
        match (self.state, self.after, when) {
            ("applied", Some(after), _) => {
                Cell::text(format_args!("applied in {}{cut}", elapsed(after))).toned(Tone::Good)
            }
            ("applied", None, _) => Cell::text(format_args!("applied{cut}")).toned(Tone::Good),
            ("fenced", _, Some(when)) => Cell::text(format_args!("{who}; refuses since {when}")),
            ("fenced", _, None) => Cell::text("never had a state; refuses"),
            (_, _, Some(when)) => Cell::text(format_args!("{who}; refuses from {when}")).toned(Tone::Bad),
            (state, _, None) => Cell::text(format_args!("{who}: {state}")).toned(Tone::Bad),
        }
    }
}

impl Show for Receipt {
    fn table(&self) -> Table {
        self.rows(Table::fields()).line(format_args!("revision {} applied{}", self.revision, self.summary()))
    }

    fn essence(&self) -> Vec<String> {
        vec![if self.complete { "complete" } else { "incomplete" }.to_owned()]
    }
}

/// Tokens that were revoked, with the receipt.
#[derive(Debug, Serialize)]
pub(crate) struct Revocation {
    tokens: Vec<Token>,
    /// Absent when no token was there to revoke.
    receipt: Option<Receipt>,
}

impl Revocation {
    pub(crate) fn new(tokens: Vec<v1::TokenView>, receipt: Option<v1::Receipt>) -> Self {
        Self { tokens: tokens.into_iter().map(Token::from_wire).collect(), receipt: receipt.map(Receipt::from_wire) }
    }

    /// Its receipt, where something was revoked.
    pub(crate) fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }
}

impl Show for Revocation {
    fn table(&self) -> Table {
        let Some(receipt) = &self.receipt else {
            return Table::fields().line("no token in force matches; nothing was changed");
        };
        let what = match &self.tokens[..] {
            [token] => format!("token {}", token.id),
            tokens => format!("{} tokens", tokens.len()),
        };
        receipt.rows(Table::fields()).line(format_args!("{what} revoked{}", receipt.summary()))
    }

    fn essence(&self) -> Vec<String> {
        self.tokens.iter().map(|token| token.id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(id: &str, state: State, after_ms: Option<u64>) -> v1::EdgeReceipt {
        v1::EdgeReceipt {
            edge_id: id.into(),
            state: state.into(),
            after: after_ms.map(|ms| nla_proto::convert::duration(Duration::from_millis(ms))),
            fenced_at: (state != State::Applied).then_some(prost_types::Timestamp { seconds: 4_102_444_800, nanos: 0 }),
            ..Default::default()
        }
    }

    fn revocation(edges: Vec<v1::EdgeReceipt>) -> Revocation {
        let complete = edges.iter().all(|edge| edge.state() != State::Pending);
        let token = v1::TokenView { id: "abcDEF012345".into(), ..Default::default() };
        Revocation::new(vec![token], Some(v1::Receipt { revision: 7, complete, edges }))
    }

    #[test]
    fn a_revocation_says_how_far_it_got() {
        let (one, two) = (edge("edge-1", State::Applied, Some(12)), edge("edge-2", State::Applied, Some(14)));
        let cut = v1::EdgeReceipt { calls_cut: 2, ..two.clone() };
        let away = edge("edge-2", State::Pending, None);
        let fenced = edge("edge-2", State::Fenced, None);
        let cases = [
            (vec![one.clone(), two], "revoked on 2/2 edges in 14 ms", 0),
            (vec![one.clone(), cut], "revoked on 2/2 edges in 14 ms, 2 calls cut", 0),
            (vec![one.clone(), away.clone()], "revoked on 1/2 edges in 12 ms", 1),
            (vec![one, fenced], "revoked on 1/2 edges in 12 ms, 1 out of reach and fenced", 0),
            (vec![away], "revoked on 0/1 edges", 1),
            (vec![], "no edge is enrolled that could hold anything older", 0),
        ];
        for (edges, summary, outstanding) in cases {
            let revocation = revocation(edges);
            let text = revocation.table().render(80, false);
            assert!(text.lines().last().unwrap().ends_with(summary), "{text}");
            let receipt = revocation.receipt().unwrap();
            assert_eq!((receipt.outstanding().len(), receipt.is_complete()), (outstanding, outstanding == 0));
        }
        let text = Revocation::new(vec![], None).table().render(80, false);
        assert_eq!(text, "no token in force matches; nothing was changed\n");
    }

    #[test]
    fn an_edge_that_is_out_is_named_with_the_time_by_which_it_refuses() {
        let revocation = revocation(vec![edge("edge-2", State::Pending, None)]);
        let text = revocation.table().render(100, false);
        assert!(text.starts_with("edge-2  out of reach; refuses from 2100-01-01T00:00:00Z (in "), "{text}");
        let outstanding = revocation.receipt().unwrap().outstanding();
        assert_eq!(outstanding, ["edge-2 (until 2100-01-01T00:00:00Z at the latest)"]);
    }

    #[test]
    fn json_fields_are_stable() {
        let json = serde_json::to_value(revocation(vec![edge("edge-1", State::Applied, Some(12))])).unwrap();
        let receipt = &json["receipt"];
        let fields: Vec<_> = receipt.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = ["revision", "complete", "applied", "fenced", "pending", "slowest_ms", "calls_cut", "edges"];
        assert_eq!(fields, expected);
        let expected = ["edge", "state", "after_ms", "calls_cut", "fenced_at", "connected", "revoked"];
        let fields: Vec<_> = receipt["edges"][0].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, expected);
        assert_eq!(
            (&receipt["edges"][0]["state"], &json["tokens"][0]["id"]),
            (&"applied".into(), &"abcDEF012345".into())
        );
    }
}
