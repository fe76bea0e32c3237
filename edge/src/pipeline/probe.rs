//! Tries a database with the credential that this edge holds, for `nlactl
//! database test`. Called by `sync` when the control plane asks.

use std::sync::Arc;

use nla_domain::id::DatabaseName;
use nla_proto::{convert, v1};

use super::Pipeline;
use crate::pg::Target;

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
        let target = Target::new(Arc::clone(&database), credential, self.pools.connection_settings());
        let probe = target.probe().await;
        v1::ProbeResult {
            probe_id: String::new(),
            ok: probe.error.is_none(),
            stage: probe.stage.as_str().to_owned(),
            error: probe.error.map(|error| error.to_string()).unwrap_or_default(),
            server_version: probe.server_version,
            tls: probe.protection,
            connect_time: Some(convert::duration(probe.connect_time)),
            query_time: Some(convert::duration(probe.query_time)),
            warnings: probe.warnings,
        }
    }
}
