//! `nla-edge`: reads its configuration and runs one edge until it is told to
//! stop.

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use nla_domain::secret::Secret;
use nla_edge::{
    app,
    config::{Config, LogConfig, LogFormat, Overrides},
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

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
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks the configuration and does nothing else.
    CheckConfig(Options),
}

#[derive(Debug, Args)]
struct Options {
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

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Command::CheckConfig(options)) => load(options).map(|_| eprint("the configuration is good")),
        None => load(cli.options).and_then(serve),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint(&format!("nla-edge: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn load(options: Options) -> anyhow::Result<Config> {
    // Read here and not by clap, so that it can never be an argument.
    let join_token = std::env::var("NLA_JOIN_TOKEN").ok().filter(|text| !text.is_empty()).map(Secret::new);
    if join_token.is_some() {
        eprint("nla-edge: NLA_JOIN_TOKEN is set; other processes of this user can read it, a file is safer");
    }
    let overrides = Overrides {
        control_plane_url: options.control_plane_url,
        enrolment_url: options.enrolment_url,
        join_token_file: options.join_token_file,
        join_token,
        state_dir: options.state_dir,
        listen: options.listen,
        public_url: options.public_url,
        log_format: options.log_format,
        log_level: options.log_level,
    };
    Config::load(options.config.as_deref(), overrides).context("the configuration cannot be used")
}

fn serve(config: Config) -> anyhow::Result<()> {
    start_logging(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.cancel();
        });
        Box::pin(app::build(config).await?.run(shutdown)).await?;
        Ok(())
    })
}

fn start_logging(log: &LogConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(&log.level).context("log.level")?;
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match log.format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the program's own messages, before and after logging")]
fn eprint(text: &str) {
    eprintln!("{text}");
}
