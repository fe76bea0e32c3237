//! Channels to the control plane.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use nla_domain::{error::ErrorKind, join::CaPin};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::{
    Identity, Roots, TlsError,
    peer::PeerCertificate,
    provider,
    verify::{ControlPlaneVerifier, Trust},
};
use crate::failure::Failure;

/// A control plane that does not answer within this time is taken to be down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often an idle connection is tested, so that a cut line shows.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long the test's answer may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// TLS towards the control plane. Shared by channels; a new identity is used
/// by their next connection, without a restart.
#[derive(Clone)]
pub struct ClientTls(Arc<ArcSwap<ClientConfig>>);

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientTls")
    }
}

impl ClientTls {
    /// mTLS with this identity towards a control plane of the same trust
    /// domain under these authorities.
    ///
    /// # Errors
    /// When the identity is not one of ours or its key does not fit.
    pub fn new(identity: &Identity, roots: &Roots) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(mutual(identity, roots)?))))
    }

    /// Uses another identity from the next connection on.
    ///
    /// # Errors
    /// As [`ClientTls::new`]; the old identity then stays in use.
    pub fn replace(&self, identity: &Identity, roots: &Roots) -> Result<(), TlsError> {
        self.0.store(Arc::new(mutual(identity, roots)?));
        Ok(())
    }

    /// No client certificate; the control plane is known by its CA's pin.
    ///
    /// # Errors
    /// When rustls refuses the configuration, which is a defect.
    pub fn pinned(pin: CaPin) -> Result<Self, TlsError> {
        let config = builder(Trust::Pin(pin))?.with_no_client_auth();
        Ok(Self(Arc::new(ArcSwap::from_pointee(with_alpn(config)))))
    }
}

fn mutual(identity: &Identity, roots: &Roots) -> Result<ClientConfig, TlsError> {
    let own = identity.chain().first().ok_or(TlsError::Identity("there is no certificate"))?;
    let trust_domain = PeerCertificate::from_der(own)?.trust_domain;
    let config = builder(Trust::Roots { roots: roots.store(), trust_domain })?
        .with_client_auth_cert(identity.chain().to_vec(), identity.key())
        .map_err(|source| TlsError::Rustls { what: "the client certificate with its key", source })?;
    Ok(with_alpn(config))
}

fn builder(trust: Trust) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TlsError> {
    let provider = provider();
    let verifier = ControlPlaneVerifier { trust, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| TlsError::Rustls { what: "TLS 1.3", source })?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
}

fn with_alpn(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// A channel that connects when first used and again whenever it has to.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] when the URL is not `https://host:port`.
pub fn channel(url: &str, tls: &ClientTls) -> Result<Channel, Failure> {
    let (endpoint, target) = endpoint(url)?;
    Ok(endpoint.connect_with_connector_lazy(connector(target, tls.clone())))
}

/// A channel that is connected.
///
/// # Errors
/// As [`channel`]; [`ErrorKind::Unavailable`] with the cause when nobody
/// answers or TLS fails.
pub async fn connect(url: &str, tls: &ClientTls) -> Result<Channel, Failure> {
    let (endpoint, target) = endpoint(url)?;
    endpoint.connect_with_connector(connector(target, tls.clone())).await.map_err(|error| {
        let mut text = format!("cannot reach the control plane at {url}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Failure::new(ErrorKind::Unavailable, text)
    })
}

/// Host and port of the TLS connection.
#[derive(Clone)]
struct Target {
    host: String,
    port: u16,
}

fn endpoint(url: &str) -> Result<(Endpoint, Target), Failure> {
    let malformed = || {
        Failure::invalid(
            "url",
            format!("{:?} is not of the form https://host:port", url.chars().take(200).collect::<String>()),
        )
    };
    let uri: Uri = url.parse().map_err(|_| malformed())?;
    if uri.scheme_str() != Some("https") || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(malformed());
    }
    let host = uri.host().ok_or_else(malformed)?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().ok_or_else(malformed)?;
    let endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok((endpoint, Target { host, port }))
}

fn connector(
    target: Target,
    tls: ClientTls,
) -> impl tower::Service<Uri, Response = TokioIo<TlsStream<TcpStream>>, Error = std::io::Error, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(move |_: Uri| {
        let (target, tls) = (target.clone(), tls.clone());
        async move {
            let handshake = async {
                let tcp = TcpStream::connect((target.host.as_str(), target.port)).await?;
                tcp.set_nodelay(true)?;
                let name = ServerName::try_from(target.host).map_err(std::io::Error::other)?;
                TlsConnector::from(tls.0.load_full()).connect(name, tcp).await
            };
            match tokio::time::timeout(CONNECT_TIMEOUT, handshake).await {
                Ok(stream) => Ok(TokioIo::new(stream?)),
                Err(_) => Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 3 s")),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let cases = [
            ("https://127.0.0.1:7443", true),
            ("https://cp.example.com:7443/", true),
            ("https://[::1]:7443", true),
            ("http://127.0.0.1:7443", false),
            ("https://127.0.0.1", false),
            ("https://127.0.0.1:7443/x", false),
            ("127.0.0.1:7443", false),
            ("", false),
        ];
        for (url, valid) in cases {
            assert_eq!(endpoint(url).is_ok(), valid, "{url}");
        }
    }
}
