//! The program's command line.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use nla_domain::secret::Secret;
use nla_edge::config::{Config, Overrides};

use super::eprint;

/// Serves MCP over HTTPS to agents and runs their SQL, read-only.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  nla-edge --config /etc/nla/edge.toml
  nla-edge --config edge.toml --join-token-file /run/nla/join-token
  nla-edge check-config --config edge.toml

A join token comes from `nlactl edge join-token NAME` and works once, for ten minutes.
It is read from a file with mode 0600, or from NLA_JOIN_TOKEN, and never from an argument."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Checks the configuration and does nothing else.
    CheckConfig(Options),
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Configuration file, TOML or YAML by its ending.
    #[arg(long, value_name = "FILE", env = "NLA_EDGE_CONFIG")]
    config: Option<PathBuf>,
    /// The control plane, as https://host:port.
    #[arg(long, value_name = "URL", env = "NLA_CONTROL_PLANE_URL")]
    control_plane_url: Option<String>,
    /// The control plane's enrolment listener, as https://host:port.
    #[arg(long, value_name = "URL", env = "NLA_ENROLMENT_URL")]
    enrolment_url: Option<String>,
    /// File with a join token, mode 0600.
    #[arg(long, value_name = "FILE", env = "NLA_JOIN_TOKEN_FILE")]
    join_token_file: Option<PathBuf>,
    /// Folder in which the edge keeps its key and certificate.
    #[arg(long, value_name = "FOLDER", env = "NLA_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Where MCP clients connect, as address:port.
    #[arg(long, value_name = "ADDRESS", env = "NLA_LISTEN")]
    listen: Option<String>,
    /// Where clients reach this edge, if that is another URL.
    #[arg(long, value_name = "URL", env = "NLA_PUBLIC_URL")]
    public_url: Option<String>,
    /// Form of log lines: text or json.
    #[arg(long, value_name = "FORMAT", env = "NLA_LOG_FORMAT")]
    log_format: Option<String>,
    /// A level or directives, such as info,nla_edge=debug.
    #[arg(long, value_name = "LEVEL", env = "NLA_LOG_LEVEL")]
    log_level: Option<String>,
}

impl Options {
    /// Reads the configuration that these options name and change.
    pub(crate) fn load(self) -> anyhow::Result<Config> {
        // Read here and not by clap, so that it can never be an argument.
        let join_token = std::env::var("NLA_JOIN_TOKEN").ok().filter(|text| !text.is_empty()).map(Secret::new);
        if join_token.is_some() {
            eprint("nla-edge: NLA_JOIN_TOKEN is set; other processes of this user can read it, a file is safer");
        }
        let overrides = Overrides {
            control_plane_url: self.control_plane_url,
            enrolment_url: self.enrolment_url,
            join_token_file: self.join_token_file,
            join_token,
            state_dir: self.state_dir,
            listen: self.listen,
            public_url: self.public_url,
            log_format: self.log_format,
            log_level: self.log_level,
        };
        Config::load(self.config.as_deref(), overrides).context("the configuration cannot be used")
    }
}
