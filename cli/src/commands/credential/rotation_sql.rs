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
    /// The login roles; give two [default: READER_DATABASE_a and READER_DATABASE_b]
    #[arg(long = "role", value_name = "ROLE", num_args = 1, value_parser = parse_name)]
    roles: Vec<String>,
    /// The role that sets their passwords
    #[arg(long, value_name = "ROLE", default_value = "nla_manager", value_parser = parse_name)]
    manager: String,
    /// Longest time for a statement
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    statement_timeout: Option<Duration>,
}

/// PostgreSQL cuts longer names without an error.
const MAX_ROLE_BYTES: usize = 63;

/// The database's name is in it: databases on one server share its roles, and
/// each rotation shuts one of its own.
fn default_pair(reader: &str, database: &str) -> Result<[String; 2], CliError> {
    let pair = ["a", "b"].map(|suffix| format!("{reader}_{database}_{suffix}"));
    if pair[0].len() > MAX_ROLE_BYTES {
        let message = format!("{} has more than the {MAX_ROLE_BYTES} bytes of a role's name", pair[0]);
        return Err(CliError::usage(message).with_next("name two shorter roles with --role"));
    }
    Ok(pair)
}

impl RotationSqlArgs {
    pub(super) fn run(&self, output: &Output) -> Result<(), CliError> {
        let pair: [String; 2] = if self.roles.is_empty() {
            default_pair(&self.reader, self.database.as_str())?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_has_a_pair_of_its_own_that_postgresql_does_not_cut() {
        assert_eq!(default_pair("nla_reader", "shop").unwrap(), ["nla_reader_shop_a", "nla_reader_shop_b"]);
        assert_eq!(default_pair("r", &"x".repeat(59)).unwrap()[0].len(), MAX_ROLE_BYTES);
        assert!(default_pair("r", &"x".repeat(60)).is_err());
    }
}
