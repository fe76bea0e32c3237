//! Serves the conformance fixtures on loopback: `conformance-server [ADDRESS]`, by default a free port.
//!
//! Started by `tests/conformance/run.sh`, which reads the URL from the first line of standard output.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use axum::serve::ListenerExt as _;
use nla_edge::mcp::{self, options::Options};
use nla_tests::conformance::Fixtures;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address: SocketAddr = match std::env::args().nth(1) {
        Some(text) => text.parse().context("ADDRESS must be like 127.0.0.1:8931")?,
        None => (Ipv4Addr::LOCALHOST, 0).into(),
    };
    ensure!(address.ip().is_loopback(), "the fixtures have no authentication: loopback only");
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let options = Options { allowed_origins: vec![format!("http://{address}")], ..Options::default() };
    let router = mcp::router(Arc::new(Fixtures::new()?), options);
    writeln!(std::io::stdout(), "http://{address}/mcp")?;
    // Small event-stream frames would otherwise wait for the client's delayed acknowledgement.
    let listener = listener.tap_io(|stream| {
        let _best_effort = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}
