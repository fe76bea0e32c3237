//! Puts the parts together: opens the store, binds the listeners ([`build`]),
//! serves until it is told to stop ([`App::run`]). Called by the program and,
//! in process, by whoever wants a whole control plane.

mod backups;
mod certificate;
mod settings;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use nla_domain::clock::{SystemClock, WallClock};
use nla_proto::{
    failure::Failure,
    tls::{TlsError, server},
    v1,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{service::Routes, transport::Server};

pub use crate::config::Config;
use crate::{
    authz::{AuthorizationLayer, Gate, Listener, Refusals, Slots},
    crypto::{KekError, KekFile},
    key_rotation::KeyRotation,
    pki::{Authority, PkiError, slots},
    rotation,
    services::{self, BackupLog, Context},
    sources::Refresher,
    store::{State, Store, StoreError, StoreOptions},
    stream::{Began, Publisher, Registry, SyncContext},
    tasks::Expiry,
    uses::Uses,
};
use certificate::ServerCertificate;

/// The longest call: a revocation that waits for its acknowledgements, and
/// some time around it. Streams are not calls in this sense.
const CALL_TIMEOUT: Duration = Duration::from_secs(75);
/// How often an idle connection is tested, and how long the answer may take.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls at one time on one connection.
const STREAMS_PER_CONNECTION: u32 = 128;
/// Calls in work on the enrolment listener; a quarter of them for one address.
const ENROLMENT_CALLS: usize = 128;
/// To join takes one short call.
const ENROLMENT_BOUNDS: server::Bounds = server::Bounds { connections: 512, life: Some(Duration::from_secs(30)) };
/// Our clients send a handful of short headers.
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key-encryption key cannot be used.
    #[error("cannot load the key-encryption key")]
    Key(#[source] KekError),
    /// The store cannot be opened.
    #[error("cannot open the store")]
    Store(#[source] StoreError),
    /// The store refused to take the configuration's settings.
    #[error("cannot store the settings")]
    Settings(#[source] Failure),
    /// The store holds no certificate authority.
    #[error("the data folder holds no certificate authority: was it made by `nla-control-plane init`?")]
    NoAuthority,
    /// The certificate authority cannot be used.
    #[error("cannot use the certificate authority")]
    Authority(#[source] PkiError),
    /// The configuration names another trust domain than the data folder.
    #[error(
        "trust_domain is {configured:?} in the configuration and {stored:?} in the data folder: it cannot be changed"
    )]
    TrustDomain {
        /// As configured.
        configured: String,
        /// As created.
        stored: String,
    },
    /// The server's certificate cannot be used.
    #[error("cannot use the server certificate")]
    Tls(#[from] TlsError),
    /// A listener cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A part that should always start did not.
    #[error("cannot start {0}")]
    Internal(&'static str),
}

/// Why the control plane stopped without being asked.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A listener failed.
    #[error("a listener failed")]
    Serve(#[source] tonic::transport::Error),
    /// A background task ended, which it never should.
    #[error("{0} ended unexpectedly")]
    Task(&'static str),
}

/// A control plane that has its store open and its ports bound.
#[derive(Debug)]
pub struct App {
    main: TcpListener,
    enrolment: TcpListener,
    addresses: (SocketAddr, SocketAddr),
    certificate: ServerCertificate,
    context: Arc<Context>,
    publisher: Publisher,
    refused: mpsc::Receiver<v1::AdminEvent>,
    config: Config,
}

/// Opens the store, binds the ports and prepares everything else. Nothing is
/// answered before [`App::run`].
///
/// # Errors
/// [`StartError`] says what is missing or wrong.
pub async fn build(config: Config) -> Result<App, StartError> {
    build_with_clock(config, Arc::new(SystemClock)).await
}

/// [`build`] with another calendar, for tests.
///
/// # Errors
/// As [`build`].
pub async fn build_with_clock(config: Config, clock: Arc<dyn WallClock>) -> Result<App, StartError> {
    let store = open(&config, &clock).await?;
    match assemble(&config, &clock, store.clone()).await {
        Ok(app) => Ok(app),
        Err(error) => {
            // Whoever fixes the cause and tries again must find the folder free.
            store.close().await;
            Err(error)
        }
    }
}

/// Opens the configured store, which nobody else may have open.
pub(crate) async fn open(config: &Config, clock: &Arc<dyn WallClock>) -> Result<Store, StartError> {
    let options = StoreOptions::new(&config.data_dir, Arc::clone(clock));
    let (key_file, data_dir) = (config.key_file.clone(), config.data_dir.clone());
    let opened = tokio::task::spawn_blocking(move || {
        Store::open_with(options, &KekFile::new(key_file, data_dir)).map_err(|error| match error {
            StoreError::Key(error) => StartError::Key(error),
            other => StartError::Store(other),
        })
    });
    opened.await.map_err(|_| StartError::Internal("the store"))?
}

/// The store's authority, if it is the configured one.
pub(crate) fn authority(config: &Config, state: &State) -> Result<Authority, StartError> {
    let authority = slots::signing(state).map_err(|error| match error {
        PkiError::Missing => StartError::NoAuthority,
        other => StartError::Authority(other),
    })?;
    if authority.trust_domain() != config.trust_domain {
        return Err(StartError::TrustDomain {
            configured: config.trust_domain.clone(),
            stored: authority.trust_domain().to_owned(),
        });
    }
    Ok(authority)
}

async fn assemble(config: &Config, clock: &Arc<dyn WallClock>, store: Store) -> Result<App, StartError> {
    authority(config, &store.state())?;
    settings::apply(&store, config.staleness).await.map_err(StartError::Settings)?;
    let certificate = ServerCertificate::issue(store.clone(), config.names.clone(), Arc::clone(clock))?;
    let main = bind(config.listen).await?;
    let enrolment = bind(config.enrolment_listen).await?;
    let local = |listener: &TcpListener, address| {
        listener.local_addr().map_err(|source| StartError::Listen { address, source })
    };
    let addresses = (local(&main, config.listen)?, local(&enrolment, config.enrolment_listen)?);
    let publisher = Publisher::new(store.clone());
    let (refusals, refused) = Refusals::new();
    let state = store.state();
    let began = Began::now(clock.now(), state.restored_at);
    let registry = Registry::new(as_usize(config.limits.connected_edges), began, state.edges.keys().cloned());
    let context = Arc::new(Context {
        clock: Arc::clone(clock),
        keys: KeyRotation::new(store.clone(), KekFile::new(&config.key_file, &config.data_dir), Arc::clone(clock)),
        sync: Arc::new(SyncContext {
            publisher: publisher.clone(),
            registry: Arc::clone(&registry),
            snapshots: Semaphore::new(as_usize(config.limits.concurrent_snapshots)),
            shutdown: CancellationToken::new(),
            clock: Arc::clone(clock),
            uses: Arc::new(Uses::new(store.clone(), Arc::clone(clock))),
        }),
        rotations: rotation::Engine::new(store.clone(), registry, Arc::clone(clock)),
        allowed_sources: config.credentials.clone(),
        refusals,
        backups: BackupLog::default(),
        token_policy: config.tokens,
        started_at: clock.now(),
        sessions: TaskTracker::new(),
        store,
    });
    Ok(App { main, enrolment, addresses, certificate, context, publisher, refused, config: config.clone() })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

fn as_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl App {
    /// Where operators and edges are served.
    pub fn listen_address(&self) -> SocketAddr {
        self.addresses.0
    }

    /// Where edges join.
    pub fn enrolment_address(&self) -> SocketAddr {
        self.addresses.1
    }

    /// Serves until `shutdown`; then ends streams at once, lets running calls
    /// end within the deadline and closes the store.
    ///
    /// # Errors
    /// [`RunError`] when it had to stop without being asked; the store is then
    /// closed as well.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let Self { main, enrolment, addresses, certificate, context, publisher, refused, config } = self;
        let stop = context.sync.shutdown.clone();
        let (routes, health) =
            services::main_routes(&context).await.map_err(|_| RunError::Task("the reflection service"))?;
        let gate = |listener, slots| {
            AuthorizationLayer::new(Gate {
                listener,
                store: context.store.clone(),
                clock: Arc::clone(&context.clock),
                trust_domain: config.trust_domain.clone(),
                refusals: context.refusals.clone(),
                slots: Slots::new(slots),
            })
        };
        let mut servers = JoinSet::new();
        let calls = as_usize(config.limits.concurrent_calls);
        let incoming = server::incoming(main, certificate.mutual());
        servers.spawn(serve(incoming, gate(Listener::Main, calls), routes, stop.clone()));
        let joining = services::enrolment_routes(&context);
        // Places and connections of its own: anyone may hold these.
        let incoming = server::incoming_within(enrolment, certificate.server_only(), ENROLMENT_BOUNDS);
        let gate = gate(Listener::Enrolment, calls.min(ENROLMENT_CALLS));
        servers.spawn(serve(incoming, gate, joining, stop.clone()));
        let mut tasks: JoinSet<RunError> = JoinSet::new();
        tasks.spawn(async move { publisher.run().await.map_or_else(|_| RunError::Task("the publisher"), never) });
        tasks.spawn(async move { never(certificate.renew().await) });
        let rotations = Arc::clone(&context.rotations);
        tasks.spawn(async move { never(rotations.run().await) });
        let keys = Arc::clone(&context.keys);
        tasks.spawn(async move { never(keys.run().await) });
        let refresher = Arc::new(Refresher {
            store: context.store.clone(),
            registry: Arc::clone(&context.sync.registry),
            clock: Arc::clone(&context.clock),
            allowed: context.allowed_sources.clone(),
        });
        tasks.spawn(async move { never(Box::pin(refresher.run()).await) });
        if let Some(schedule) = backups::Schedule::of(&config, &context) {
            tasks.spawn(async move { never(schedule.run().await) });
        }
        tasks.spawn(record_refusals(context.store.clone(), refused));
        let expiry = Expiry::new(context.store.clone(), Arc::clone(&context.clock));
        tasks.spawn(async move { never(expiry.run().await) });
        let uses = Arc::clone(&context.sync.uses);
        tasks.spawn(async move { never(uses.save_for_ever().await) });
        tracing::info!(listen = %addresses.0, enrolment = %addresses.1, revision = %context.store.state().revision, "control plane serves");

        let mut outcome = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = tasks.join_next() => match ended {
                Some(Ok(error)) => Err(error),
                _ => Err(RunError::Task("a background task")),
            },
            ended = servers.join_next() => match ended {
                Some(Ok(Err(error))) => Err(RunError::Serve(error)),
                _ => Err(RunError::Task("a listener")),
            },
        };
        tracing::info!("control plane stops");
        stop.cancel();
        health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        context.sessions.close();
        let ended = timeout(config.shutdown_deadline, async {
            while let Some(ended) = servers.join_next().await {
                if let (Ok(Err(error)), true) = (ended, outcome.is_ok()) {
                    outcome = Err(RunError::Serve(error));
                }
            }
            context.sessions.wait().await;
        });
        if ended.await.is_err() {
            tracing::warn!("calls were cut at the shutdown deadline");
            servers.shutdown().await;
        }
        tasks.shutdown().await;
        context.sync.uses.save().await;
        context.store.clone().close().await;
        outcome
    }
}

fn never<T>(never: Infallible) -> T {
    match never {}
}

async fn serve(
    incoming: ReceiverStream<io::Result<server::Connection>>,
    gate: AuthorizationLayer,
    routes: Routes,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .layer(gate)
        .timeout(CALL_TIMEOUT)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await
}

/// Appends what the gate refused to the audit log.
async fn record_refusals(store: Store, mut refused: mpsc::Receiver<v1::AdminEvent>) -> RunError {
    while let Some(event) = refused.recv().await {
        if let Err(failure) = store.audit_admin(event).await {
            tracing::warn!(%failure, "a refused call could not be recorded");
        }
    }
    RunError::Task("the record of refused calls")
}
