//! The commands, a file for each noun: its arguments beside what it does. A
//! command checks its arguments, asks for a confirmation where it destroys,
//! makes its calls and shows one result.

mod audit;
mod ca;
mod check;
mod config;
mod credential;
mod database;
mod edge;
mod key;
mod operator;
mod receipt;
mod role;
mod system;
mod token;

use clap::{CommandFactory as _, Subcommand};
use clap_complete::Shell;
use nla_domain::clock::Timestamp;

use crate::{
    args::{Cli, Globals},
    exit::CliError,
    output::{Output, views::system::Version},
    session::Session,
};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tokens: what agents present to the edges
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// PostgreSQL databases that agents may be let at
    #[command(subcommand)]
    Database(database::DatabaseCommand),
    /// How NLA logs in to the databases
    #[command(subcommand)]
    Credential(credential::CredentialCommand),
    /// Roles: what tokens may do
    #[command(subcommand)]
    Role(role::RoleCommand),
    /// Ask the guard about a statement, without running it
    #[command(after_help = "\
The verdict is the one of an edge. Without --role the strictest rules hold, and no
control plane is asked. Ends with 7 when the statement is refused.

Examples:
  nlactl check 'SELECT count(*) FROM shop.orders'
  nlactl check --file report.sql --catalog shop.catalog.json --explain
  nlactl check --role reporting --database shop 'SELECT shop.order_total(7)' -o json
  nlactl check --allow-relation pg_catalog.pg_stat_activity 'SELECT state FROM pg_stat_activity'")]
    Check(Box<check::Check>),
    /// Edges: where agents connect
    #[command(subcommand)]
    Edge(edge::EdgeCommand),
    /// Operators: who administers
    #[command(subcommand)]
    Operator(operator::OperatorCommand),
    /// The certificate authority, and its replacement
    #[command(subcommand)]
    Ca(ca::CaCommand),
    /// Keys of the store and of the tokens, and their rotation
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// The audit log: who did what
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Receipts: whether a change holds on every edge
    #[command(subcommand)]
    Receipt(receipt::ReceiptCommand),
    /// The control plane as a whole
    #[command(subcommand)]
    System(system::SystemCommand),
    /// Contexts: which control plane, and as whom
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  nlactl completion bash > ~/.local/share/bash-completion/completions/nlactl")]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print this program's version
    #[command(after_help = "Examples:\n  nlactl version --output json")]
    Version,
}

/// Runs one command.
///
/// # Errors
/// [`CliError`], which says how the process ends.
pub(crate) async fn run(command: &Command, globals: &Globals, output: &Output) -> Result<(), CliError> {
    let session = || Session::open(globals);
    match command {
        // What is wrong with the arguments shows before a context is needed,
        // so each noun opens its session itself.
        Command::Token(command) => command.run(globals, output).await,
        Command::Database(command) => command.run(globals, output).await,
        Command::Credential(command) => command.run(globals, output).await,
        Command::Role(command) => command.run(globals, output).await,
        Command::Check(command) => command.run(globals, output).await,
        Command::Edge(command) => command.run(globals, output).await,
        Command::Operator(command) => command.run(globals, output).await,
        Command::Ca(command) => command.run(globals, output).await,
        Command::Key(command) => command.run(globals, output).await,
        Command::Audit(command) => command.run(&session()?, output).await,
        Command::Receipt(command) => command.run(globals, output).await,
        Command::System(command) => command.run(globals, output).await,
        Command::Config(command) => command.run(globals, output),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "nlactl", &mut script);
            output.raw(&String::from_utf8_lossy(&script))
        }
        Command::Version => output.result(&Version { version: env!("CARGO_PKG_VERSION") }),
    }
}

fn wire_time(at: Option<Timestamp>) -> Option<prost_types::Timestamp> {
    at.map(nla_proto::convert::timestamp)
}

fn wire_span(span: Option<std::time::Duration>) -> Option<prost_types::Duration> {
    span.map(nla_proto::convert::duration)
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
