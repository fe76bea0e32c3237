//! Whether this edge should get traffic, with the reasons when it should not.
//! `/readyz` shows it. Invariant: an edge is ready only while a call with a
//! standard token could be authenticated and recorded.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nla_domain::clock::WallClock;
use serde::Serialize;

use super::certificate::{CertificateReport, PublicCertificate};
use crate::{
    audit::AuditQueue,
    clock::FleetClock,
    identity::Trouble,
    pipeline::{DatabaseReport, DatabaseState},
    snapshot::{SnapshotHolder, Standing},
};

/// Heartbeats come each second; a few may be late without a meaning.
const FRESH: Duration = Duration::from_secs(5);

/// The reason of an edge that waits for an operator to give it a join token.
pub const JOIN_TOKEN_NEEDED: &str = "join_token_needed";

/// What readiness is made of. Clones share it.
#[derive(Debug, Clone)]
pub struct Readiness {
    holder: SnapshotHolder,
    audit: AuditQueue,
    clock: FleetClock,
    state: Arc<State>,
}

/// Where the detail about databases comes from, once calls are served.
pub type DatabaseReports = Box<dyn Fn() -> Vec<DatabaseReport> + Send + Sync>;

#[derive(Default)]
struct State {
    enrolled: AtomicBool,
    trouble: Trouble,
    stopping: AtomicBool,
    databases: OnceLock<DatabaseReports>,
    certificate: OnceLock<(PublicCertificate, Arc<dyn WallClock>)>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("enrolled", &self.enrolled)
            .field("stopping", &self.stopping)
            .finish_non_exhaustive()
    }
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// True when `reasons` is empty.
    pub ready: bool,
    /// Of the state that the edge decides by.
    pub revision: Option<u64>,
    /// Since the control plane last confirmed it.
    pub age_seconds: Option<f64>,
    /// How far this machine's clock is ahead of the control plane's, in
    /// milliseconds; negative when it is behind.
    pub clock_lead_ms: Option<i64>,
    /// Why it is not ready.
    pub reasons: Vec<Reason>,
    /// The one that clients see; `None` for plain HTTP. Its end says nothing
    /// about readiness: a load balancer must not turn an expiry into an outage
    /// for clients that do not look.
    pub certificate: Option<CertificateReport>,
    /// How the databases are; it says nothing about readiness, because an edge
    /// without one of them still serves the others.
    pub databases: Databases,
}

/// Names, versions and rights are for whoever sits on the machine; the address
/// of `/readyz` is open to everybody.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Databases {
    /// Each of them.
    Listed(Vec<DatabaseReport>),
    /// How many are in each state.
    Counted(BTreeMap<DatabaseState, usize>),
}

impl Databases {
    fn of(reports: Vec<DatabaseReport>, listed: bool) -> Self {
        if listed {
            return Self::Listed(reports);
        }
        let mut counts = BTreeMap::new();
        for report in reports {
            *counts.entry(report.state).or_default() += 1;
        }
        Self::Counted(counts)
    }
}

