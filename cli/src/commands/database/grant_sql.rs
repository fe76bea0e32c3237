//! `nlactl database grant-sql`: from its arguments, and the definition that the
//! control plane holds, to the script of [`crate::grant`].

use std::time::Duration;

use clap::Args;
use nla_domain::{database::DatabaseLimits, id::DatabaseName};
use nla_proto::convert;

use super::get;
use crate::{
    args::Globals,
    exit::CliError,
    grant::{self, Wish},
    output::{Output, views::database::GrantSql},
    session::Session,
    values::{RelationName, parse_name, parse_server_size, parse_span},
};

#[derive(Debug, Args)]
pub(crate) struct GrantSqlArgs {
    /// What NLA calls the database
    name: DatabaseName,
    /// The database role to make
    #[arg(long, value_name = "ROLE", default_value = "nla_reader", value_parser = role_name)]
    database_role: String,
    /// A schema of which it may read everything; repeat for more [default: all, unless --table is given]
    #[arg(long = "schema", value_name = "SCHEMA", value_parser = parse_name)]
    schemas: Vec<String>,
    /// A single table or view that it may read; repeat for more
    #[arg(long = "table", value_name = "SCHEMA.TABLE")]
    tables: Vec<RelationName>,
    /// A table or view that it may not read although its schema is open; repeat for more
    #[arg(long = "exclude-table", value_name = "SCHEMA.TABLE")]
    excluded: Vec<RelationName>,
    /// Who makes new tables; repeat for more [default: who owns the present ones]
    #[arg(long = "owner", value_name = "ROLE", value_parser = parse_name)]
    owners: Vec<String>,
    /// Most connections of the role
    #[arg(long, value_name = "CONNECTIONS", value_parser = clap::value_parser!(u32).range(1..=262_143))]
    connection_limit: Option<u32>,
    /// Longest time for a statement, such as 30s [default: the database's]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    statement_timeout: Option<Duration>,
    /// Most disk for sorting and hashing in one session, such as 1GB
    #[arg(long, value_name = "SIZE", default_value = "1GB", value_parser = parse_server_size)]
    temp_file_limit: u64,
    /// Leave alone what everybody has through PUBLIC
    #[arg(long)]
    no_public: bool,
    /// Ask no control plane; needs --dbname
    #[arg(long, requires = "dbname")]
    offline: bool,
    /// The database's name on its server [default: as defined]
    #[arg(long, value_parser = parse_name)]
    dbname: Option<String>,
}

/// Names that PostgreSQL keeps for itself would fail only when the script runs.
fn role_name(text: &str) -> Result<String, String> {
    if text.starts_with("pg_") || ["public", "none"].contains(&text) {
        return Err(format!("PostgreSQL keeps the name {text} for itself: choose another"));
    }
    parse_name(text)
}

impl GrantSqlArgs {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        self.check()?;
        let (dbname, timeout) = match &self.dbname {
            Some(dbname) if self.offline => (dbname.clone(), None),
            _ => self.defined(globals).await?,
        };
        let database_role = self.database_role.clone();
        let wish = Wish {
            database: self.name.to_string(),
            dbname,
            reader: database_role.clone(),
            schemas: distinct(&self.schemas),
            tables: distinct(&self.tables),
            excluded: distinct(&self.excluded),
            owners: distinct(&self.owners),
            connection_limit: self.connection_limit,
            statement_timeout: self
                .statement_timeout
                .or(timeout)
                .unwrap_or(DatabaseLimits::default().statement_timeout),
            temp_file_limit_bytes: self.temp_file_limit,
            from_public: !self.no_public,
        };
        let sql = grant::script(&wish);
        let shown = GrantSql { database: wish.database, database_role, sql };
        output.script(&shown.sql, &shown)
    }

    /// What the single arguments' types cannot express.
    fn check(&self) -> Result<(), CliError> {
        if let Some(table) = self.excluded.iter().find(|table| self.tables.contains(table)) {
            let message = format!("{}.{} is named by --table and by --exclude-table", table.schema, table.name);
            return Err(CliError::usage(message));
        }
        let everything = self.schemas.is_empty() && self.tables.is_empty();
        if let Some(table) = self.excluded.iter().find(|table| !everything && !self.schemas.contains(&table.schema)) {
            let message = format!("--exclude-table {}.{} has no --schema to be left out of", table.schema, table.name);
            return Err(CliError::usage(message));
        }
        // 2,147,483,647 is the largest value of both settings, in ms and in kB.
        const LARGEST: u64 = i32::MAX as u64;
        let timeout_ms = self.statement_timeout.map_or(1, |timeout| timeout.as_millis());
        if timeout_ms == 0 || timeout_ms > u128::from(LARGEST) {
            return Err(CliError::usage("--statement-timeout must be between 1ms and 24d, as 0 would mean no limit"));
        }
        if !(1..=LARGEST).contains(&(self.temp_file_limit / 1_024)) {
            return Err(CliError::usage("--temp-file-limit must be between 1kB and 2047GB"));
        }
        Ok(())
    }

    /// As the control plane knows it.
    async fn defined(&self, globals: &Globals) -> Result<(String, Option<Duration>), CliError> {
        let view = get(&Session::open(globals)?, &self.name).await?;
        let database = view.database.unwrap_or_default();
        let timeout = database.limits.and_then(|limits| limits.statement_timeout);
        let timeout = timeout.and_then(|timeout| convert::from_duration("statement_timeout", &timeout).ok());
        Ok((self.dbname.clone().unwrap_or(database.dbname), timeout.filter(|timeout| !timeout.is_zero())))
    }
}

fn distinct<T: Clone + PartialEq>(items: &[T]) -> Vec<T> {
    let mut kept: Vec<T> = Vec::with_capacity(items.len());
    for item in items {
        if !kept.contains(item) {
            kept.push(item.clone());
        }
    }
    kept
}
