//! TLS to PostgreSQL with libpq's four sslmodes (PostgreSQL manual, 34.19):
//! what each verifies, and what it says when the server's certificate is not
//! accepted. Edges and the control plane connect with it.
//! Invariant: `require` encrypts and verifies nothing, `verify-ca` proves the
//! issuer, `verify-full` proves issuer and name; there is no fallback to less.

use std::sync::Arc;

use nla_domain::database::{Database, SslMode};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

/// The configured root certificate is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Not PEM.
    #[error("the configured root certificate is not a PEM file with at least one certificate")]
    Pem,
    /// Of another version than 3.
    #[error("the configured root certificate cannot be read: PostgreSQL's TLS needs X.509 version 3")]
    Certificate,
    /// Verification has nothing to verify against.
    #[error("no root certificate is configured")]
    Missing,
}

/// TLS for a database, or `None` where it is disabled.
///
/// # Errors
/// [`RootError`] when the configured root cannot be used.
pub fn client_config(database: &Database) -> Result<Option<Arc<ClientConfig>>, RootError> {
    if database.sslmode == SslMode::Disable {
        return Ok(None);
    }
    let provider = super::provider();
    let verifier = Verifier::new(database, Arc::clone(&provider))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Some(Arc::new(config)))
}

#[derive(Debug)]
struct Verifier {
    mode: SslMode,
    roots: RootCertStore,
    /// The roots byte for byte: a server may present one of them itself.
    root_certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(database: &Database, provider: Arc<CryptoProvider>) -> Result<Self, RootError> {
        let mode = database.sslmode;
        let mut roots = RootCertStore::empty();
        let mut root_certificates = Vec::new();
        if matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull) {
            let pem = database.root_certificate_pem.as_deref().ok_or(RootError::Missing)?;
            root_certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| RootError::Pem)?;
            if root_certificates.is_empty() {
                return Err(RootError::Pem);
            }
            for certificate in &root_certificates {
                roots.add(certificate.clone()).map_err(|_| RootError::Certificate)?;
            }
        }
        Ok(Self { mode, roots, root_certificates, provider })
    }

    fn verify_issuer(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        // A self-signed server certificate, as PostgreSQL's manual makes it, is
        // its own root; the general rules refuse an authority as a server.
        if self.root_certificates.iter().any(|root| root == certificate) {
            return verify_validity(certificate, now);
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)
    }
}

fn verify_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    if now > parsed.validity().not_after.timestamp() {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    Ok(())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.mode {
            SslMode::Disable | SslMode::Require => {}
            SslMode::VerifyCa => self.verify_issuer(certificate, intermediates, now)?,
            SslMode::VerifyFull => {
                self.verify_issuer(certificate, intermediates, now)?;
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What to do about a failed handshake, without the names in it.
pub fn explain(error: &Error) -> String {
    let Error::InvalidCertificate(certificate) = error else {
        return match error {
            Error::AlertReceived(alert) => format!("the server refused the TLS handshake ({alert:?})"),
            Error::PeerIncompatible(_) => "the server supports no TLS version or cipher that is still safe".to_owned(),
            _ => "the TLS handshake failed".to_owned(),
        };
    };
    match certificate {
        CertificateError::UnknownIssuer => {
            "the server's certificate was not issued by the configured root certificate".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another host name; use the name in the certificate, or sslmode verify-ca"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet".to_owned()
        }
        CertificateError::BadSignature => "the server's certificate has a wrong signature".to_owned(),
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the server presents an authority's certificate; configure exactly that certificate as the root".to_owned()
        }
        other if format!("{other:?}").contains("UnsupportedCertVersion") => {
            "the server's certificate is X.509 version 1; issue one of version 3 (openssl: with -extfile or -addext)"
                .to_owned()
        }
        _ => "the server's certificate is not acceptable".to_owned(),
    }
}
