//! `nlactl credential rotation-sql`: from its arguments to the script of
//! [`crate::grant`]. It asks no control plane.

use std::time::Duration;

use clap::Args;
use nla_domain::{database::DatabaseLimits, id::DatabaseName};

use crate::{
    exit::CliError,
    grant::{Rotating, rotation_script},
    output::{Output, views::credential_rotation::RotationSql},
    values::{parse_name, parse_span},
};

#[derive(Debug, Args)]
pub(crate) struct RotationSqlArgs {
    /// What NLA calls the database
    database: DatabaseName,
    /// The role whose rights the two login roles have
    #[arg(long, value_name = "ROLE", default_value = "nla_reader", value_parser = parse_name)]
    reader: String,
    /// The login roles; give two [default: the reader's name with _a and _b]
    #[arg(long = "role", value_name = "ROLE", num_args = 1, value_parser = parse_name)]
    roles: Vec<String>,
    /// The role that sets their passwords
    #[arg(long, value_name = "ROLE", default_value = "nla_manager", value_parser = parse_name)]
    manager: String,
    /// Longest time for a statement
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    statement_timeout: Option<Duration>,
}

impl RotationSqlArgs {
    pub(super) fn run(&self, output: &Output) -> Result<(), CliError> {
        let pair: [String; 2] = if self.roles.is_empty() {
            ["a", "b"].map(|suffix| format!("{}_{suffix}", self.reader))
        } else {
            self.roles
                .clone()
                .try_into()
                .map_err(|_| CliError::usage("exactly two roles take turns: give --role twice"))?
        };
        let [a, b] = &pair;
        if a == b || [a, b].contains(&&self.manager) || [a, b].contains(&&self.reader) || self.manager == self.reader {
            return Err(CliError::usage("the two roles, the reader and the manager must be four different ones"));
        }
        let statement_timeout = self.statement_timeout.unwrap_or(DatabaseLimits::default().statement_timeout);
        let rotating = Rotating {
            database: self.database.to_string(),
            reader: self.reader.clone(),
            pair,
            manager: self.manager.clone(),
            statement_timeout,
        };
        let sql = rotation_script(&rotating);
        let shown = RotationSql { database: rotating.database, roles: rotating.pair, manager: rotating.manager, sql };
        output.script(&shown.sql, &shown)
    }
}
