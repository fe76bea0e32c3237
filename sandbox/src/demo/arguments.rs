//! The demo's command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// How the result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON object on one line when ready, and nothing else on stdout.
    Json,
}

/// Starts a whole NLA on this machine: PostgreSQL with sample data, a control
/// plane and edges; makes an MCP call to each edge and stays up until Ctrl-C.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "nla-demo",
    version,
    after_help = "Examples:
  nla-demo                             until Ctrl-C
  nla-demo --exit                      only the example
  nla-demo --output json               for scripts
  nla-demo --postgres-url 'postgres://me@db.example.com/app?sslmode=require'

With --postgres-url the password may come from the environment (PGPASSWORD),
where other users of this machine do not see it."
)]
pub struct Arguments {
    /// How to print the result.
    #[arg(long, value_enum, default_value = "text")]
    pub output: Output,
    /// Stop after the example.
    #[arg(long)]
    pub exit: bool,
    /// Keep everything in this folder, which must be empty or new; otherwise a
    /// temporary folder is used and removed.
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Use this database instead of a private PostgreSQL with sample data. It is
    /// only read. Its user must not be a superuser (see `nlactl database
    /// grant-sql`). Accepts sslmode and sslrootcert; the default for sslmode is
    /// verify-full, on loopback disable.
    #[arg(long, value_name = "URL", env = "NLA_POSTGRES_URL", hide_env_values = true)]
    pub postgres_url: Option<String>,
    /// How many edges to start.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub edges: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn edges_are_bounded() {
        for (count, accepted) in [("0", false), ("1", true), ("16", true), ("17", false), ("x", false)] {
            assert_eq!(Arguments::try_parse_from(["nla-demo", "--edges", count]).is_ok(), accepted, "{count}");
        }
    }
}
