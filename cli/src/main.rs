//! `nlactl`, the operator's hand: parses the command line, runs one command
//! over the public gRPC API and ends with an exit code that scripts can act on.

mod args;
mod commands;
mod context;
mod exit;
mod grant;
mod input;
mod output;
mod session;
mod values;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{args::Cli, exit::CliError, output::Output};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::for_process(cli.globals.output, cli.globals.quiet);
    match run(&cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            exit::report(&error);
            ExitCode::from(error.exit() as u8)
        }
    }
}

fn run(cli: &Cli, output: &Output) -> Result<(), CliError> {
    // One command makes a handful of calls in order: one thread is enough.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::local("cannot start the runtime", source))?;
    runtime.block_on(commands::run(&cli.command, &cli.globals, output))
}
