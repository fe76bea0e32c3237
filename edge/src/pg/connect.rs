//! One connection to a database, step by step, so that a failure names the step.
//! `pool` makes connections with it, `execute` cancels with it, and the probe of
//! `nlactl database test` reports its steps.
//! Invariant: what a step says holds no host, user name or secret.

use std::{fmt, sync::Arc, time::Duration};

use deadpool_postgres::ClientWrapper;
use nla_domain::{
    credential::Credential,
    database::{Database, SslMode},
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpStream, UnixStream, lookup_host},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, Client, Config, NoTls, tls::TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    meter::{Meter, Metered, Socket},
    sqlstate, tls,
};

/// Room for the messages of a login and for notices of an idle connection.
const SMALL_TALK_BYTES: u64 = 256 << 10;
/// A dead peer is noticed after 30 + 3 * 10 s, before firewalls drop the state
/// of an idle connection.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// A cancellation has no answer to wait for.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// How connections are made.
#[derive(Debug, Clone)]
pub struct ConnectionSettings {
    /// `application_name` of a connection that is idle.
    pub application_name: String,
    /// From the look-up of the host name to the end of the login.
    pub connect_timeout: Duration,
}

/// The step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectStage {
    /// The host's name.
    Resolve,
    /// TCP or the Unix socket.
    Connect,
    /// The handshake and the certificate.
    Tls,
    /// User, password, database.
    Authenticate,
    /// The first statement.
    Query,
}

impl ConnectStage {
    /// The name in the answer of a probe.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Authenticate => "authenticate",
            Self::Query => "query",
        }
    }
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectCause {
    /// No address for the name.
    #[error("its host name cannot be resolved")]
    UnknownHost,
    /// Nobody listens.
    #[error("its server does not accept connections")]
    Refused,
    /// No route, reset and others.
    #[error("its server cannot be reached")]
    Unreachable,
    /// No answer.
    #[error("its server did not answer in time")]
    TimedOut,
    /// The server has TLS switched off.
    #[error("its server does not offer TLS, and the configured sslmode asks for it")]
    NoTls,
    /// The handshake failed.
    #[error("{0}")]
    Tls(String),
    /// Wrong user or password, or no entry for us.
    #[error("its server refused the configured credential (SQLSTATE {0})")]
    Credential(String),
    /// No such database.
    #[error("its server has no database of the configured name")]
    NoDatabase,
    /// The server is full.
    #[error("its server has no connection left")]
    TooManyConnections,
    /// Starting up or shutting down.
    #[error("its server is starting up or shutting down")]
    Starting,
    /// Another error of the server.
    #[error("its server refused the connection (SQLSTATE {0})")]
    Server(String),
    /// Not PostgreSQL, or a connection that broke.
    #[error("its server ended the connection unexpectedly; is it PostgreSQL?")]
    Protocol,
}

/// A connection that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct ConnectError {
    /// Where it stopped.
    pub stage: ConnectStage,
    /// Why.
    pub cause: ConnectCause,
}

fn failed(stage: ConnectStage, cause: ConnectCause) -> ConnectError {
    ConnectError { stage, cause }
}

/// Where to connect to and as whom.
pub struct Target {
    pub(crate) database: Arc<Database>,
    credential: Arc<Credential>,
    tls: Result<Option<MakeRustlsConnect>, tls::RootError>,
    settings: ConnectionSettings,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("database", &self.database.name)
            .field("generation", &self.credential.generation)
            .finish_non_exhaustive()
    }
}

/// A connection that is logged in.
#[derive(Debug)]
pub struct Connected {
    pub(crate) client: ClientWrapper,
    pub(crate) cancel: CancelKey,
    pub(crate) meter: Arc<Meter>,
    /// `server_version`, such as `15.18 (Debian ...)`.
    pub server_version: String,
    /// Its first number.
    pub server_major: u16,
    /// The search path that a statement gets: `pg_catalog` first, the role's own
    /// path after it, temporary objects last.
    pub(crate) search_path: String,
}

/// What a cancel request needs; the driver's own type cannot be printed.
#[derive(Clone)]
pub(crate) struct CancelKey(CancelToken);

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelKey")
    }
}

