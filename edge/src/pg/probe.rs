//! Tries a database for an operator: each step of connecting, what protects the
//! connection, and rights of the database role that a reader should not have.
//! Called by `pipeline::probe` for `nlactl database test`.
//! Invariant: it changes nothing and its texts hold no secret.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_postgres::SimpleQueryMessage;

use super::{
    connect::{Connected, Target},
    connect_error::{ConnectCause, ConnectError, ConnectStage},
};

/// Catalog look-ups of a healthy server take milliseconds.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// What was found.
#[derive(Debug)]
pub struct Probe {
    /// The last step that was reached.
    pub stage: ConnectStage,
    /// Why it failed, if it did.
    pub error: Option<ConnectError>,
    /// Such as `15.18`; empty when not reached.
    pub server_version: String,
    /// Such as `TLSv1.3 TLS_AES_256_GCM_SHA384, sslmode verify-full`.
    pub protection: String,
    /// From the name's look-up to the login.
    pub connect_time: Duration,
    /// A trivial query, there and back.
    pub query_time: Duration,
    /// For the operator to mend.
    pub warnings: Vec<String>,
}

const FACTS: &str = "
BEGIN READ ONLY;
SELECT r.rolsuper, r.rolbypassrls, r.rolreplication, r.rolcreaterole, r.rolcreatedb,
  pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP'),
  pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
  (SELECT pg_catalog.string_agg(g.rolname, ', ' ORDER BY g.rolname) FROM pg_catalog.pg_roles g
    WHERE g.rolname ~ '^pg_' AND g.rolname NOT IN ('pg_read_all_data', 'pg_database_owner', 'pg_read_all_settings')
      AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER')),
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')),
  (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c WHERE c.relowner = r.oid),
  (SELECT s.version || ' ' || s.cipher FROM pg_catalog.pg_stat_ssl s
    WHERE s.pid = pg_catalog.pg_backend_pid() AND s.ssl)
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user;
ROLLBACK";

impl Target {
    /// Connects as a call would, and looks around.
    pub async fn probe(&self) -> Probe {
        let mut probe = Probe {
            stage: ConnectStage::Resolve,
            error: None,
            server_version: String::new(),
            protection: self.protection(),
            connect_time: Duration::ZERO,
            query_time: Duration::ZERO,
            warnings: Vec::new(),
        };
        let began = Instant::now();
        let connected = self.connect().await;
        probe.connect_time = began.elapsed();
        match connected {
            Ok(connected) => self.look_around(&connected, &mut probe).await,
            Err(error) => {
                probe.stage = error.stage;
                probe.error = Some(error);
            }
        }
        probe
    }

    async fn look_around(&self, connected: &Connected, probe: &mut Probe) {
        probe.stage = ConnectStage::Query;
        probe.server_version.clone_from(&connected.server_version);
        if !(14..=18).contains(&connected.server_major) {
            probe.warnings.push("this version of PostgreSQL is not among the supported ones, 14 to 18".to_owned());
        }
        let began = Instant::now();
        let ping = timeout(QUERY_TIMEOUT, connected.client.simple_query("SELECT 1")).await;
        probe.query_time = began.elapsed();
        let facts = match ping {
            Ok(Ok(_)) => timeout(QUERY_TIMEOUT, connected.client.simple_query(FACTS)).await,
            other => other,
        };
        let cause = match facts {
            Ok(Ok(messages)) => match facts_row(&messages) {
                Some(facts) => {
                    if let Some(tls) = facts.get(10).cloned().flatten() {
                        probe.protection = format!("{tls}, sslmode {}", self.database.sslmode);
                    }
                    warnings(&facts, &mut probe.warnings);
                    return;
                }
                None => ConnectCause::Protocol,
            },
            Ok(Err(error)) => {
                error.code().map_or(ConnectCause::Protocol, |code| ConnectCause::Server(code.code().to_owned()))
            }
            Err(_) => ConnectCause::TimedOut,
        };
        probe.error = Some(ConnectError { stage: ConnectStage::Query, cause });
    }
}

fn facts_row(messages: &[SimpleQueryMessage]) -> Option<Vec<Option<String>>> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|at| row.try_get(at).ok().flatten().map(str::to_owned)).collect())
        }
        _ => None,
    })
}

fn warnings(facts: &[Option<String>], out: &mut Vec<String>) {
    let text = |at: usize| facts.get(at).and_then(Option::as_deref).unwrap_or("");
    let is = |at: usize| text(at) == "t";
    if is(0) {
        // Everything else follows from it.
        out.push(
            "the database role is a superuser: no limit of PostgreSQL holds for it; use a role of its own".to_owned(),
        );
        return;
    }
    for (at, attribute, why) in [
        (1, "BYPASSRLS", "row-level security does not hold for it"),
        (2, "REPLICATION", "it can copy the whole cluster"),
        (3, "CREATEROLE", "it can give itself rights"),
        (4, "CREATEDB", "it can create databases"),
    ] {
        if is(at) {
            out.push(format!("the database role has {attribute}: {why}"));
        }
    }
    if is(5) {
        out.push(
            "the database role may create temporary tables (REVOKE TEMPORARY ON DATABASE ... FROM PUBLIC)".to_owned(),
        );
    }
    if is(6) {
        out.push("the database role may create schemas in the database".to_owned());
    }
    if !text(7).is_empty() {
        out.push(format!("the database role is a member of {}", text(7)));
    }
    for (at, what) in [(8, "may write to"), (9, "owns")] {
        if text(at).parse::<u64>().is_ok_and(|count| count > 0) {
            out.push(format!("the database role {what} {} relations", text(at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_name_what_to_mend() {
        let row = |values: [&str; 10]| values.iter().map(|value| Some((*value).to_owned())).collect::<Vec<_>>();
        let mut none = Vec::new();
        warnings(&row(["f", "f", "f", "f", "f", "f", "f", "", "0", "0"]), &mut none);
        assert!(none.is_empty(), "{none:?}");
        let mut all = Vec::new();
        warnings(&row(["f", "t", "t", "t", "t", "t", "t", "pg_monitor", "3", "2"]), &mut all);
        assert_eq!(all.len(), 9, "{all:?}");
        let mut superuser = Vec::new();
        warnings(&row(["t", "t", "t", "t", "t", "t", "t", "pg_monitor", "3", "2"]), &mut superuser);
        assert_eq!(superuser.len(), 1);
    }
}
