//! `nlactl check`: the guard's verdict on a statement, by the same code that an
//! edge runs, without a database and, unless a role is named, without a control
//! plane.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use clap::Args;
use nla_domain::{
    id::{DatabaseName, RoleName},
    role::{Role, Tool},
};
use nla_guard::{Catalog, Rules};

use super::role::{self, Exceptions};
use crate::{
    args::Globals,
    exit::CliError,
    input::{Source, read_file},
    output::{
        Output,
        views::check::{Basis, Verdict},
    },
    session::Session,
};

/// As much as an edge accepts from a server.
const MAX_CATALOG_BYTES: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The statement; - reads it from stdin
    #[arg(value_name = "SQL", conflicts_with = "file")]
    sql: Option<String>,
    /// File with the statement
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Judge as for this role, which the control plane knows
    #[arg(long, value_name = "ROLE")]
    role: Option<RoleName>,
    /// Also ask whether the role may query this database
    #[arg(long, value_name = "DATABASE", requires = "role")]
    database: Option<DatabaseName>,
    /// What the database holds, as `database catalog-sql` and psql have written it
    #[arg(long, value_name = "FILE", conflicts_with = "server_major")]
    catalog: Option<PathBuf>,
    /// Major version of the server [default: the strictest]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u16).range(14..=18))]
    server_major: Option<u16>,
    /// Judge as for a role that may EXPLAIN ANALYZE
    #[arg(long)]
    explain_analyze: bool,
    #[command(flatten)]
    exceptions: Exceptions,
    /// Show what the statement uses, and why each is allowed
    #[arg(long)]
    explain: bool,
}

impl Check {
    pub(crate) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        let source = Source::of(self.sql.as_deref(), self.file.as_ref())?;
        let (sql, catalog) = (source.read()?, self.catalog()?);
        let role = match &self.role {
            Some(name) => Some(known_role(globals, name).await?),
            None => None,
        };
        if let (Some(role), Some(database)) = (&role, &self.database)
            && !(role.opens(database) && role.allows(Tool::QueryDatabase))
        {
            let message = format!("role {} may not query database {database}", role.name);
            let next = format!("`nlactl role show {}` shows what it opens and allows", role.name);
            return Err(CliError::usage(message).with_next(next));
        }
        let rules = self.rules(role.as_ref(), catalog);
        let judged = nla_guard::check(&sql, &rules);
        let basis = Basis::of(&rules, self.role.as_ref());
        let verdict = Verdict::of(&sql, &judged, &rules, basis, self.explain);
        output.result(&verdict)?;
        if verdict.is_allowed() { Ok(()) } else { Err(CliError::StatementRefused) }
    }

    fn rules(&self, role: Option<&Role>, catalog: Option<Catalog>) -> Rules {
        let mut rules = Rules::default();
        if let Some(role) = role {
            rules.allow_explain_analyze = role.allow_explain_analyze;
            rules.functions = set(&role.functions);
            rules.relations = set(&role.relations);
            rules.operators = set(&role.operators);
            rules.settings = set(&role.settings);
        }
        rules.allow_explain_analyze |= self.explain_analyze;
        rules.functions.extend(set(&self.exceptions.functions));
        rules.relations.extend(set(&self.exceptions.relations));
        rules.operators.extend(set(&self.exceptions.operators));
        rules.settings.extend(set(&self.exceptions.settings));
        rules.server_major = self.server_major.unwrap_or(rules.server_major);
        rules.catalog = catalog.map(Arc::new);
        rules
    }

    fn catalog(&self) -> Result<Option<Catalog>, CliError> {
        let Some(path) = &self.catalog else { return Ok(None) };
        let name = path.display();
        let bytes = read_file(path, MAX_CATALOG_BYTES)
            .map_err(|source| CliError::local(format!("cannot read {name}"), source))?;
        let bytes =
            bytes.ok_or_else(|| CliError::usage(format!("{name} holds more than {} MiB", MAX_CATALOG_BYTES >> 20)))?;
        Catalog::from_json(&bytes).map(Some).map_err(|source| {
            CliError::local(format!("cannot use {name}"), source)
                .with_next("make it with: nlactl database catalog-sql | psql -XAtq -d DATABASE > FILE")
        })
    }
}

fn set(names: &[String]) -> BTreeSet<String> {
    names.iter().filter(|name| !name.is_empty()).cloned().collect()
}

async fn known_role(globals: &Globals, name: &RoleName) -> Result<Role, CliError> {
    let view = role::get(&Session::open(globals)?, name).await?;
    let role = Role::try_from(view.role.unwrap_or_default());
    role.map_err(|source| CliError::local(format!("cannot read role {name}, which a newer version has made"), source))
}