impl Target {
    /// Prepares TLS for the database; an unusable root certificate shows when
    /// a connection is made.
    pub fn new(database: Arc<Database>, credential: Arc<Credential>, settings: ConnectionSettings) -> Self {
        let tls = tls::connector(&database);
        Self { database, credential, tls, settings }
    }

    fn is_unix(&self) -> bool {
        self.database.endpoint.host.starts_with('/')
    }

    /// Connects, logs in and learns what statements need to know of the server.
    ///
    /// # Errors
    /// [`ConnectError`] with the step that failed.
    pub async fn connect(&self) -> Result<Connected, ConnectError> {
        let deadline = self.deadline();
        let (client, task, meter) = self.open(deadline).await?;
        let learn = timeout_at(deadline, learn(ClientWrapper::new(client, task), meter));
        learn.await.map_err(|_| failed(ConnectStage::Query, ConnectCause::TimedOut))?
    }

    /// Connects and logs in: the client, the task that drives its connection,
    /// and what it may still read.
    pub(super) async fn open(&self, deadline: Instant) -> Result<(Client, JoinHandle<()>, Arc<Meter>), ConnectError> {
        let socket = self.socket(deadline).await?;
        timeout_at(deadline, self.log_in(socket))
            .await
            .map_err(|_| failed(ConnectStage::Authenticate, ConnectCause::TimedOut))?
    }

    /// The moment by which a connection that is begun now must stand.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.connect_timeout
    }

    /// Asks the server to stop what runs on a connection. Best effort: the
    /// server does not say whether it did.
    pub(crate) async fn cancel(&self, key: &CancelKey) {
        let request = async {
            let socket = self.socket(Instant::now() + CANCEL_TIMEOUT).await?;
            let socket = Metered::new(socket, Meter::new(SMALL_TALK_BYTES));
            let sent = match self.connector(ConnectStage::Tls)? {
                None => key.0.cancel_query_raw(socket, NoTls).await,
                Some(tls) => key.0.cancel_query_raw(socket, tls).await,
            };
            sent.map_err(|error| explain(&error))
        };
        match timeout(CANCEL_TIMEOUT, request).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(database = %self.database.name, %error, "cancel request failed"),
            Err(_) => tracing::warn!(database = %self.database.name, "cancel request timed out"),
        }
    }

    async fn socket(&self, deadline: Instant) -> Result<Box<dyn Socket>, ConnectError> {
        let endpoint = &self.database.endpoint;
        let late = |stage| move |_| failed(stage, ConnectCause::TimedOut);
        if self.is_unix() {
            let path = format!("{}/.s.PGSQL.{}", endpoint.host, endpoint.port);
            let stream = timeout_at(deadline, UnixStream::connect(path)).await.map_err(late(ConnectStage::Connect))?;
            return Ok(Box::new(stream.map_err(|error| of_io(&error))?));
        }
        let host = endpoint.host.trim_start_matches('[').trim_end_matches(']');
        let addresses = timeout_at(deadline, lookup_host((host, endpoint.port.get())))
            .await
            .map_err(late(ConnectStage::Resolve))?
            .map_err(|_| failed(ConnectStage::Resolve, ConnectCause::UnknownHost))?;
        let mut last = failed(ConnectStage::Resolve, ConnectCause::UnknownHost);
        for address in addresses {
            let attempt = timeout_at(deadline, TcpStream::connect(address)).await;
            match attempt.map_err(late(ConnectStage::Connect))? {
                Ok(stream) => {
                    tune(&stream).map_err(|error| of_io(&error))?;
                    return Ok(Box::new(stream));
                }
                Err(error) => last = of_io(&error),
            }
        }
        Err(last)
    }

    /// TLS for this connection; `None` without TLS. As with libpq, a Unix
    /// socket never has it.
    fn connector(
        &self,
        stage: ConnectStage,
    ) -> Result<Option<impl TlsConnect<Metered, Stream: Send + 'static, Future: Send> + use<>>, ConnectError> {
        if self.is_unix() {
            return Ok(None);
        }
        let tls = self.tls.as_ref().map_err(|error| failed(stage, ConnectCause::Tls(error.to_string())))?;
        let Some(mut maker) = tls.clone() else { return Ok(None) };
        let host = self.database.endpoint.host.trim_start_matches('[').trim_end_matches(']');
        MakeTlsConnect::<Metered>::make_tls_connect(&mut maker, host)
            .map(Some)
            .map_err(|_| failed(stage, ConnectCause::Tls("the host is not a valid TLS server name".to_owned())))
    }

    async fn log_in(&self, socket: Box<dyn Socket>) -> Result<(Client, JoinHandle<()>, Arc<Meter>), ConnectError> {
        let meter = Meter::new(SMALL_TALK_BYTES);
        let socket = Metered::new(socket, Arc::clone(&meter));
        let mut config = Config::new();
        config
            .user(self.credential.username.as_str())
            .password(self.credential.password.expose())
            .dbname(self.database.dbname.as_str())
            .application_name(self.settings.application_name.as_str());
        let (client, task) = match self.connector(ConnectStage::Tls)? {
            None => start(config.ssl_mode(tokio_postgres::config::SslMode::Disable), socket, NoTls).await?,
            Some(tls) => start(config.ssl_mode(tokio_postgres::config::SslMode::Require), socket, tls).await?,
        };
        Ok((client, task, meter))
    }

    /// What protects the connection, for a probe.
    pub fn protection(&self) -> String {
        match (self.is_unix(), self.database.sslmode) {
            (true, _) => "Unix socket".to_owned(),
            (false, SslMode::Disable) => "no TLS (loopback only)".to_owned(),
            (false, mode) => format!("TLS, sslmode {mode}"),
        }
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

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Facts that statements rest on; also the proof that the login works.
async fn learn(client: ClientWrapper, meter: Arc<Meter>) -> Result<Connected, ConnectError> {
    const FACTS: &str = "SELECT pg_catalog.current_setting('server_version'), \
         pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('search_path')";
    let answer = client.simple_query(FACTS).await.map_err(|error| explain_query(&error))?;
    let row = answer
        .iter()
        .find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        })
        .ok_or_else(|| failed(ConnectStage::Query, ConnectCause::Protocol))?;
    let text = |at: usize| row.try_get(at).ok().flatten().unwrap_or_default();
    let number: u32 = text(1).parse().map_err(|_| failed(ConnectStage::Query, ConnectCause::Protocol))?;
    let own_path = text(2);
    let search_path = match own_path.trim() {
        "" => "pg_catalog, pg_temp".to_owned(),
        path => format!("pg_catalog, {path}, pg_temp"),
    };
    Ok(Connected {
        cancel: CancelKey(client.cancel_token()),
        server_version: text(0).to_owned(),
        server_major: u16::try_from(number / 10_000).unwrap_or(0),
        search_path,
        client,
        meter,
    })
}

