//! Databases, their credentials (never a password), and what edges found when
//! they tried to log in.

use std::time::Duration;

use nla_proto::v1;
use serde::Serialize;

use super::{
    Listed, or_dash,
    wire::{self, Meta, When},
};
use crate::output::{Cell, Show, Table, Tone, bytes, elapsed, millis};

/// A database.
#[derive(Debug, Serialize)]
pub(crate) struct Database {
    name: String,
    description: String,
    host: String,
    port: u32,
    dbname: String,
    sslmode: &'static str,
    root_certificate_pem: Option<String>,
    limits: Limits,
    role_policy: &'static str,
    #[serde(flatten)]
    meta: Meta,
}

#[derive(Debug, Serialize)]
struct Limits {
    max_rows: u32,
    max_bytes: u64,
    statement_timeout_ms: f64,
    pool_size: u32,
    #[serde(skip)]
    statement_timeout: Duration,
}

impl Database {
    pub(crate) fn from_wire(view: v1::DatabaseView) -> Self {
        let database = view.database.unwrap_or_default();
        let limits = database.limits.unwrap_or_default();
        let statement_timeout = wire::duration(limits.statement_timeout.as_ref());
        Self {
            name: database.name,
            description: database.description,
            host: database.host,
            port: database.port,
            dbname: database.dbname,
            sslmode: wire::sslmode(database.sslmode),
            root_certificate_pem: wire::text(database.root_certificate_pem),
            limits: Limits {
                max_rows: limits.max_rows,
                max_bytes: limits.max_bytes,
                statement_timeout_ms: millis(statement_timeout),
                pool_size: limits.pool_size,
                statement_timeout,
            },
            role_policy: wire::role_policy(database.role_policy),
            meta: Meta::from_wire(view.meta),
        }
    }

    fn place(&self) -> String {
        format!("{}:{}/{}", self.host, self.port, self.dbname)
    }
}

impl Listed for Database {
    fn list(items: &[Self]) -> Table {
        items.iter().fold(Table::list(["NAME", "ADDRESS", "SSLMODE", "DESCRIPTION"]), |table, database| {
            table.row([
                Cell::whole(&database.name),
                Cell::text(database.place()),
                Cell::whole(database.sslmode),
                or_dash(&database.description),
            ])
        })
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Show for Database {
    fn table(&self) -> Table {
        let limits = &self.limits;
        let root = if self.root_certificate_pem.is_some() { "given" } else { "none" };
        let table = Table::fields()
            .field("Name", Cell::text(&self.name))
            .optional("Description", &self.description)
            .field("Address", Cell::text(self.place()))
            .field("Sslmode", Cell::text(self.sslmode))
            .field("Root certificate", Cell::text(root))
            .field("Max rows", Cell::text(limits.max_rows))
            .field("Max bytes", Cell::text(bytes(limits.max_bytes)))
            .field("Statement timeout", Cell::text(elapsed(limits.statement_timeout)))
            .field("Pool size", Cell::text(format_args!("{} per token and edge", limits.pool_size)))
            .field("Role policy", Cell::text(self.role_policy));
        self.meta.rows(table)
    }

    fn essence(&self) -> Vec<String> {
        vec![self.name.clone()]
    }
}

/// SQL that makes a database role for NLA.
#[derive(Debug, Serialize)]
pub(crate) struct GrantSql {
    pub(crate) database: String,
    pub(crate) database_role: String,
    pub(crate) sql: String,
}

/// SQL that reads what a database holds.
#[derive(Debug, Serialize)]
pub(crate) struct CatalogSql<'a> {
    pub(crate) sql: &'a str,
}

/// How NLA logs in to a database, without the password.
#[derive(Debug, Serialize)]
pub(crate) struct Credential {
    database: String,
    username: String,
    generation: u64,
    source: Option<Source>,
    #[serde(flatten)]
    meta: Meta,
}

/// Where a credential comes from, and how that goes.
#[derive(Debug, Serialize)]
struct Source {
    source: String,
    refreshed_at: When,
    expires_at: When,
    error: Option<String>,
}

impl Source {
    fn from_wire(source: v1::CredentialSource) -> Self {
        Self {
            source: source.source,
            refreshed_at: When::from_wire(source.refreshed_at.as_ref()),
            expires_at: When::from_wire(source.expires_at.as_ref()),
            error: wire::text(source.error),
        }
    }

    /// In one word.
    fn state(&self) -> &'static str {
        match (self.expires_at.is_past(), &self.error) {
            (true, _) => "expired",
            (false, Some(_)) => "fails, the last value serves",
            (false, None) => "good",
        }
    }
}

impl Credential {
    pub(crate) fn from_wire(view: v1::CredentialView) -> Self {
        Self {
            database: view.database,
            username: view.username,
            generation: view.generation,
            source: view.source.map(Source::from_wire),
            meta: Meta::from_wire(view.meta),
        }
    }
}

impl Listed for Credential {
    fn list(items: &[Self]) -> Table {
        items.iter().fold(Table::list(["DATABASE", "USERNAME", "GENERATION", "CHANGED"]), |table, credential| {
            table.row([
                Cell::whole(&credential.database),
                Cell::text(&credential.username),
                Cell::text(credential.generation),
                credential.meta.updated_at.relative(),
            ])
        })
    }

    fn name(&self) -> &str {
        &self.database
    }
}