/// One reason not to be ready.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Reason {
    /// For machines.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Readiness {
    /// Not enrolled yet.
    pub fn new(holder: SnapshotHolder, audit: AuditQueue, clock: FleetClock) -> Self {
        Self { holder, audit, clock, state: Arc::default() }
    }

    /// The edge has its identity.
    pub fn enrolled(&self) {
        self.state.enrolled.store(true, Ordering::Release);
    }

    /// Where the identity says what keeps it from being of use.
    pub fn trouble(&self) -> Trouble {
        self.state.trouble.clone()
    }

    /// Says how the databases are from now on. Only the first call counts.
    pub fn with_databases(&self, reports: DatabaseReports) {
        // Private to one `App`, which calls it once.
        let _ = self.state.databases.set(reports);
    }

    /// Says until when `certificate` is valid. Only the first call counts.
    pub fn with_certificate(&self, certificate: PublicCertificate, wall: Arc<dyn WallClock>) {
        // Private to one `App`, which calls it once.
        let _ = self.state.certificate.set((certificate, wall));
    }

    /// The process is about to end.
    pub fn stopping(&self) {
        self.state.stopping.store(true, Ordering::Release);
    }

    /// How old the state is that answers are made from, when that is more than
    /// a few missed heartbeats. `None` while it is fresh, and without a state.
    pub fn stale_for(&self) -> Option<Duration> {
        let age = self.holder.age();
        (age > FRESH && self.holder.current().is_some()).then_some(age)
    }

    /// As it is now; databases are listed or only counted.
    pub fn report(&self, listed: bool) -> Report {
        let mut reasons = Vec::new();
        let mut because = |reason, message: String| reasons.push(Reason { reason, message });
        if self.state.stopping.load(Ordering::Acquire) {
            because("stopping", "this process is about to end".into());
        }
        let enrolled = self.state.enrolled.load(Ordering::Acquire);
        let trouble = self.state.trouble.text();
        if let Some(trouble) = &trouble {
            because(if enrolled { "certificate_expired" } else { JOIN_TOKEN_NEEDED }, trouble.to_string());
        }
        let current = self.holder.current();
        let age = self.holder.age();
        match (&*self.holder.standing(), &current) {
            (Standing::Banned(reason), _) => {
                because("banned", format!("the control plane has banned this edge: {reason}"));
            }
            (Standing::Quarantined(reason), _) => {
                because("quarantined", format!("an operator has put this edge into quarantine: {reason}"));
            }
            (_, None) if !enrolled && trouble.is_some() => {}
            (_, None) if !enrolled => {
                because("not_enrolled", "this edge has no identity yet".into());
            }
            (_, None) => because("no_snapshot", "nothing has come from the control plane yet".into()),
            (_, Some(_)) if age == Duration::MAX => {
                because("stale", "the control plane has not confirmed the state yet".into());
            }
            (_, Some(snapshot)) if age > snapshot.settings.standard_staleness => {
                because("stale", format!("the control plane has not confirmed the state for {}s", age.as_secs()));
            }
            (Standing::Draining(reason), Some(_)) => {
                because("draining", format!("the control plane has asked this edge to drain: {reason}"));
            }
            (Standing::Follows, Some(_)) => {}
        }
        if self.audit.is_full() {
            because("audit_queue_full", crate::audit::AuditUnavailable.to_string());
        }
        Report {
            ready: reasons.is_empty(),
            revision: current.as_ref().map(|snapshot| snapshot.revision.0),
            age_seconds: current.as_ref().filter(|_| age != Duration::MAX).map(|_| age.as_secs_f64()),
            clock_lead_ms: self.clock.lead_millis(),
            reasons,
            certificate: self.state.certificate.get().map(|(certificate, wall)| certificate.report(wall.now())),
            databases: Databases::of(self.state.databases.get().map(|reports| reports()).unwrap_or_default(), listed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_not_for_everybody() {
        let report = |name: &str, state| DatabaseReport {
            name: name.parse().unwrap(),
            state,
            server_version: Some("15.18".to_owned()),
            relations: Some(7),
            age_seconds: Some(1.0),
            warnings: vec!["the database role is a superuser".to_owned()],
        };
        let reports = || {
            [("shop", DatabaseState::Ok), ("crm", DatabaseState::Refused), ("hr", DatabaseState::Ok)]
                .map(|(name, state)| report(name, state))
                .to_vec()
        };
        let shown = |listed| serde_json::to_value(Databases::of(reports(), listed)).unwrap();
        assert_eq!(shown(false), serde_json::json!({ "ok": 2, "refused": 1 }));
        assert_eq!(shown(true)[1]["name"], "crm");
        assert!(shown(true)[0]["warnings"][0].is_string());
    }
}
