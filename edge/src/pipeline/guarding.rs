//! Gate 6: the guard, on its own threads. What it refuses is told with the rule,
//! the place and what to do instead. Called by [`super::Pipeline::query`].

use std::sync::Arc;

use nla_domain::{
    audit::SqlRecord,
    error::ErrorKind,
    hex,
    policy::Grant,
    role::{SqlAudit, Tool},
};
use nla_guard::{
    CheckedSql, ExplainOptions, Parser, ParserConfig, ParserError, Refusal, Rules, StatementKind, catalog::Catalog,
};
use tokio::sync::oneshot;

use super::{Call, Failure, vetted::Vetted};
use crate::pg::{Inspector, PgError};

/// What a caller asks of a database.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The statement as written.
    pub sql: &'a str,
    /// The database, if it was named.
    pub database: Option<&'a str>,
    /// Fewer rows than allowed.
    pub max_rows: Option<u32>,
    /// Show the plan instead of the rows.
    pub explain: Option<ExplainOptions>,
}

impl Ask<'_> {
    pub(super) fn tool(&self) -> Tool {
        if self.explain.is_some() { Tool::ExplainQuery } else { Tool::QueryDatabase }
    }

    /// Keeps the statement for the audit log, also if it is refused or never
    /// judged; the fingerprint comes with the verdict.
    pub(super) fn note(&self, call: &mut Call<'_>, grant: &Grant, fingerprint: Option<&str>) {
        call.note_sql(sql_record(grant, self.sql, fingerprint));
    }

    /// An error of the database, with its position counted in the caller's text.
    pub(super) fn explain(&self, error: &PgError, checked: &CheckedSql) -> Failure {
        let mut failure = Failure::of_database(error);
        if let Some(position) = failure.position {
            failure.position = self.in_original(checked, position);
        }
        failure
    }

    /// `position` counts characters of the checked text, which lacks what the
    /// caller wrote around the statement and may have EXPLAIN before it.
    fn in_original(&self, checked: &CheckedSql, position: usize) -> Option<usize> {
        let text = checked.sql();
        let added = match self.explain {
            Some(_) if checked.kind() == StatementKind::Explain => text.find(") ").map_or(0, |at| at + 2),
            _ => 0,
        };
        let start = self.sql.find(&text[added..])?;
        let before = self.sql[..start].chars().count();
        (before + position).checked_sub(text[..added].chars().count()).filter(|at| *at > 0)
    }
}

/// The parsing threads.
#[derive(Debug)]
pub(super) struct Guard(Parser);

impl Guard {
    pub(super) fn start(config: ParserConfig) -> Result<Self, ParserError> {
        Parser::start(config).map(Self)
    }

    /// Judges the statement with what is known of the database. What is refused
    /// for a name that is not known there is judged again after another look,
    /// because the name may be new.
    pub(super) async fn check(
        &self,
        call: &mut Call<'_>,
        vetted: &mut Vetted,
        ask: &Ask<'_>,
        inspector: &Inspector,
    ) -> Result<CheckedSql, Failure> {
        let mut judged = self.judge(vetted, ask).await?;
        let mut old = false;
        if judged.as_ref().is_err_and(Refusal::may_be_stale) {
            match inspector.newer_than(vetted.grant(), vetted.known()).await {
                Some(newer) => {
                    vetted.renew(newer)?;
                    judged = self.judge(vetted, ask).await?;
                }
                None => old = true,
            }
        }
        let checked = judged.map_err(|refusal| {
            let mut failure = Failure::of_refusal(&refusal);
            if let Some(hint) = failure.hint.as_mut().filter(|_| old) {
                hint.push_str(" If it was made just now, try again in a few seconds.");
            }
            failure
        })?;
        ask.note(call, vetted.grant(), Some(checked.fingerprint()));
        call.note_relations(&checked);
        Ok(checked)
    }

    async fn judge(&self, vetted: &Vetted, ask: &Ask<'_>) -> Result<Result<CheckedSql, Refusal>, Failure> {
        let rules = Arc::new(rules(vetted.grant(), Arc::clone(&vetted.known().catalog)));
        let (reply, verdict) = oneshot::channel();
        // The receiver may be gone by then: the caller has left.
        let send = move |judged| drop(reply.send(judged));
        let queued = match ask.explain {
            Some(options) => self.0.submit_explain(ask.sql.to_owned(), rules, options, send),
            None => self.0.submit(ask.sql.to_owned(), rules, send),
        };
        queued.map_err(|_| Failure::overloaded("too many statements wait to be checked; try again in a moment"))?;
        verdict
            .await
            .map_err(|_| Failure::new(ErrorKind::Internal, "the statement could not be checked and was not run"))
    }
}

fn rules(grant: &Grant, catalog: Arc<Catalog>) -> Rules {
    let role = &grant.role;
    let set = |names: &[String]| names.iter().cloned().collect();
    Rules {
        allow_explain_analyze: grant.allow_explain_analyze,
        functions: set(&role.functions),
        relations: set(&role.relations),
        operators: set(&role.operators),
        settings: set(&role.settings),
        server_major: catalog.server_major(),
        catalog: Some(catalog),
        ..Rules::default()
    }
}

fn sql_record(grant: &Grant, sql: &str, fingerprint: Option<&str>) -> SqlRecord {
    match (grant.sql_audit, fingerprint) {
        // Longer than the guard reads: the log does not have to keep it either.
        (SqlAudit::Full, _) => {
            SqlRecord::Full(sql[..sql.floor_char_boundary(nla_guard::HARD_MAX_SQL_BYTES)].to_owned())
        }
        (SqlAudit::Fingerprint, Some(fingerprint)) => SqlRecord::Fingerprint(fingerprint.to_owned()),
        // A statement that was not parsed has no fingerprint.
        (SqlAudit::Fingerprint, None) | (SqlAudit::Hash, _) => SqlRecord::Hash(sha256_hex(sql)),
    }
}

fn sha256_hex(text: &str) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref())
}
