//! A private PostgreSQL server for the demo and the tests: its own folder, port,
//! passwords and certificate authority. The demo and the sample data use it.
//!
//! Invariant: nothing outlives the [`Postgres`] value but the files in its
//! folder; no two servers share a port, a folder or a password.

mod account;
mod certificate;
mod client;
mod cluster;
mod error;
mod process;
mod programs;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nla_domain::secret::Secret;
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;

pub use self::error::PostgresError;

pub(crate) use self::account::Account;
pub(crate) use self::cluster::{SUPERUSER, Seed, make_folder, random_password, write_private};
pub(crate) use self::programs::Programs;

use self::certificate::Certificate;
use self::cluster::Layout;
use self::process::{Process, Shutdown};
use crate::port::free_port;

/// A start takes 0.3 s; recovery after a kill or a busy machine takes longer.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Whoever took the port first may accept connections and never answer.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(2);

/// Between two attempts to connect while the server starts.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// Somebody may take the free port before the server does; five times in a row
/// means that something else is wrong.
const PORT_ATTEMPTS: usize = 5;

/// Lines of the server's log that an error shows.
const LOG_LINES: usize = 20;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Options {
    folder: PathBuf,
    program_folder: Option<PathBuf>,
    port: Option<u16>,
    durable: bool,
    seed: Option<Seed>,
}

impl Options {
    /// A server in `folder`, which is made if it is missing and becomes the
    /// server's own. A cluster of an earlier start in it is used again.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), program_folder: None, port: None, durable: true, seed: None }
    }

    /// Uses `initdb` and `postgres` of this folder and no others.
    #[must_use]
    pub fn program_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.program_folder = Some(folder.into());
        self
    }

    /// Listens on this port instead of a free one, to come back after a stop
    /// where clients expect it.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Gives up durability for speed. For tests: a crash of the machine (not of
    /// the server) may destroy the cluster.
    #[must_use]
    pub fn throw_away(mut self) -> Self {
        self.durable = false;
        self
    }

    /// The folder of programs that was asked for.
    pub(crate) fn programs(&self) -> Option<&Path> {
        self.program_folder.as_deref()
    }

    /// Starts from a copy of a prepared cluster.
    #[must_use]
    pub(crate) fn seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }
}

/// A running private server; it ends when this value is dropped.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    layout: Layout,
    certificate: Certificate,
    port: u16,
    password: Secret,
    version: String,
}

impl Postgres {
    /// Makes the cluster if there is none, starts it and waits until it answers.
    ///
    /// # Errors
    /// The programs are missing, the folder is not usable, or the server does not
    /// start; the error carries the end of the server's log.
    pub async fn start(options: Options) -> Result<Self, PostgresError> {
        let prepared = tokio::task::spawn_blocking(move || Prepared::new(options)).await;
        let prepared = match prepared {
            Ok(prepared) => prepared?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let mut attempt = 1;
        let mut server = loop {
            match prepared.start_once().await {
                Err(PostgresError::Exited { log })
                    if attempt < PORT_ATTEMPTS && prepared.port.is_none() && port_was_taken(&log) =>
                {
                    attempt += 1;
                }
                result => break result?,
            }
        };
        if prepared.copied {
            server.renew_password().await?;
        }
        Ok(server)
    }

    /// Stops the server in an orderly way and waits until it is gone.
    pub async fn stop(self) {
        // A panic in there was reported already; dropping `self` ends the server
        // in any case.
        let _ = tokio::task::spawn_blocking(move || self.process.end(Shutdown::Fast)).await;
    }

    /// Address that the server listens on, `127.0.0.1`.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// Port that the server listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate (PEM) that signed the server's own, which is for
    /// `127.0.0.1` and `localhost`.
    pub fn ca_file(&self) -> &Path {
        &self.certificate.ca
    }

    /// Folder of everything that belongs to the server.
    pub fn folder(&self) -> &Path {
        &self.layout.folder
    }

    /// Folder of the Unix socket; `None` where the path would be too long.
    pub fn socket_folder(&self) -> Option<&Path> {
        self.layout.socket_folder.as_deref()
    }

    /// The server's log.
    pub fn log_file(&self) -> &Path {
        &self.layout.log
    }

    /// Name of the superuser.
    pub fn superuser(&self) -> &'static str {
        SUPERUSER
    }

    /// Password of the superuser; it stands in a 0600 file in the folder, too.
    pub fn superuser_password(&self) -> &Secret {
        &self.password
    }

