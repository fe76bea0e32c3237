//! One connection to a database, step by step, so that a failure names the step.
//! `pool` makes sessions with it and `execute` cancels with it; the probe of
//! `nlactl database test` and the inspection use the driver's connection.
//! Invariant: both come about in the same way, with the same TLS.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::ClientWrapper;
use nla_domain::{
    credential::Credential,
    database::{Database, SslMode},
};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_postgres::{Client, Config, NoTls, tls::MakeTlsConnect, tls::TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    connect_error::{ConnectCause, ConnectError, ConnectStage},
    meter::{Meter, Metered},
    socket::{Peer, Socket, dial, host, is_unix},
    sqlstate, tls,
    wire::{CancelKey, Login, LoginError, Session, protect},
};

/// Room for the messages of a login and for notices of an idle connection.
const SMALL_TALK_BYTES: u64 = 256 << 10;
/// A cancellation has no answer to wait for but the end of its connection.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
/// A session that only reads whatever is sent; BEGIN READ ONLY says it again.
const READ_ONLY: &str = "-c default_transaction_read_only=on";
/// What statements rest on; also the proof that the login works.
const FACTS: &str = "SELECT pg_catalog.current_setting('server_version'), \
     pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('search_path')";

/// How connections are made.
#[derive(Debug, Clone)]
pub struct ConnectionSettings {
    /// `application_name` of a connection that is idle.
    pub application_name: String,
    /// From the look-up of the host name to the end of the login.
    pub connect_timeout: Duration,
}

/// Where to connect to and as whom.
pub struct Target {
    pub(crate) database: Arc<Database>,
    pub(crate) credential: Arc<Credential>,
    tls: Result<Option<Arc<ClientConfig>>, tls::RootError>,
    settings: ConnectionSettings,
    /// A pooler has refused the option that makes the session read-only.
    without_options: AtomicBool,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("database", &self.database.name)
            .field("generation", &self.credential.generation)
            .finish_non_exhaustive()
    }
}

/// A connection of the driver that is logged in.
#[derive(Debug)]
pub struct Connected {
    pub(crate) client: ClientWrapper,
    pub(crate) meter: Arc<Meter>,
    /// `server_version`, such as `15.18 (Debian ...)`.
    pub server_version: String,
    /// Its first number.
    pub server_major: u16,
}

/// A session for statements, and where its role looks for names.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) session: Session,
    /// The search path of a statement that brings none: `pg_catalog` first, the
    /// role's own path after it, temporary objects last.
    pub(crate) search_path: String,
}

impl Target {
    /// Prepares TLS for the database; an unusable root certificate shows when
    /// a connection is made.
    pub fn new(database: Arc<Database>, credential: Arc<Credential>, settings: ConnectionSettings) -> Self {
        let tls = tls::client_config(&database);
        Self { database, credential, tls, settings, without_options: AtomicBool::new(false) }
    }

    /// Logs in and learns what statements need to know of the server.
    ///
    /// # Errors
    /// [`ConnectError`] with the step that failed.
    pub(crate) async fn session(&self) -> Result<Opened, ConnectError> {
        let deadline = self.deadline();
        let with_options = !self.without_options.load(Ordering::Relaxed);
        let session = match self.log_in(deadline, with_options.then_some(READ_ONLY)).await {
            Err(LoginError::Refused(reported)) if with_options && sqlstate::refuses_options(&reported) => {
                tracing::debug!(database = %self.database.name, "a pooler takes no options; going on without");
                let session = self.log_in(deadline, None).await;
                if session.is_ok() {
                    self.without_options.store(true, Ordering::Relaxed);
                }
                session
            }
            session => session,
        };
        let session = session.map_err(|error| match error {
            LoginError::Refused(reported) => ConnectError::of_code(&reported.code),
            LoginError::Failed(error) => error,
        })?;
        let late = |_| ConnectError::new(ConnectStage::Query, ConnectCause::TimedOut);
        timeout_at(deadline, learn_of(session)).await.map_err(late)?
    }

