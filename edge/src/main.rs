//! `nla-edge`: reads its configuration and runs one edge until it is told to
//! stop.

mod arguments;

use std::process::ExitCode;

use anyhow::Context;
use arguments::{Cli, Command};
use clap::Parser;
use nla_edge::{app, config::Config};
use nla_proto::startup::start_logging;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Command::CheckConfig(options)) => options.load().map(|_| eprint("the configuration is good")),
        None => cli.options.load().and_then(serve),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint(&format!("nla-edge: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config) -> anyhow::Result<()> {
    start_logging(&config.log).context("cannot start logging")?;
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

#[expect(clippy::print_stderr, reason = "the program's own messages, before and after logging")]
fn eprint(text: &str) {
    eprintln!("{text}");
}