    /// What `postgres --version` printed.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A URL for `psql` and other clients of libpq, with full verification. It
    /// holds the password: it is for the terminal of whoever asked for it.
    pub fn url(&self, database: &str, user: &str, password: &Secret) -> Secret {
        Secret::new(format!(
            "postgresql://{user}:{}@{}:{}/{database}?sslmode=verify-full&sslrootcert={}",
            password.expose(),
            self.host(),
            self.port,
            self.certificate.ca.display()
        ))
    }

    /// TLS settings that trust exactly this server.
    ///
    /// # Errors
    /// The authority's file was removed or changed.
    pub fn tls(&self) -> Result<MakeRustlsConnect, PostgresError> {
        client::tls(&self.certificate.ca)
    }

    /// Connects over TLS with full verification.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn connect(&self, database: &str, user: &str, password: &Secret) -> Result<Client, PostgresError> {
        client::connect(self.tls()?, self.port, database, user, password)
            .await
            .map_err(PostgresError::sql("connect to the sandbox's PostgreSQL"))
    }

    /// Connects as the superuser.
    ///
    /// # Errors
    /// Whatever the server refuses.
    pub async fn connect_as_superuser(&self, database: &str) -> Result<Client, PostgresError> {
        self.connect(database, SUPERUSER, &self.password).await
    }

    /// A copy of a prepared cluster has the password of that cluster: replace it.
    async fn renew_password(&mut self) -> Result<(), PostgresError> {
        let client = self.connect_as_superuser("postgres").await?;
        let password = random_password();
        client
            .batch_execute(&format!("ALTER ROLE {SUPERUSER} PASSWORD '{}'", password.expose()))
            .await
            .map_err(PostgresError::sql("change the superuser's password"))?;
        write_private(&self.layout.password, password.expose())?;
        self.password = password;
        Ok(())
    }
}

/// Everything that is ready before a port is chosen.
struct Prepared {
    account: Account,
    programs: Programs,
    layout: Layout,
    certificate: Certificate,
    password: Secret,
    version: String,
    port: Option<u16>,
    durable: bool,
    copied: bool,
}

impl Prepared {
    fn new(options: Options) -> Result<Self, PostgresError> {
        let programs = Programs::find(options.program_folder.as_deref())?;
        let version = programs.version()?;
        let account = Account::choose()?;
        account.check_reach(programs.folder())?;
        let layout = Layout::create(&options.folder, &account)?;
        let kept = layout.has_cluster();
        let password = match &options.seed {
            _ if kept => Secret::new(
                fs::read_to_string(&layout.password).map_err(PostgresError::file("read", &layout.password))?,
            ),
            Some(seed) => cluster::copy(seed, &layout, &account)?,
            None => cluster::initialise(&layout, &programs, &account)?,
        };
        let tls_folder = layout.folder.join("tls");
        make_folder(&tls_folder, 0o711)?;
        let certificate = Certificate::ensure(&tls_folder, &account)?;
        let copied = !kept && options.seed.is_some();
        let Options { port, durable, .. } = options;
        Ok(Self { account, programs, layout, certificate, password, version, port, durable, copied })
    }

    /// One start on one port, up to the first accepted connection.
    async fn start_once(&self) -> Result<Postgres, PostgresError> {
        let port = match self.port {
            Some(port) => port,
            None => free_port().map_err(PostgresError::file("find a free port for", &self.layout.folder))?,
        };
        cluster::configure(&self.layout, &self.certificate, &self.account, port, self.durable)?;
        let server = Postgres {
            process: Process::start(&self.layout, &self.programs, &self.account)?,
            layout: self.layout.clone(),
            certificate: self.certificate.clone(),
            port,
            password: self.password.clone(),
            version: self.version.clone(),
        };
        let started = Instant::now();
        loop {
            let attempt = client::connect(server.tls()?, port, "postgres", SUPERUSER, &server.password);
            let source = match timeout(ATTEMPT_WITHIN, attempt).await {
                Ok(Ok(_)) => return Ok(server),
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            let log = || log_end(&server.layout.log);
            if server.process.status().is_some() {
                return Err(PostgresError::Exited { log: log() });
            }
            if started.elapsed() > READY_WITHIN {
                return Err(PostgresError::NotReady { seconds: READY_WITHIN.as_secs(), log: log(), source });
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }
}

fn port_was_taken(log: &str) -> bool {
    log.contains("could not bind") || log.contains("could not create any TCP/IP sockets")
}

fn log_end(path: &Path) -> String {
    let log = fs::read(path).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
