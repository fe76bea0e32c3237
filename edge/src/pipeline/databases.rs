//! What the edge's report says of each database. `listener::ready` shows it.
//! Invariant: no host, user or secret is in it, and asking changes nothing.

use nla_domain::{database::Database, id::DatabaseName};
use serde::Serialize;

use super::Pipeline;
use crate::pg::{self, Finding};

/// Whether calls to a database can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseState {
    /// The last look at it succeeded, and its role is allowed.
    Ok,
    /// Its policy refuses the database role.
    Refused,
    /// The last look at it failed.
    Unreachable,
    /// Nobody has asked for it lately.
    Unknown,
}

/// One database.
#[derive(Debug, Clone, Serialize)]
pub struct DatabaseReport {
    /// Its name.
    pub name: DatabaseName,
    /// As calls find it.
    pub state: DatabaseState,
    /// Such as `15.18 (Debian ...)`.
    pub server_version: Option<String>,
    /// Relations of its own that the database role can see.
    pub relations: Option<usize>,
    /// Of what the guard knows of it.
    pub age_seconds: Option<f64>,
    /// What its database role may do beyond reading, and why it cannot be reached.
    pub warnings: Vec<String>,
}

impl Pipeline {
    /// All databases that this edge knows, by name.
    pub fn database_reports(&self) -> Vec<DatabaseReport> {
        let Some(snapshot) = self.snapshots.current() else { return Vec::new() };
        snapshot
            .databases
            .values()
            .map(|database| {
                let generation = snapshot.credentials.get(&database.name).map(|credential| credential.generation);
                let known = generation.and_then(|generation| self.inspector.report(&database.name, generation));
                report(database, known)
            })
            .collect()
    }
}

fn report(database: &Database, known: Option<pg::Report>) -> DatabaseReport {
    let mut report = DatabaseReport {
        name: database.name.clone(),
        state: DatabaseState::Unknown,
        server_version: None,
        relations: None,
        age_seconds: None,
        warnings: Vec::new(),
    };
    let Some(pg::Report { facts, error }) = known else { return report };
    if let Some((facts, age)) = facts {
        let refused = !pg::refused(database.role_policy, &facts.findings).is_empty();
        report.state = if refused { DatabaseState::Refused } else { DatabaseState::Ok };
        report.server_version = Some(facts.server_version.clone());
        report.relations = Some(facts.catalog.relation_count());
        report.age_seconds = Some(age.as_secs_f64());
        report.warnings = facts.findings.iter().map(Finding::warning).collect();
    }
    if let Some(error) = error {
        report.state = DatabaseState::Unreachable;
        report.warnings.insert(0, error.to_string());
    }
    report
}
