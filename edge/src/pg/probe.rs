//! Tries a database for an operator: each step of connecting, what protects the
//! connection, and a look at what the database holds and its role may do, as
//! calls rest on it. Called by `pipeline::probe` for `nlactl database test`.
//! Invariant: it changes nothing and its texts hold no secret.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tokio_postgres::SimpleQueryMessage;

use super::{
    connect::{Connected, Target},
    connect_error::{ConnectCause, ConnectError, ConnectStage},
    error::PgError,
    inspect::{
        look::{LookError, look},
        rights::Finding,
    },
};

/// A trivial query of a healthy server takes milliseconds.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Less than the control plane waits for the answer.
const LONGEST_PROBE: Duration = Duration::from_secs(13);

/// What was found.
#[derive(Debug)]
pub struct Probe {
    /// The last step that was reached.
    pub stage: &'static str,
    /// Why it failed, if it did.
    pub error: Option<PgError>,
    /// Such as `15.18`; empty when not reached.
    pub server_version: String,
    /// Such as `TLSv1.3 TLS_AES_256_GCM_SHA384, sslmode verify-full`.
    pub protection: String,
    /// From the name's look-up to the login.
    pub connect_time: Duration,
    /// A trivial query, there and back.
    pub query_time: Duration,
    /// What the database role may do beyond reading.
    pub findings: Vec<Finding>,
    /// Anything else for the operator to mend.
    pub warnings: Vec<String>,
}

const PROTECTION: &str = "SELECT s.version || ' ' || s.cipher FROM pg_catalog.pg_stat_ssl s \
    WHERE s.pid = pg_catalog.pg_backend_pid() AND s.ssl";

impl Target {
    /// Connects as a call would, and looks around.
    pub async fn probe(&self) -> Probe {
        let mut probe = Probe {
            stage: ConnectStage::Resolve.as_str(),
            error: None,
            server_version: String::new(),
            protection: self.protection(),
            connect_time: Duration::ZERO,
            query_time: Duration::ZERO,
            findings: Vec::new(),
            warnings: Vec::new(),
        };
        let began = Instant::now();
        let connected = self.connect().await;
        probe.connect_time = began.elapsed();
        match connected {
            Ok(connected) => {
                probe.stage = ConnectStage::Query.as_str();
                let looked = timeout_at(began + LONGEST_PROBE, self.look_around(&connected, &mut probe)).await;
                probe.error = looked.unwrap_or(Err(PgError::Catalog(LookError::TimedOut))).err();
            }
            Err(error) => {
                probe.stage = error.stage.as_str();
                probe.error = Some(PgError::Unavailable(error));
            }
        }
        probe
    }

    async fn look_around(&self, connected: &Connected, probe: &mut Probe) -> Result<(), PgError> {
        probe.server_version.clone_from(&connected.server_version);
        if !(14..=18).contains(&connected.server_major) {
            probe.warnings.push("this version of PostgreSQL is not among the supported ones, 14 to 18".to_owned());
        }
        let began = Instant::now();
        ask(connected, "SELECT 1").await?;
        probe.query_time = began.elapsed();
        if let Some(tls) = ask(connected, PROTECTION).await? {
            probe.protection = format!("{tls}, sslmode {}", self.database.sslmode);
        }
        probe.stage = "catalog";
        let seen = look(&connected.client, &connected.meter, &Arc::new(Semaphore::new(1))).await;
        let seen = seen.map_err(PgError::Catalog)?;
        probe.findings = seen.findings;
        if !seen.catalog.is_complete() {
            let known = seen.catalog.relation_count();
            probe.warnings.push(format!("the database holds more than the {known} relations that NLA reads of it"));
        }
        Ok(())
    }
}

/// The first value of the first row.
async fn ask(connected: &Connected, sql: &str) -> Result<Option<String>, PgError> {
    let failed = |cause| PgError::Unavailable(ConnectError { stage: ConnectStage::Query, cause });
    let answer = timeout(QUERY_TIMEOUT, connected.client.simple_query(sql)).await;
    let messages = answer.map_err(|_| failed(ConnectCause::TimedOut))?.map_err(|error| {
        failed(error.code().map_or(ConnectCause::Protocol, |code| ConnectCause::Server(code.code().to_owned())))
    })?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten().map(str::to_owned),
        _ => None,
    }))
}
