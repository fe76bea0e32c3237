//! What can be said of a database with options, when it is added and later.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use nla_domain::database::{RolePolicy, SslMode};
use nla_proto::{convert, files, v1};

use crate::{
    commands::wire_span,
    exit::CliError,
    values::{self, parse_size, parse_span},
};

#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Host name, address, or folder of the Unix socket
    #[arg(long)]
    pub(super) host: Option<String>,
    /// TCP port [default: 5432]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The database's name on that server
    #[arg(long)]
    pub(super) dbname: Option<String>,
    /// TLS towards the server [default: verify-full]
    #[arg(long, value_parser = values::sslmode())]
    pub(super) sslmode: Option<SslMode>,
    /// PEM file with the certificates that sign the server's
    #[arg(long, value_name = "FILE")]
    root_cert: Option<PathBuf>,
    /// Shown to models, to help them choose
    #[arg(long)]
    description: Option<String>,
    /// Most rows in one answer [default: 1000]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    max_rows: Option<u32>,
    /// Most bytes in one answer, such as 4MiB [default: 4MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_bytes: Option<u64>,
    /// Longest time for one statement, such as 30s [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    statement_timeout: Option<Duration>,
    /// Connections of one token on one edge [default: 4]
    #[arg(long, value_name = "CONNECTIONS", value_parser = clap::value_parser!(u32).range(1..))]
    pool_size: Option<u32>,
    /// What to do when the database role may do more than read [default: refuse-superuser]
    #[arg(long, value_name = "POLICY", value_parser = values::role_policy())]
    role_policy: Option<RolePolicy>,
}

impl Settings {
    pub(super) fn is_empty(&self) -> bool {
        let texts = self.host.is_none() && self.dbname.is_none() && self.description.is_none();
        let tls = self.sslmode.is_none() && self.root_cert.is_none();
        let limits = self.max_rows.is_none() && self.max_bytes.is_none() && self.statement_timeout.is_none();
        let rest = self.port.is_none() && self.pool_size.is_none() && self.role_policy.is_none();
        texts && tls && limits && rest
    }

    /// Puts what was given into the database and leaves the rest as it is.
    pub(super) fn apply(&self, database: &mut v1::Database) -> Result<(), CliError> {
        let set = |field: &mut String, value: &Option<String>| {
            if let Some(value) = value {
                field.clone_from(value);
            }
        };
        set(&mut database.host, &self.host);
        set(&mut database.dbname, &self.dbname);
        set(&mut database.description, &self.description);
        database.port = self.port.map_or(database.port, u32::from);
        database.sslmode = self.sslmode.map_or(database.sslmode, |mode| convert::ssl_mode(mode).into());
        if let Some(path) = &self.root_cert {
            let pem = files::read_public(path)
                .map_err(|source| CliError::local("cannot use the root certificate", source))?;
            database.root_certificate_pem = String::from_utf8(pem)
                .map_err(|source| CliError::local(format!("{} is not PEM", path.display()), source))?;
        }
        database.role_policy =
            self.role_policy.map_or(database.role_policy, |policy| convert::role_policy(policy).into());
        let limits = database.limits.get_or_insert_default();
        limits.max_rows = self.max_rows.unwrap_or(limits.max_rows);
        limits.max_bytes = self.max_bytes.unwrap_or(limits.max_bytes);
        limits.pool_size = self.pool_size.unwrap_or(limits.pool_size);
        limits.statement_timeout = wire_span(self.statement_timeout).or(limits.statement_timeout);
        Ok(())
    }
}
