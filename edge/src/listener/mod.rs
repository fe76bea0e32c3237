//! Where MCP clients connect: TCP, TLS, HTTP, and the bounds on each. `app`
//! binds it and hands it the router. Invariants: a slow or hostile client costs
//! one bounded slot for a bounded time and never holds up another; plain HTTP
//! is served on loopback only.

pub mod address;
pub mod certificate;
mod connection;
mod io;
mod leftover;
pub mod ready;
pub mod routes;
mod tls;

use std::{fmt, io as std_io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use ipnet::IpNet;
use nla_proto::tls::TlsError;
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::connection::Timeouts;
use self::{
    certificate::{CertificateError, PublicCertificate},
    connection::Connection,
};
use crate::config::{Limits, Transport};

/// Pause after the kernel refused a connection (out of descriptors), instead
/// of asking again at full speed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the listener cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std_io::Error,
    },
    /// Plain HTTP elsewhere than on loopback.
    #[error("plain HTTP is served on loopback addresses only, and {0} is none; set tls.certificate and tls.key")]
    PlainHttp(SocketAddr),
    /// Certificate or key cannot be used.
    #[error("the certificate for MCP clients cannot be used")]
    Certificate(#[from] CertificateError),
    /// rustls refuses the configuration, which is a defect.
    #[error("HTTPS cannot be served")]
    Tls(#[from] TlsError),
}

/// A listener that accepts nothing yet.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    certificate: Option<PublicCertificate>,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    timeouts: Timeouts,
    trusted_proxies: Arc<[IpNet]>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("address", &self.address)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Binds the address and loads the certificate.
    ///
    /// # Errors
    /// [`ListenError`] names the address or the file.
    pub async fn bind(
        listen: SocketAddr,
        transport: &Transport,
        limits: Limits,
        trusted_proxies: Vec<IpNet>,
    ) -> Result<Self, ListenError> {
        let certificate = match transport {
            Transport::Https { certificate, key, look_every } => {
                Some(PublicCertificate::load(certificate.clone(), key.clone(), *look_every)?)
            }
            Transport::PlainHttp if listen.ip().is_loopback() => None,
            Transport::PlainHttp => return Err(ListenError::PlainHttp(listen)),
        };
        let tls = certificate.clone().map(tls::acceptor).transpose()?;
        let failed = |source| ListenError::Bind { address: listen, source };
        let tcp = TcpListener::bind(listen).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        let timeouts = Timeouts::default();
        Ok(Self { tcp, address, certificate, tls, limits, timeouts, trusted_proxies: trusted_proxies.into() })
    }

    /// The bound address, with the port that the kernel chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate that clients see; `None` for plain HTTP.
    pub fn certificate(&self) -> Option<PublicCertificate> {
        self.certificate.clone()
    }

    /// The same listener with other bounds on slow clients.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Serves until `shutdown`; then takes nothing new, lets running requests
    /// end, and cuts what is left after `deadline`.
    pub async fn serve(self, router: Router, shutdown: CancellationToken, deadline: Duration) {
        let connections = TaskTracker::new();
        let force = CancellationToken::new();
        let slots = Arc::new(Semaphore::new(usize::try_from(self.limits.connections).unwrap_or(usize::MAX)));
        loop {
            // The slot first: connections that find none wait in the kernel's
            // queue instead of in our memory.
            let accepted = tokio::select! {
                accepted = accept(&self.tcp, &slots) => accepted,
                () = shutdown.cancelled() => break,
            };
            let (slot, tcp, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let connection = Connection {
                peer,
                tls: self.tls.clone(),
                router: router.clone(),
                streams: self.limits.streams_per_connection,
                timeouts: self.timeouts,
                trusted_proxies: Arc::clone(&self.trusted_proxies),
                shutdown: shutdown.clone(),
            };
            let force = force.clone();
            connections.spawn(async move {
                let _slot = slot;
                tokio::select! {
                    () = connection.run(tcp) => {}
                    () = force.cancelled() => {}
                }
            });
        }
        drop(self.tcp);
        connections.close();
        if timeout(deadline, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "connections did not end in time and are cut");
            force.cancel();
            connections.wait().await;
        }
    }
}

async fn accept(
    tcp: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std_io::Result<(tokio::sync::OwnedSemaphorePermit, tokio::net::TcpStream, SocketAddr)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(std_io::Error::other)?;
    let (tcp, peer) = tcp.accept().await?;
    Ok((slot, tcp, peer))
}

#[cfg(test)]
mod tests;
