//! Connections of the sandbox itself: TLS with full verification against the
//! server's own authority, so that a stranger on the same port is never taken
//! for our server.

use std::path::Path;
use std::sync::Arc;

use nla_domain::secret::Secret;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::PostgresError;

/// TLS settings that trust exactly the authority in `ca`.
///
/// # Errors
/// The file cannot be read or holds no certificate.
pub(crate) fn tls(ca: &Path) -> Result<MakeRustlsConnect, PostgresError> {
    let config = || -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca)?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth())
    };
    config().map(MakeRustlsConnect::new).map_err(|source| PostgresError::Tls { path: ca.to_owned(), source })
}

/// Connects and leaves the connection to a task, which ends with the client.
///
/// # Errors
/// Whatever the server or the TLS handshake refuses.
pub(crate) async fn connect(
    tls: MakeRustlsConnect,
    port: u16,
    database: &str,
    user: &str,
    password: &Secret,
) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .dbname(database)
        .user(user)
        .password(password.expose())
        .application_name("nla-sandbox")
        .ssl_mode(SslMode::Require)
        .channel_binding(ChannelBinding::Require);
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to the sandbox's PostgreSQL ended");
        }
    });
    Ok(client)
}
