//! Tries a database with the credential that this edge holds, for `nlactl
//! database test`, or with one that it is to hold next, for a rotation. Called
//! by `sync` when the control plane asks.

use std::sync::Arc;

use nla_domain::{credential::Credential, database::Database, id::DatabaseName};
use nla_proto::{convert, v1};

use super::{Pipeline, vetted};
use crate::pg::{self, PgError, Probe, Target};

/// The stage at which the database's policy refuses the database role.
const RIGHTS: &str = "rights";

impl Pipeline {
    /// What happened, step by step. The caller fills in `probe_id`.
    pub async fn probe(&self, database: &DatabaseName) -> v1::ProbeResult {
        let known = self.snapshots.current().and_then(|snapshot| {
            let found = snapshot.databases.get(database).cloned()?;
            Some((found, snapshot.credentials.get(database).cloned()))
        });
        let failed = |error: &str| v1::ProbeResult {
            stage: "resolve".to_owned(),
            error: error.to_owned(),
            ..Default::default()
        };
        let (database, credential) = match known {
            Some((database, Some(credential))) => (database, credential),
            Some((_, None)) => return failed("the database has no credential yet; set one with nlactl credential set"),
            None => return failed("this edge does not know the database (yet)"),
        };
        self.try_out(database, credential).await
    }

    /// The same with another credential, which this edge does not keep.
    pub async fn probe_with(&self, database: &DatabaseName, candidate: Credential) -> v1::ProbeResult {
        let failed = |error: &str| v1::ProbeResult {
            stage: "resolve".to_owned(),
            error: error.to_owned(),
            ..Default::default()
        };
        if candidate.database != *database {
            return failed("the credential to be tried is for another database");
        }
        let known = self.snapshots.current().and_then(|snapshot| snapshot.databases.get(database).cloned());
        match known {
            Some(database) => self.try_out(database, Arc::new(candidate)).await,
            None => failed("this edge does not know the database (yet)"),
        }
    }

    async fn try_out(&self, database: Arc<Database>, credential: Arc<Credential>) -> v1::ProbeResult {
        let target = Target::new(Arc::clone(&database), credential, self.pools.connection_settings());
        result(&database, target.probe().await)
    }
}

fn result(database: &Database, probe: Probe) -> v1::ProbeResult {
    let refused = pg::refused(database.role_policy, &probe.findings);
    let (stage, error) = match &probe.error {
        // The cause alone: an operator asks for it by name.
        Some(PgError::Unavailable(error)) => (probe.stage, error.to_string()),
        Some(error) => (probe.stage, error.to_string()),
        None if !refused.is_empty() => (RIGHTS, vetted::refusal(database, &refused)),
        None => (probe.stage, String::new()),
    };
    v1::ProbeResult {
        probe_id: String::new(),
        ok: error.is_empty(),
        stage: stage.to_owned(),
        error,
        server_version: probe.server_version,
        tls: probe.protection,
        connect_time: Some(convert::duration(probe.connect_time)),
        query_time: Some(convert::duration(probe.query_time)),
        warnings: probe.warnings.into_iter().chain(probe.findings.iter().map(pg::Finding::warning)).collect(),
    }
}