fn of_io(error: &std::io::Error) -> ConnectError {
    use std::io::ErrorKind;
    let cause = match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => ConnectCause::Refused,
        ErrorKind::TimedOut => ConnectCause::TimedOut,
        _ => ConnectCause::Unreachable,
    };
    failed(ConnectStage::Connect, cause)
}

/// The cause of a failed login.
fn explain(error: &tokio_postgres::Error) -> ConnectError {
    if let Some(reported) = error.as_db_error() {
        return of_code(reported.code().code());
    }
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return failed(ConnectStage::Tls, ConnectCause::Tls(tls::explain(error)));
        }
        // The driver has no type for a server without TLS, only this text.
        if inner.to_string() == "server does not support TLS" {
            return failed(ConnectStage::Tls, ConnectCause::NoTls);
        }
        source = match inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    failed(ConnectStage::Authenticate, ConnectCause::Protocol)
}

fn explain_query(error: &tokio_postgres::Error) -> ConnectError {
    let cause = match error.code() {
        Some(code) => ConnectCause::Server(code.code().to_owned()),
        None => ConnectCause::Protocol,
    };
    failed(ConnectStage::Query, cause)
}

fn of_code(code: &str) -> ConnectError {
    let cause = match code {
        sqlstate::INVALID_PASSWORD | sqlstate::INVALID_AUTHORIZATION => ConnectCause::Credential(code.to_owned()),
        sqlstate::INVALID_CATALOG_NAME => ConnectCause::NoDatabase,
        sqlstate::TOO_MANY_CONNECTIONS => ConnectCause::TooManyConnections,
        sqlstate::CANNOT_CONNECT_NOW => ConnectCause::Starting,
        other => ConnectCause::Server(other.to_owned()),
    };
    failed(ConnectStage::Authenticate, cause)
}
