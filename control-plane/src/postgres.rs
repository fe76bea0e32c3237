//! The control plane's own connections to databases: to set passwords as a
//! manager, and to prove that a new one lets in. Only [`crate::rotation`] uses
//! them. The same TLS as on the edges, with SCRAM's channel binding.
//! Invariants: no text of this module holds a password or a verifier. Whoever
//! asks for a password in clear gets it only where nobody else can listen or
//! stand in: on this machine, or by TLS that has proven who answers.

use std::{error::Error as _, net::IpAddr, time::Duration};

use nla_domain::database::{Database, SslMode};
use nla_proto::tls::postgres as tls;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_postgres::{Client, Config, NoTls, config, tls::MakeTlsConnect, tls::TlsConnect, types::ToSql};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::Login;

/// From the look-up of the name to the end of the login.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Statements about roles take milliseconds, unless a lock is in the way.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
const APPLICATION_NAME: &str = "nla-control-plane";
/// Longest text of a server that is passed on.
const MAX_TEXT_CHARS: usize = 300;

/// Why something could not be done on a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ServerError(String);

impl ServerError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// A connection that is logged in.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    who: String,
}

/// Logs in.
///
/// # Errors
/// [`ServerError`], which says as whom.
pub(crate) async fn connect(database: &Database, login: &Login) -> Result<Connection, ServerError> {
    let who = login.username.clone();
    let connected = timeout(CONNECT_TIMEOUT, log_in(database, login)).await;
    let late = |_| Err(ServerError::new("its server did not answer in time"));
    match connected.unwrap_or_else(late) {
        Ok(client) => Ok(Connection { client, who }),
        Err(error) => Err(ServerError(format!("cannot log in as {who}: {error}"))),
    }
}

async fn log_in(database: &Database, login: &Login) -> Result<Client, ServerError> {
    let host = database.endpoint.host.trim_start_matches('[').trim_end_matches(']');
    let port = database.endpoint.port;
    let unix = host.starts_with('/');
    let unreachable = |error: std::io::Error| ServerError(format!("its server cannot be reached ({})", error.kind()));
    let mut config = Config::new();
    config
        .user(login.username.as_str())
        .password(login.password.expose())
        .dbname(database.dbname.as_str())
        .application_name(APPLICATION_NAME);
    if unix {
        // As with libpq, a Unix socket has no TLS.
        let stream = UnixStream::connect(format!("{host}/.s.PGSQL.{port}")).await.map_err(unreachable)?;
        return start(config.ssl_mode(config::SslMode::Disable), stream, NoTls).await;
    }
    let stream = TcpStream::connect((host, port.get())).await.map_err(unreachable)?;
    match tls::client_config(database).map_err(|error| ServerError(error.to_string()))? {
        None => {
            plain_is_local(stream.peer_addr().map_err(unreachable)?.ip())?;
            start(config.ssl_mode(config::SslMode::Disable), stream, NoTls).await
        }
        Some(tls) => {
            config.channel_binding(channel_binding(database.sslmode));
            let mut maker = MakeRustlsConnect::new(rustls::ClientConfig::clone(&tls));
            let tls = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut maker, host)
                .map_err(|_| ServerError::new("the host is not a valid TLS server name"))?;
            start(config.ssl_mode(config::SslMode::Require), stream, tls).await
        }
    }
}

/// Without TLS anybody on the way could ask for the password in clear. A name
/// says nothing of where it leads to.
fn plain_is_local(peer: IpAddr) -> Result<(), ServerError> {
    if peer.to_canonical().is_loopback() {
        return Ok(());
    }
    Err(ServerError::new(
        "its server is on another machine, and passwords go there with TLS only: choose another sslmode than disable",
    ))
}

/// Where TLS does not tell who answers, the server has to prove that it knows
/// the password and ends the TLS itself.
fn channel_binding(sslmode: SslMode) -> config::ChannelBinding {
    match sslmode {
        SslMode::Disable | SslMode::Require => config::ChannelBinding::Require,
        SslMode::VerifyCa | SslMode::VerifyFull => config::ChannelBinding::Prefer,
    }
}

async fn start<S, T>(config: &Config, stream: S, tls: T) -> Result<Client, ServerError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T: TlsConnect<S>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect_raw(stream, tls).await.map_err(|error| explain(&error))?;
    tokio::spawn(async move {
        // Whoever uses the client learns of its end and reports it.
        let _ = connection.await;
    });
    Ok(client)
}

impl Connection {
    /// Runs a statement whose text holds no clear password.
    ///
    /// # Errors
    /// [`ServerError`], as whom and what the server said.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), ServerError> {
        self.within(self.client.batch_execute(sql)).await
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// As [`Connection::run`].
    pub(crate) async fn rows(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, ServerError> {
        self.within(self.client.query(sql, parameters)).await
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, ServerError> {
        let why = match timeout(STATEMENT_TIMEOUT, answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => explain(&error),
            Err(_) => ServerError::new("its server did not answer in time"),
        };
        Err(ServerError(format!("as {}: {why}", self.who)))
    }
}

/// What went wrong, without anything that a statement held.
fn explain(error: &tokio_postgres::Error) -> ServerError {
    if let Some(reported) = error.as_db_error() {
        let code = reported.code().code();
        let text: String = reported.message().chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARS).collect();
        // A syntax error would quote the statement.
        return match text.contains("SCRAM-SHA-256") {
            true => ServerError(format!("its server answered with SQLSTATE {code}")),
            false => ServerError(format!("{text} (SQLSTATE {code})")),
        };
    }
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return ServerError(tls::explain(error));
        }
        if inner.to_string() == "server does not support TLS" {
            return ServerError::new("its server does not offer TLS, and the configured sslmode asks for it");
        }
        if inner.to_string().contains("channel binding") {
            return ServerError::new(
                "its server offers no SCRAM with channel binding, without which sslmode=require sends no password: \
                 give the server a SCRAM password and an RSA or ECDSA certificate, or choose verify-full",
            );
        }
        source = match inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    ServerError::new("the connection to its server ended unexpectedly")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_go_nowhere_in_clear() {
        for (peer, local) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("192.0.2.1", false),
            ("::ffff:192.0.2.1", false),
            ("0.0.0.0", false),
            ("fe80::1", false),
        ] {
            assert_eq!(plain_is_local(peer.parse().unwrap()).is_ok(), local, "{peer}");
        }
        for mode in [SslMode::Disable, SslMode::Require] {
            assert_eq!(channel_binding(mode), config::ChannelBinding::Require, "{mode:?}");
        }
    }
}
