//! The way to a database's server: TCP or a Unix socket. `connect` calls it for
//! every connection and for every cancel request.
//! Invariant: a connection through a firewall or to a dead peer is noticed as
//! such, and no small message waits for another one.

use std::{io, time::Duration};

use nla_domain::database::Endpoint;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
    time::{Instant, timeout_at},
};

use super::connect_error::{ConnectCause, ConnectError, ConnectStage};

/// A dead peer is noticed after 30 + 3 * 10 s, before firewalls drop the state
/// of an idle connection.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// TCP or Unix, with or without TLS.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// True for the path of a Unix socket's folder. As with libpq, it has no TLS.
pub(crate) fn is_unix(endpoint: &Endpoint) -> bool {
    endpoint.host.starts_with('/')
}

/// The host without the brackets of an IPv6 address.
pub(crate) fn host(endpoint: &Endpoint) -> &str {
    endpoint.host.trim_start_matches('[').trim_end_matches(']')
}

/// Connects to the first address that answers.
///
/// # Errors
/// [`ConnectError`] of the last address.
pub(crate) async fn dial(endpoint: &Endpoint, deadline: Instant) -> Result<Box<dyn Socket>, ConnectError> {
    let late = |stage| move |_| ConnectError::new(stage, ConnectCause::TimedOut);
    if is_unix(endpoint) {
        let path = format!("{}/.s.PGSQL.{}", endpoint.host, endpoint.port);
        let stream = timeout_at(deadline, UnixStream::connect(path)).await.map_err(late(ConnectStage::Connect))?;
        return Ok(Box::new(stream.map_err(|error| ConnectError::of_io(&error))?));
    }
    let addresses = timeout_at(deadline, lookup_host((host(endpoint), endpoint.port.get())))
        .await
        .map_err(late(ConnectStage::Resolve))?
        .map_err(|_| ConnectError::new(ConnectStage::Resolve, ConnectCause::UnknownHost))?;
    let mut last = ConnectError::new(ConnectStage::Resolve, ConnectCause::UnknownHost);
    for address in addresses {
        let attempt = timeout_at(deadline, TcpStream::connect(address)).await;
        match attempt.map_err(late(ConnectStage::Connect))? {
            Ok(stream) => {
                tune(&stream).map_err(|error| ConnectError::of_io(&error))?;
                return Ok(Box::new(stream));
            }
            Err(error) => last = ConnectError::of_io(&error),
        }
    }
    Err(last)
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