    async fn log_in(&self, deadline: Instant, options: Option<&str>) -> Result<Session, LoginError> {
        let late = |stage| move |_| LoginError::Failed(ConnectError::new(stage, ConnectCause::TimedOut));
        let (socket, peer) = dial(&self.database.endpoint, deadline).await.map_err(LoginError::Failed)?;
        let tls = self.tls().map_err(LoginError::Failed)?;
        let protected = timeout_at(deadline, protect(socket, tls)).await.map_err(late(ConnectStage::Tls))?;
        let login = Login {
            user: &self.credential.username,
            password: self.credential.password.expose().as_bytes(),
            database: &self.database.dbname,
            application_name: &self.settings.application_name,
            options,
        };
        let login = login.run(protected.map_err(LoginError::Failed)?, peer);
        timeout_at(deadline, login).await.map_err(late(ConnectStage::Authenticate))?
    }

    /// Asks the server to stop what runs on a session. True when it has heard:
    /// it hangs up after it has passed the request on, and does not say whether
    /// that had an effect.
    pub(crate) async fn cancel(&self, key: CancelKey, peer: &Peer) -> bool {
        let request = async {
            let socket = peer.dial(Instant::now() + CANCEL_TIMEOUT).await?;
            let mut stream = protect(socket, self.tls()?).await?.stream;
            let failed = |error: std::io::Error| ConnectError::of_io(&error);
            stream.write_all(&key.request()).await.map_err(failed)?;
            stream.flush().await.map_err(failed)?;
            // TLS calls an end without a good-bye an error.
            let _ = stream.read_u8().await;
            Ok::<_, ConnectError>(())
        };
        match timeout(CANCEL_TIMEOUT, request).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => tracing::warn!(database = %self.database.name, %error, "cancel request failed"),
            Err(_) => tracing::warn!(database = %self.database.name, "cancel request timed out"),
        }
        false
    }

    /// TLS for this connection; `None` without TLS. As with libpq, a Unix
    /// socket never has it.
    fn tls(&self) -> Result<Option<(Arc<ClientConfig>, &str)>, ConnectError> {
        if is_unix(&self.database.endpoint) {
            return Ok(None);
        }
        match &self.tls {
            Ok(config) => Ok(config.clone().map(|config| (config, host(&self.database.endpoint)))),
            Err(error) => Err(ConnectError::new(ConnectStage::Tls, ConnectCause::Tls(error.to_string()))),
        }
    }

    /// What protects the connection, for a probe.
    pub fn protection(&self) -> String {
        match (is_unix(&self.database.endpoint), self.database.sslmode) {
            (true, _) => "Unix socket".to_owned(),
            (false, SslMode::Disable) => "no TLS (loopback only)".to_owned(),
            (false, mode) => format!("TLS, sslmode {mode}"),
        }
    }

    /// Connects with the driver, logs in and learns the server's version.
    ///
    /// # Errors
    /// [`ConnectError`] with the step that failed.
    pub async fn connect(&self) -> Result<Connected, ConnectError> {
        let deadline = self.deadline();
        let (client, task, meter) = self.open(deadline).await?;
        let learned = timeout_at(deadline, learn(ClientWrapper::new(client, task), meter)).await;
        learned.map_err(|_| ConnectError::new(ConnectStage::Query, ConnectCause::TimedOut))?
    }

    /// The moment by which a connection that is begun now must stand.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.connect_timeout
    }

    /// Connects with the driver and logs in: the client, the task that drives
    /// its connection, and what it may still read.
    pub(super) async fn open(&self, deadline: Instant) -> Result<(Client, JoinHandle<()>, Arc<Meter>), ConnectError> {
        let (socket, _) = dial(&self.database.endpoint, deadline).await?;
        let late = |_| ConnectError::new(ConnectStage::Authenticate, ConnectCause::TimedOut);
        timeout_at(deadline, self.start_driver(socket)).await.map_err(late)?
    }

    async fn start_driver(
        &self,
        socket: Box<dyn Socket>,
    ) -> Result<(Client, JoinHandle<()>, Arc<Meter>), ConnectError> {
        let meter = Meter::new(SMALL_TALK_BYTES);
        let socket = Metered::new(socket, Arc::clone(&meter));
        let mut config = Config::new();
        config
            .user(self.credential.username.as_str())
            .password(self.credential.password.expose())
            .dbname(self.database.dbname.as_str())
            .application_name(self.settings.application_name.as_str());
        let (client, task) = match self.tls()? {
            None => start(config.ssl_mode(tokio_postgres::config::SslMode::Disable), socket, NoTls).await?,
            Some((tls, host)) => {
                let mut maker = MakeRustlsConnect::new(ClientConfig::clone(&tls));
                let unfit = ConnectCause::Tls("the host is not a valid TLS server name".to_owned());
                let tls = MakeTlsConnect::<Metered>::make_tls_connect(&mut maker, host)
                    .map_err(|_| ConnectError::new(ConnectStage::Tls, unfit))?;
                start(config.ssl_mode(tokio_postgres::config::SslMode::Require), socket, tls).await?
            }
        };
        Ok((client, task, meter))
    }
}

