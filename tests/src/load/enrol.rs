//! Certificates for hundreds of edges on one machine. The control plane slows
//! down joins from one address; so each goes through a forwarder that shows an
//! address of its own, of which loopback has millions.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};
use nla_domain::join::JoinToken;
use nla_proto::{
    tls::{
        Identity, Roots,
        client::{self, ClientTls},
    },
    v1::{self, enrolment_client::EnrolmentClient},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};

/// Takes connections at one address and passes them on from many.
#[derive(Debug)]
pub(super) struct Forwarder {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Forwarder {
    /// Passes connections on to `to`.
    pub(super) async fn start(to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let next = AtomicU32::new(2);
            while let Ok((mut client, _)) = listener.accept().await {
                let from = next.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    if let Ok(mut server) = connect(from, to).await {
                        // Either end may close first.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Ok(Self { address, task })
    }

    /// Spends a join token.
    pub(super) async fn join(&self, join_token: &str) -> Result<(Identity, Roots)> {
        let pin = JoinToken::parse(join_token).context("the control plane made a malformed join token")?.ca_pin();
        let channel = client::connect(&format!("https://{}", self.address), &ClientTls::pinned(pin)?).await;
        let channel = channel.map_err(|failure| anyhow::anyhow!("{failure}"))?;
        let key = rcgen::KeyPair::generate()?;
        let csr_pem = rcgen::CertificateParams::default().serialize_request(&key)?.pem()?;
        let request = v1::JoinRequest { join_token: join_token.to_owned(), csr_pem };
        let joined = EnrolmentClient::new(channel).join(request).await?.into_inner();
        let certificate = joined.certificate.context("the control plane issued no certificate")?;
        let identity = Identity::from_pem(certificate.chain_pem.as_bytes(), key.serialize_pem().as_bytes())?;
        Ok((identity, Roots::from_pem(certificate.ca_bundle_pem.as_bytes())?))
    }
}

async fn connect(from: u32, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let [_, _, high, low] = from.to_be_bytes();
    socket.bind(SocketAddr::from(([127, 1, high, low], 0)))?;
    socket.connect(to).await
}