impl Show for Credential {
    fn table(&self) -> Table {
        let table = Table::fields()
            .field("Database", Cell::text(&self.database))
            .field("Username", Cell::text(&self.username))
            .field("Generation", Cell::text(self.generation));
        let table = match &self.source {
            None => table,
            Some(source) => table
                .field("Source", Cell::text(&source.source))
                .field("Source state", Cell::text(source.state()))
                .field("Refreshed", source.refreshed_at.full("-"))
                .field("Expires", source.expires_at.full("-"))
                .optional("Last error", source.error.as_deref().unwrap_or_default()),
        };
        self.meta.rows(table)
    }

    fn essence(&self) -> Vec<String> {
        vec![self.database.clone()]
    }
}

/// What one edge found.
#[derive(Debug, Serialize)]
pub(crate) struct Probe {
    edge: String,
    ok: bool,
    answered: bool,
    /// The last step that was tried.
    stage: Option<String>,
    error: Option<String>,
    server_version: Option<String>,
    tls: Option<String>,
    connect_ms: Option<f64>,
    query_ms: Option<f64>,
    warnings: Vec<String>,
    #[serde(skip)]
    took: Duration,
}

/// Steps of a probe, in their order.
const STAGES: [&str; 6] = ["resolve", "connect", "tls", "authenticate", "query", "rights"];

impl Probe {
    pub(crate) fn from_wire(probe: v1::EdgeProbe) -> Self {
        let answered = probe.result.is_some();
        let result = probe.result.unwrap_or_default();
        let (connect, query) =
            (wire::duration(result.connect_time.as_ref()), wire::duration(result.query_time.as_ref()));
        Self {
            edge: probe.edge_id,
            ok: result.ok,
            answered,
            stage: wire::text(result.stage),
            error: wire::text(result.error),
            server_version: wire::text(result.server_version),
            tls: wire::text(result.tls),
            connect_ms: result.connect_time.map(|_| millis(connect)),
            query_ms: result.query_time.map(|_| millis(query)),
            warnings: result.warnings,
            took: connect + query,
        }
    }

    /// True when the edge logged in and ran a query.
    pub(crate) fn ok(&self) -> bool {
        self.ok
    }

    fn stages(&self) -> String {
        let reached = self.stage.as_deref().unwrap_or_default();
        let Some(last) = STAGES.iter().position(|stage| *stage == reached) else {
            return if self.ok { "all".into() } else { reached.to_owned() };
        };
        let done = STAGES[..=last].iter().enumerate().map(|(at, stage)| {
            let mark = if at < last || self.ok { "ok" } else { "FAILED" };
            format!("{stage} {mark}")
        });
        done.collect::<Vec<_>>().join(", ")
    }

    fn detail(&self) -> String {
        let mut parts = Vec::new();
        match (&self.error, self.answered) {
            (Some(error), _) => parts.push(error.clone()),
            (None, false) => parts.push("the edge did not answer in time".into()),
            (None, true) => {
                parts.push(elapsed(self.took));
                parts.extend(self.server_version.as_ref().map(|version| format!("PostgreSQL {version}")));
                parts.extend(self.tls.clone());
            }
        }
        parts.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        parts.join("; ")
    }
}

impl Listed for Probe {
    fn list(items: &[Self]) -> Table {
        items.iter().fold(Table::list(["EDGE", "RESULT", "STAGES", "DETAIL"]), |table, probe| {
            let result =
                if probe.ok { Cell::whole("ok").toned(Tone::Good) } else { Cell::whole("failed").toned(Tone::Bad) };
            table.row([Cell::whole(&probe.edge), result, Cell::text(probe.stages()), Cell::text(probe.detail())])
        })
    }

    fn name(&self) -> &str {
        &self.edge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(ok: bool, stage: &str, error: &str) -> Probe {
        let result = v1::ProbeResult {
            ok,
            stage: stage.into(),
            error: error.into(),
            server_version: "15.4".into(),
            connect_time: Some(nla_proto::convert::duration(Duration::from_millis(3))),
            ..Default::default()
        };
        Probe::from_wire(v1::EdgeProbe { edge_id: "edge-1".into(), result: Some(result) })
    }

    #[test]
    fn stages_up_to_the_failed_one() {
        let cases = [
            (probe(true, "query", ""), "resolve ok, connect ok, tls ok, authenticate ok, query ok", "PostgreSQL 15.4"),
            (probe(false, "tls", "no"), "resolve ok, connect ok, tls FAILED", "no"),
            (
                probe(false, "rights", "a superuser"),
                "resolve ok, connect ok, tls ok, authenticate ok, query ok, rights FAILED",
                "a superuser",
            ),
            (probe(false, "resolve", "no"), "resolve FAILED", "no"),
            (Probe::from_wire(v1::EdgeProbe { edge_id: "e".into(), result: None }), "", "did not answer"),
        ];
        for (probe, stages, detail) in cases {
            assert_eq!(probe.stages(), stages);
            assert!(probe.detail().contains(detail), "{}", probe.detail());
        }
    }

    #[test]
    fn a_database_names_its_units() {
        let limits = v1::DatabaseLimits {
            max_bytes: 4 << 20,
            statement_timeout: Some(nla_proto::convert::duration(Duration::from_secs(30))),
            ..Default::default()
        };
        let database = v1::Database { limits: Some(limits), sslmode: 4, ..Default::default() };
        let view = Database::from_wire(v1::DatabaseView { database: Some(database), meta: None });
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(json["limits"]["statement_timeout_ms"], 30_000.0);
        assert_eq!(json["sslmode"], "verify-full");
        assert_eq!(json["role_policy"], "refuse-superuser");
        let text = view.table().render(80, false);
        assert!(text.contains("4.0 MiB") && text.contains("30.0 s"), "{text}");
    }
}