async fn start<T>(config: &Config, socket: Metered, tls: T) -> Result<(Client, JoinHandle<()>), ConnectError>
where
    T: TlsConnect<Metered>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect_raw(socket, tls).await.map_err(|error| explain(&error))?;
    let task = tokio::spawn(async move {
        // Whoever uses the connection learns of its end and reports it.
        let _ = connection.await;
    });
    Ok((client, task))
}

async fn learn_of(mut session: Session) -> Result<Opened, ConnectError> {
    let failed = |cause| ConnectError::new(ConnectStage::Query, cause);
    let answer = session.simple(FACTS).await.map_err(|_| failed(ConnectCause::Protocol))?;
    let answer = answer.map_err(|reported| failed(ConnectCause::Server(reported.code)))?;
    session.rest();
    let text = |at: usize| answer.row.get(at).cloned().flatten().unwrap_or_default();
    let search_path = match text(2).trim() {
        "" => "pg_catalog, pg_temp".to_owned(),
        path => format!("pg_catalog, {path}, pg_temp"),
    };
    // What has no version is not PostgreSQL.
    major(&text(1))?;
    Ok(Opened { session, search_path })
}

async fn learn(client: ClientWrapper, meter: Arc<Meter>) -> Result<Connected, ConnectError> {
    let failed = |cause| ConnectError::new(ConnectStage::Query, cause);
    let answer = client.simple_query(FACTS).await.map_err(|error| {
        failed(error.code().map_or(ConnectCause::Protocol, |code| ConnectCause::Server(code.code().to_owned())))
    })?;
    let row = answer.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or_else(|| failed(ConnectCause::Protocol))?;
    let text = |at: usize| row.try_get(at).ok().flatten().unwrap_or_default();
    Ok(Connected { server_version: text(0).to_owned(), server_major: major(text(1))?, client, meter })
}

/// Of `server_version_num`, such as 150018.
fn major(number: &str) -> Result<u16, ConnectError> {
    let number: Option<u32> = number.parse().ok();
    let major = number.and_then(|number| u16::try_from(number / 10_000).ok());
    major.ok_or_else(|| ConnectError::new(ConnectStage::Query, ConnectCause::Protocol))
}

/// The cause of a failed login.
fn explain(error: &tokio_postgres::Error) -> ConnectError {
    if let Some(reported) = error.as_db_error() {
        return ConnectError::of_code(reported.code().code());
    }
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return ConnectError::new(ConnectStage::Tls, ConnectCause::Tls(tls::explain(error)));
        }
        // The driver has no type for a server without TLS, only this text.
        if inner.to_string() == "server does not support TLS" {
            return ConnectError::new(ConnectStage::Tls, ConnectCause::NoTls);
        }
        source = match inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    ConnectError::new(ConnectStage::Authenticate, ConnectCause::Protocol)
}
