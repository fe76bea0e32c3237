//! Certificate authorities, and who depends on which.

use nla_proto::v1;
use serde::Serialize;

use super::wire::{self, When};
use crate::output::{Cell, Show, Table};

/// Names of each kind under the table; JSON has all of them.
const MAX_LINES: usize = 20;

/// Where the replacement of the authority stands.
#[derive(Debug, Serialize)]
pub(crate) struct Authorities {
    phase: &'static str,
    authorities: Vec<Authority>,
    edges_waiting: Vec<Waiting>,
    held_certificates: Vec<Held>,
    held_join_tokens: Vec<Joining>,
}

#[derive(Debug, Serialize)]
struct Authority {
    slot: String,
    fingerprint: String,
    expires_at: When,
    signs_clients: bool,
    signs_server: bool,
    certificates: u64,
}

#[derive(Debug, Serialize)]
struct Waiting {
    edge: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Held {
    holder: String,
    issuer: Option<String>,
    expires_at: When,
}

#[derive(Debug, Serialize)]
struct Joining {
    edge: String,
    expires_at: When,
}

impl Authorities {
    pub(crate) fn from_wire(status: v1::AuthorityStatus) -> Self {
        Self {
            phase: phase(status.phase),
            authorities: status
                .authorities
                .into_iter()
                .map(|authority| Authority {
                    slot: authority.slot,
                    fingerprint: authority.fingerprint,
                    expires_at: When::from_wire(authority.expires_at.as_ref()),
                    signs_clients: authority.signs_clients,
                    signs_server: authority.signs_server,
                    certificates: authority.certificates,
                })
                .collect(),
            edges_waiting: status
                .edges_waiting
                .into_iter()
                .map(|edge| Waiting { edge: edge.edge_id, reason: edge.reason })
                .collect(),
            held_certificates: status
                .held_certificates
                .into_iter()
                .map(|held| Held {
                    holder: held.holder,
                    issuer: wire::text(held.issuer),
                    expires_at: When::from_wire(held.expires_at.as_ref()),
                })
                .collect(),
            held_join_tokens: status
                .held_join_tokens
                .into_iter()
                .map(|join| Joining { edge: join.edge_id, expires_at: When::from_wire(join.expires_at.as_ref()) })
                .collect(),
        }
    }

    fn next(&self) -> String {
        let dependent = self.held_certificates.len() + self.held_join_tokens.len();
        match self.phase {
            "prepared" if self.edges_waiting.is_empty() => {
                "Every live edge trusts the next authority: `nlactl ca activate` lets it sign.".into()
            }
            "prepared" => format!("{} live edges do not trust the next authority yet.", self.edges_waiting.len()),
            "activated" if dependent == 0 => {
                "Nothing of the previous authority is in use: `nlactl ca retire` ends it.".into()
            }
            "activated" => format!("{dependent} certificates and join tokens of the previous authority are in use."),
            _ => "One authority signs and is trusted.".into(),
        }
    }
}

pub(super) fn phase(number: i32) -> &'static str {
    match v1::AuthorityPhase::try_from(number) {
        Ok(v1::AuthorityPhase::Steady) => "steady",
        Ok(v1::AuthorityPhase::Prepared) => "prepared",
        Ok(v1::AuthorityPhase::Activated) => "activated",
        _ => "unknown",
    }
}

impl Show for Authorities {
    fn table(&self) -> Table {
        let mut table = Table::list(["SLOT", "SIGNS", "EXPIRES", "IN USE", "SHA-256"]);
        for authority in &self.authorities {
            let signs = match (authority.signs_clients, authority.signs_server) {
                (true, true) => "all",
                (true, false) => "edges, operators",
                (false, true) => "the control plane",
                (false, false) => "nothing",
            };
            table = table.row([
                Cell::whole(&authority.slot),
                Cell::text(signs),
                authority.expires_at.relative(),
                Cell::whole(authority.certificates),
                Cell::whole(authority.fingerprint.get(..16).unwrap_or(&authority.fingerprint)),
            ]);
        }
        table = table.prose(format_args!("{}: {}", self.phase, self.next()));
        let waiting = self.edges_waiting.iter().map(|edge| format!("waits: edge/{} ({})", edge.edge, edge.reason));
        let held = self.held_certificates.iter().map(|held| format!("in use: the certificate of {}", held.holder));
        let joining = self.held_join_tokens.iter().map(|join| format!("in use: the join token of edge/{}", join.edge));
        let mut lines = waiting.chain(held).chain(joining);
        for line in lines.by_ref().take(MAX_LINES) {
            table = table.line(line);
        }
        match lines.count() {
            0 => table,
            more => table.line(format_args!("and {more} more: see --output json")),
        }
    }

    fn essence(&self) -> Vec<String> {
        vec![self.phase.to_owned()]
    }
}
