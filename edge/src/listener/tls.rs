//! HTTPS towards MCP clients, with the edge's public certificate. `Listener`
//! builds it once. Invariant: TLS 1.2 or newer; the certificate is looked up
//! per handshake, so that another one can take its place while connections
//! live.

use std::sync::Arc;

use nla_proto::tls::{TlsError, provider};
use rustls::{
    ServerConfig,
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

use super::certificate::PublicCertificate;

pub(super) fn acceptor(certificate: PublicCertificate) -> Result<TlsAcceptor, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|source| TlsError::Rustls { what: "TLS 1.2 and 1.3", source })?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
