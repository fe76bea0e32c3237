//! Listeners of the control plane: TCP, then TLS in a task of its own with a
//! deadline, then a connection for tonic that knows its peer. Slow or hostile
//! handshakes cost one bounded slot each and never hold up the accept loop.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{ServerConfig, server::WebPkiClientVerifier};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::{Identity, Roots, TlsError, peer::PeerCertificate, provider};

/// A client that has not finished its handshake by then is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes under way at once; more wait in the kernel's queue.
const MAX_HANDSHAKES: usize = 256;
/// Connections of a listener that is told no other bound.
const MAX_CONNECTIONS: usize = 16_384;
/// Pause after the kernel refused a connection (out of descriptors), instead
/// of asking again at full speed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The server's side of TLS, replaceable while it serves.
#[derive(Clone)]
pub struct ServerTls(Arc<ArcSwap<ServerConfig>>);

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// Only clients with a certificate under these authorities.
    ///
    /// # Errors
    /// When rustls refuses the identity or the authorities.
    pub fn mutual(identity: &Identity, clients: &Roots) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(config(identity, Some(clients))?))))
    }

    /// Clients without a certificate; for enrolment.
    ///
    /// # Errors
    /// When rustls refuses the identity.
    pub fn server_only(identity: &Identity) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(config(identity, None)?))))
    }

    /// Uses another identity from the next connection on; `clients` as at the
    /// start, `None` for [`ServerTls::server_only`].
    ///
    /// # Errors
    /// When rustls refuses them; the old ones then stay in use.
    pub fn replace(&self, identity: &Identity, clients: Option<&Roots>) -> Result<(), TlsError> {
        self.0.store(Arc::new(config(identity, clients)?));
        Ok(())
    }
}

fn config(identity: &Identity, clients: Option<&Roots>) -> Result<ServerConfig, TlsError> {
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| TlsError::Rustls { what: "TLS 1.3", source })?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.store(), provider).build().map_err(|error| {
                    TlsError::Rustls { what: "the CA bundle", source: rustls::Error::General(error.to_string()) }
                })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(identity.chain().to_vec(), identity.key())
        .map_err(|source| TlsError::Rustls { what: "the server certificate with its key", source })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// What each request on a connection knows of it; tonic puts it into the
/// request's extensions.
#[derive(Clone, Debug)]
pub struct ConnectInfo {
    /// The other end of the TCP connection.
    pub remote: SocketAddr,
    /// Who it is; `None` on a listener that asks for no certificate.
    pub peer: Option<PeerCertificate>,
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    info: ConnectInfo,
    /// When it is cut, whatever it is doing.
    end: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

/// How many connections a listener holds, and how long each. A connection
/// that says nothing costs a descriptor, of which the process has few.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at one time; more wait in the kernel's queue.
    pub connections: usize,
    /// After this a connection is cut; `None`: it may stay.
    pub life: Option<Duration>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connections: MAX_CONNECTIONS, life: None }
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectInfo;

    fn connect_info(&self) -> ConnectInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Accepts connections for tonic's `serve_with_incoming_shutdown`. The accept
/// loop ends when the stream is dropped.
pub fn incoming(listener: TcpListener, tls: ServerTls) -> ReceiverStream<io::Result<Connection>> {
    incoming_within(listener, tls, Bounds::default())
}

/// The same with other bounds, for a listener that serves anyone.
pub fn incoming_within(
    listener: TcpListener,
    tls: ServerTls,
    bounds: Bounds,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, stream) = mpsc::channel(16);
    tokio::spawn(accept_loop(listener, tls, bounds, ready));
    ReceiverStream::new(stream)
}

async fn accept_loop(
    listener: TcpListener,
    tls: ServerTls,
    bounds: Bounds,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let slots = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let places = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place.expect("the semaphore is never closed"),
            () = ready.closed() => return,
        };
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let (tcp, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let acceptor = TlsAcceptor::from(tls.0.load_full());
        let ready = ready.clone();
        tokio::spawn(async move {
            let outcome = timeout(HANDSHAKE_TIMEOUT, handshake(acceptor, tcp, remote)).await;
            drop(slot);
            match outcome {
                Ok(Ok((stream, info))) => {
                    let end = bounds.life.map(|life| Box::pin(sleep(life)));
                    let connection = Connection { stream, info, end, _place: place };
                    // A closed channel means that the server is shutting down.
                    let _ = ready.send(Ok(connection)).await;
                }
                Ok(Err(error)) => tracing::debug!(%remote, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(%remote, "TLS handshake took too long"),
            }
        });
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    remote: SocketAddr,
) -> io::Result<(TlsStream<TcpStream>, ConnectInfo)> {
    tcp.set_nodelay(true)?;
    let stream = acceptor.accept(tcp).await?;
    let peer = match stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()) {
        Some(certificate) => Some(PeerCertificate::from_der(certificate).map_err(io::Error::other)?),
        None => None,
    };
    Ok((stream, ConnectInfo { remote, peer }))
}

#[cfg(test)]
mod tests;
