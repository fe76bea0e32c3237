//! An edge, put together. `main` and the sandbox build and run it. Invariants:
//! nothing talks to the control plane before the edge has its identity; a
//! background task that ends takes the process with it; at the end readiness
//! goes first, running calls finish, and what was recorded is delivered.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use nla_domain::clock::{SystemClock, WallClock};
use nla_guard::ParserError;
use nla_proto::files::{self, FileError};
use tokio::task::{JoinError, JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

pub use crate::config::Config;
use crate::{
    audit::{AuditQueue, Delivery},
    clock::{BootClock, FleetClock},
    config::Transport,
    identity::{Identity, IdentityError, Renewal, Storage, Trust},
    listener::{
        ListenError, Listener,
        address::AddressLimiter,
        certificate::PublicCertificate,
        ready::Readiness,
        routes::{self, McpSlot},
    },
    mcp::{self, options::Options},
    pipeline::{Pipeline, PipelineConfig},
    snapshot::SnapshotHolder,
    sync::{Hooks, Introduction, SyncClient},
    tools::EdgeHandler,
};

/// Time that recorded events get to reach the control plane when the process
/// ends, beyond what running calls have used.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);

/// Why the edge does not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The listener for MCP clients.
    #[error("the edge cannot listen for MCP clients")]
    Listen(#[from] ListenError),
    /// The folder of the stored identity.
    #[error("the edge's state folder cannot be used")]
    State(#[from] FileError),
    /// Enrolment.
    #[error("the edge has no identity")]
    Identity(#[from] IdentityError),
    /// The guard's threads.
    #[error("the SQL parser cannot be started")]
    Parser(#[from] ParserError),
    /// A task that should never end.
    #[error("a background task of the edge has ended; this is a defect")]
    Task(#[source] JoinError),
}

/// An edge that listens and does not serve yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    listener: Listener,
    limiter: AddressLimiter,
    holder: SnapshotHolder,
    audit: AuditQueue,
    readiness: Readiness,
    wall: Arc<dyn WallClock>,
    fleet: FleetClock,
    boot_id: String,
}

/// Binds the listener and loads what lies on this machine.
///
/// # Errors
/// [`AppError`] says what cannot be used.
pub async fn build(config: Config) -> Result<App, AppError> {
    if let Storage::File(folder) = &config.identity.storage
        && !folder.exists()
    {
        files::create_private_dir(folder)?;
    }
    let listener =
        Listener::bind(config.listen, &config.transport, config.limits, config.trusted_proxies.clone()).await?;
    let wall: Arc<dyn WallClock> = Arc::new(SystemClock);
    let fleet = FleetClock::new(Arc::clone(&wall), Arc::new(BootClock));
    let boot_id = Uuid::new_v4().to_string();
    let holder = SnapshotHolder::new(Arc::new(BootClock));
    let audit = AuditQueue::new(boot_id.clone(), config.audit, Arc::clone(&wall));
    let readiness = Readiness::new(holder.clone(), audit.clone(), fleet.clone());
    if let Some(certificate) = listener.certificate() {
        readiness.with_certificate(certificate, Arc::clone(&wall));
    }
    let limiter = AddressLimiter::new(&config.limits);
    Ok(App { config, listener, limiter, holder, audit, readiness, wall, fleet, boot_id })
}

impl App {
    /// Where MCP clients connect, with the port that the kernel chose.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The URL of the MCP endpoint.
    pub fn mcp_url(&self) -> String {
        let scheme = match self.config.transport {
            Transport::Https { .. } => "https",
            Transport::PlainHttp => "http",
        };
        self.config.public_url.clone().unwrap_or_else(|| format!("{scheme}://{}/mcp", self.address()))
    }

    /// For whoever runs the edge in its own process.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Serves until `shutdown`, then drains.
    ///
    /// # Errors
    /// [`AppError`] when the edge cannot be enrolled or a part of it ends.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), AppError> {
        let mcp_url = self.mcp_url();
        tracing::info!(address = %self.address(), mcp_url, "listening for MCP clients");
        let slot = McpSlot::default();
        let router = routes::router(slot.clone(), &self.limiter, self.readiness.clone());
        let stop = CancellationToken::new();
        // Whatever way this function ends, the listener goes with it.
        let _stop_listening = stop.clone().drop_guard();
        let mut tasks = JoinSet::new();
        // Before the edge is enrolled too: clients connect already, and it may take long.
        let web_certificate = self.listener.certificate();
        if let Some(certificate) = &web_certificate {
            tasks.spawn(certificate.watch(Arc::clone(&self.wall)).run());
        }
        let serving = tokio::spawn(self.listener.serve(router, stop.clone(), self.config.shutdown_deadline));

        let (wall, trouble) = (Arc::clone(&self.wall), self.readiness.trouble());
        let obtaining = Identity::obtain(self.config.identity.clone(), wall, trouble);
        let obtained = tokio::select! {
            obtained = obtaining => obtained,
            () = shutdown.cancelled() => return Ok(()),
        };
        let identity = obtained?;
        self.readiness.enrolled();

        let settings = PipelineConfig::new(identity.enrolled().edge_id().clone(), Arc::new(self.fleet.clone()));
        let pipeline = Pipeline::new(self.holder.clone(), self.audit.clone(), settings)?;
        let reporting = Arc::downgrade(&pipeline);
        self.readiness.with_databases(Box::new(move || {
            reporting.upgrade().map(|pipeline| pipeline.database_reports()).unwrap_or_default()
        }));
        let calls = TaskTracker::new();
        let options = Options {
            allowed_origins: self.config.allowed_origins.clone(),
            tasks: calls.clone(),
            // Without sessions an answer whose connection is gone reaches nobody,
            // so the query behind it only costs.
            cancel_legacy_on_disconnect: true,
            ..Options::default()
        };
        slot.open(mcp::router(Arc::new(EdgeHandler::new(Arc::clone(&pipeline))), options));

        let url = self.config.identity.control_plane_url.clone();
        tasks.spawn(Delivery::new(self.audit.clone(), url.clone(), identity.tls()).run());
        tasks.spawn(
            SyncClient {
                url,
                tls: identity.tls(),
                identities: identity.changes(),
                holder: self.holder.clone(),
                audit: self.audit.clone(),
                hooks: hooks(&pipeline, identity.trust(), web_certificate),
                introduction: Introduction { boot_id: self.boot_id, mcp_url },
                wall: self.fleet,
            }
            .run(),
        );
        tasks.spawn(Renewal::new(identity, self.holder).run());
        tasks.spawn(self.limiter.forget_quiet());

        let outcome = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            Some(ended) = tasks.join_next() => match ended {
                Ok(never) => match never {},
                Err(error) => Err(AppError::Task(error)),
            },
        };
        tracing::info!("stopping: running calls finish, new ones are refused");
        self.readiness.stopping();
        stop.cancel();
        let began = Instant::now();
        let deadline = self.config.shutdown_deadline;
        if !pipeline.drain(deadline).await {
            tracing::warn!("some calls did not finish in time and were cancelled");
        }
        calls.close();
        let rest = || deadline.saturating_sub(began.elapsed()) + Duration::from_secs(1);
        if tokio::time::timeout(rest(), calls.wait()).await.is_err() {
            tracing::warn!(calls = calls.len(), "some calls did not end");
        }
        // The listener cuts its connections at the same deadline by itself.
        if tokio::time::timeout(rest(), serving).await.is_err() {
            tracing::warn!("the listener did not end in time");
        }
        if !self.audit.flush(FLUSH_DEADLINE).await {
            tracing::error!(events = self.audit.waiting(), "audit events could not be delivered before the end");
        }
        outcome
    }
}

fn hooks(pipeline: &Arc<Pipeline>, trust: Trust, web_certificate: Option<PublicCertificate>) -> Hooks {
    let [cutting, probing, counting, telling] = [0; 4].map(|_| Arc::clone(pipeline));
    Hooks {
        cut: Arc::new(move || cutting.cut()),
        probe: Arc::new(move |database, candidate| {
            let pipeline = Arc::clone(&probing);
            Box::pin(async move {
                match candidate {
                    Some(candidate) => pipeline.probe_with(&database, candidate).await,
                    None => pipeline.probe(&database).await,
                }
            })
        }),
        usage: Arc::new(move || counting.usage()),
        token_uses: Arc::new(move |most| telling.token_uses(most)),
        trust: Arc::new(move |bundle_pem| {
            let trust = trust.clone();
            Box::pin(async move { trust.take(bundle_pem).await })
        }),
        web_certificate: Arc::new(move || web_certificate.as_ref().map(PublicCertificate::not_after)),
    }
}
