//! An edge in a folder, run in process, restartable on the same port.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nla_domain::secret::Secret;
use nla_edge::{
    app,
    audit::QueueLimits,
    config::{CERTIFICATE_LOOK_EVERY, Config, Limits, LogConfig, Transport},
    identity::{IdentityConfig, JoinSource, Storage},
    listener::ready::{JOIN_TOKEN_NEEDED, Readiness},
};
use nla_proto::files;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{ControlPlane, on_its_port, wait_for};
use crate::{certificate, port::free_port};

/// Time for running calls when an edge of the sandbox stops.
const SHUTDOWN: std::time::Duration = std::time::Duration::from_secs(5);

/// The certificate with which all edges of a sandbox serve HTTPS.
#[derive(Clone, Debug)]
pub struct WebCertificate {
    /// What MCP clients must trust.
    pub ca: PathBuf,
    /// The chain.
    pub chain: PathBuf,
    /// The private key, mode 0600.
    pub key: PathBuf,
}

impl WebCertificate {
    /// Makes one for loopback.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn make(folder: &Path) -> Result<Self> {
        let issued = certificate::issue("NLA sandbox edge").context("cannot make the edges' certificate")?;
        let made = Self { ca: folder.join("web-ca.pem"), chain: folder.join("web.pem"), key: folder.join("web.key") };
        files::write_public(&made.ca, issued.ca.as_bytes())?;
        files::write_public(&made.chain, issued.chain.as_bytes())?;
        files::write_private(&made.key, issued.key.as_bytes())?;
        Ok(made)
    }
}

/// A running edge. It ends when this value is dropped.
#[derive(Debug)]
pub struct Edge {
    id: String,
    config: Config,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    readiness: Readiness,
    stop: CancellationToken,
    task: JoinHandle<Result<(), app::AppError>>,
}

impl Edge {
    /// Enrols an edge with a join token and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be enrolled or does not become ready.
    pub async fn start(
        id: &str,
        folder: &Path,
        control_plane: &ControlPlane,
        web: &WebCertificate,
        join_token: Secret,
    ) -> Result<Self> {
        files::create_private_dir(folder)?;
        let join_token_file = folder.join("join-token");
        files::write_private(&join_token_file, join_token.expose().as_bytes())?;
        let config = Config {
            identity: IdentityConfig {
                control_plane_url: control_plane.url(),
                enrolment_url: Some(control_plane.enrolment_url()),
                join: JoinSource { file: Some(join_token_file), text: None },
                storage: Storage::File(folder.join("state")),
            },
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)),
            transport: Transport::Https {
                certificate: web.chain.clone(),
                key: web.key.clone(),
                look_every: CERTIFICATE_LOOK_EVERY,
            },
            public_url: None,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
            audit: QueueLimits::default(),
            shutdown_deadline: SHUTDOWN,
            log: LogConfig::default(),
        };
        let mut edge = Self { id: id.into(), config, running: None };
        edge.resume().await?;
        edge.ready().await?;
        Ok(edge)
    }

    /// Starts it again after [`Edge::stop`], where it was before; it may take a
    /// moment until it is ready.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn resume(&mut self) -> Result<()> {
        let config = &self.config;
        let app =
            on_its_port(|| app::build(config.clone())).await.with_context(|| format!("cannot start {}", self.id))?;
        self.config.listen = app.address();
        let (readiness, stop) = (app.readiness(), CancellationToken::new());
        let task = tokio::spawn(Box::pin(app.run(stop.clone())));
        self.running = Some(Running { readiness, stop, task });
        Ok(())
    }

    /// Stops it as SIGTERM would, and waits for its end.
    ///
    /// # Errors
    /// When it had failed before.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(running) = self.running.take() {
            running.stop.cancel();
            running.task.await.with_context(|| format!("{} panicked", self.id))??;
        }
        Ok(())
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready, or has ended; the error says why.
    pub async fn ready(&mut self) -> Result<()> {
        let running = self.running.as_mut().context("the edge is stopped")?;
        let readiness = running.readiness.clone();
        let waited = tokio::select! {
            waited = wait_for("readiness", || async { settled(&readiness) }) => waited,
            ended = &mut running.task => {
                self.running = None;
                ended.with_context(|| format!("{} panicked", self.id))?
                    .with_context(|| format!("{} ended", self.id))?;
                anyhow::bail!("{} ended before it was ready", self.id)
            }
        };
        let report = readiness.report(false);
        waited
            .and_then(|()| if report.ready { Ok(()) } else { anyhow::bail!("it needs a join token") })
            .with_context(|| format!("{} is not ready: {:?}", self.id, report.reasons))
    }

    /// Waits until it decides by that revision or a later one.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn holds(&self, revision: u64) -> Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        wait_for("the newest revision on an edge", || async {
            running.readiness.report(false).revision.is_some_and(|held| held >= revision)
        })
        .await
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where MCP clients connect.
    pub fn mcp_url(&self) -> String {
        format!("https://{}/mcp", self.config.listen)
    }

    /// The TCP address behind [`Edge::mcp_url`].
    pub fn address(&self) -> SocketAddr {
        self.config.listen
    }

    /// How it is configured; a change counts from the next start.
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
}

/// Ready, or never without somebody's doing.
fn settled(readiness: &Readiness) -> bool {
    let report = readiness.report(false);
    report.ready || report.reasons.iter().any(|reason| reason.reason == JOIN_TOKEN_NEEDED)
}

impl Drop for Edge {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.stop.cancel();
        }
    }
}
