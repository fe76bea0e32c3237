//! HTTPS towards MCP clients, with the edge's public certificate. `Listener`
//! builds it once. Invariant: TLS 1.2 or newer; the private key was readable by
//! its owner only; the certificate is looked up per handshake, so that another
//! one can take its place while connections live.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use nla_proto::tls::{Identity, TlsError, provider};
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

#[derive(Debug)]
struct Serving(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

pub(super) fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let identity = Identity::load(certificate, key)?;
    let provider = provider();
    let failed = |what| move |source| TlsError::Rustls { what, source };
    // Also checks that the key belongs to the certificate.
    let certified = CertifiedKey::from_der(identity.chain().to_vec(), identity.key(), &provider)
        .map_err(failed("the certificate with its key"))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(failed("TLS 1.2 and 1.3"))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Serving(ArcSwap::from_pointee(certified))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
