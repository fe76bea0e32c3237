//! The way to a database's server: TCP or a Unix socket. `connect` calls it for
//! every connection and for every cancel request.
//! Invariant: a connection through a firewall or to a dead peer is noticed as
//! such, and no small message waits for another one.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

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
/// The same for a peer that dies with something on its way to it: nothing but
/// this bounds how long the system sends it again (tcp(7), TCP_USER_TIMEOUT).
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

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

/// The server at the other end of a connection, of several that may have the
/// host's name: only it knows what runs there.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Peer {
    /// Connects to this very server.
    ///
    /// # Errors
    /// [`ConnectError`] of the step connect.
    pub(crate) async fn dial(&self, deadline: Instant) -> Result<Box<dyn Socket>, ConnectError> {
        let late = |_| ConnectError::new(ConnectStage::Connect, ConnectCause::TimedOut);
        let failed = |error: io::Error| ConnectError::of_io(&error);
        match self {
            Self::Tcp(address) => {
                let stream = timeout_at(deadline, TcpStream::connect(address)).await.map_err(late)?.map_err(failed)?;
                tune(&stream).map_err(failed)?;
                Ok(Box::new(stream))
            }
            Self::Unix(path) => {
                let stream = timeout_at(deadline, UnixStream::connect(path)).await.map_err(late)?;
                Ok(Box::new(stream.map_err(failed)?))
            }
        }
    }
}

/// Connects to the first address that answers. One that is silent leaves the
/// others their share of the time.
///
/// # Errors
/// [`ConnectError`] of the last address.
pub(crate) async fn dial(endpoint: &Endpoint, deadline: Instant) -> Result<(Box<dyn Socket>, Peer), ConnectError> {
    if is_unix(endpoint) {
        let peer = Peer::Unix(format!("{}/.s.PGSQL.{}", endpoint.host, endpoint.port).into());
        return Ok((peer.dial(deadline).await?, peer));
    }
    let addresses = timeout_at(deadline, lookup_host((host(endpoint), endpoint.port.get())))
        .await
        .map_err(|_| ConnectError::new(ConnectStage::Resolve, ConnectCause::TimedOut))?
        .map_err(|_| ConnectError::new(ConnectStage::Resolve, ConnectCause::UnknownHost))?;
    let peers: Vec<Peer> = addresses.map(Peer::Tcp).collect();
    dial_any(peers, deadline).await
}

async fn dial_any(peers: Vec<Peer>, deadline: Instant) -> Result<(Box<dyn Socket>, Peer), ConnectError> {
    let mut last = ConnectError::new(ConnectStage::Resolve, ConnectCause::UnknownHost);
    let mut left = u32::try_from(peers.len()).unwrap_or(u32::MAX);
    for peer in peers {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / left.max(1);
        match peer.dial(now + share).await {
            Ok(stream) => return Ok((stream, peer)),
            Err(error) => last = error,
        }
        left -= 1;
    }
    Err(last)
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_RETRIES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_address_leaves_time_for_the_next_one() {
        // A full queue of connections that nobody takes answers no further one.
        let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        silent.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        silent.listen(0).unwrap();
        let silent_at = silent.local_addr().unwrap().as_socket().unwrap();
        let mut waiting = Vec::new();
        let soon = || Instant::now() + Duration::from_millis(300);
        while let Ok(stream) = Peer::Tcp(silent_at).dial(soon()).await {
            waiting.push(stream);
        }
        let listening = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listening.local_addr().unwrap();
        let peers = vec![Peer::Tcp(silent_at), Peer::Tcp(address)];
        let (_, peer) = dial_any(peers, Instant::now() + Duration::from_secs(2)).await.unwrap();
        assert!(matches!(peer, Peer::Tcp(reached) if reached == address), "{peer:?}");
    }
}
