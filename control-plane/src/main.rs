//! The program `nla-control-plane`: reads its arguments, then serves,
//! initialises, lets an admin in again, checks or restores.

mod arguments;
mod maintenance;

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context as _, Error, Result};
use arguments::{Cli, Command, InitArgs, OperatorCertificateArgs, RestoreArgs, RotateKekArgs, RunArgs};
use clap::Parser as _;
use nla_control_plane::{
    app,
    config::{Config, default_config_file},
    init::{InitOptions, RecoverOptions, init, operator_certificate, rotate_kek},
};
use nla_proto::startup::start_logging;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> ExitCode {
    match dispatch(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// One line for people: what failed, then why, without a backtrace.
fn report(error: &Error) {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    // Without standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "nla-control-plane: {}", causes.join(": "));
}

async fn dispatch(cli: Cli) -> Result<()> {
    match cli.command {
        None => run(cli.run).await,
        Some(Command::Run(args)) => run(args).await,
        Some(Command::Init(args)) => initialise(args).await,
        Some(Command::OperatorCertificate(args)) => recover(args).await,
        Some(Command::RotateKek(args)) => offline_kek(args).await,
        Some(Command::Verify(args)) => maintenance::verify(load(args)?).await,
        Some(Command::VerifyBackup(args)) => maintenance::verify_backup(&args),
        Some(Command::Restore(RestoreArgs { file, replace, run })) => maintenance::restore(&file, &load(run)?, replace),
        Some(Command::CheckConfig(args)) => {
            load(args)?;
            writeln!(std::io::stdout(), "the configuration is valid")?;
            Ok(())
        }
    }
}

fn load(args: RunArgs) -> Result<Config> {
    let file = args.config.clone();
    Ok(Config::load(file.as_deref(), args.overrides())?)
}

async fn run(args: RunArgs) -> Result<()> {
    let config = load(args)?;
    start_logging(&config.log).context("cannot start logging")?;
    let app = Box::pin(app::build(config)).await?;
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        stop.cancel();
    });
    Box::pin(app.run(shutdown)).await?;
    Ok(())
}

async fn initialise(args: InitArgs) -> Result<()> {
    let config = args.config.unwrap_or_else(|| default_config_file(&args.data_dir));
    let report = init(InitOptions {
        key_file: args.key_file,
        operator_dir: args.operator_dir,
        config: Some(config),
        operator: args.operator,
        trust_domain: args.trust_domain,
        names: args.names,
        ..InitOptions::new(args.data_dir)
    })
    .await?;
    write!(std::io::stdout(), "{report}")?;
    Ok(())
}

async fn offline_kek(args: RotateKekArgs) -> Result<()> {
    let RotateKekArgs { new_key, run } = args;
    let config = load(run)?;
    let generation = rotate_kek(&config, &new_key).await?;
    let (new, old) = (new_key.display(), config.key_file.display());
    writeln!(std::io::stdout(), "The store is opened by {new} from now on (generation {generation}).")?;
    writeln!(
        std::io::stdout(),
        "\nNext:\n  hand it in where {old} is handed in now, or set key_file\n  start the service\n  keep a copy of it elsewhere, and the old one for backups made before"
    )?;
    Ok(())
}

async fn recover(args: OperatorCertificateArgs) -> Result<()> {
    let OperatorCertificateArgs { name, out, create, run } = args;
    let made = operator_certificate(&load(run)?, RecoverOptions { name, create, out }).await?;
    let out = made.out.display();
    writeln!(std::io::stdout(), "Made {out}; the certificate is valid until {}.", made.expires_at)?;
    writeln!(std::io::stdout(), "\nNext:\n  start the service\n  export NLA_CONFIG_DIR={out}\n  nlactl system status")?;
    Ok(())
}
