//! `cargo run --release --package nla-tests --bin load -- fanout`: measures the
//! system under load and prints what it found. Goals that are missed end it
//! with 1.

use clap::{Parser, Subcommand};
use nla_tests::load::{bare, fanout};

#[derive(Debug, Parser)]
#[command(about = "Measures NLA under load")]
struct Arguments {
    #[command(subcommand)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Target {
    /// Revocations that reach many edges, beside a bare gRPC broadcast
    #[command(after_help = "Examples:\n  load fanout\n  load fanout --edges 20 --tokens 500 --runs 20 --json")]
    Fanout(fanout::Arguments),
    /// The broadcast server that `fanout` starts beside the control plane
    #[command(hide = true)]
    BareServer(bare::Arguments),
}

#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    match Arguments::parse().target {
        Target::Fanout(arguments) => Box::pin(fanout::run(arguments)).await,
        Target::BareServer(arguments) => bare::serve(arguments).await.map(|()| std::process::ExitCode::SUCCESS),
    }
}
