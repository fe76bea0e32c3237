//! How a client of ours recognises the control plane: by its SPIFFE id under
//! the authorities that it trusts, or, before it trusts any, by the pin in its
//! join token. DNS names play no part, so that the control plane can be
//! reached by any address.

use std::sync::Arc;

use nla_domain::join::CaPin;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::peer::{Peer, PeerCertificate};

/// What makes a server the control plane.
#[derive(Debug)]
pub(crate) enum Trust {
    /// These authorities, and this trust domain.
    Roots { roots: Arc<RootCertStore>, trust_domain: String },
    /// The authority with this pin, which the server sends along.
    Pin(CaPin),
}

#[derive(Debug)]
pub(crate) struct ControlPlaneVerifier {
    pub(crate) trust: Trust,
    pub(crate) provider: Arc<CryptoProvider>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotControlPlane(&'static str);

fn refuse(reason: &'static str) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NotControlPlane(reason)))))
}

impl ServerCertVerifier for ControlPlaneVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned;
        let (roots, domain) = match &self.trust {
            Trust::Roots { roots, trust_domain } => (roots.as_ref(), Some(trust_domain)),
            Trust::Pin(pin) => {
                let authority = intermediates
                    .iter()
                    .find(|der| CaPin::of(der) == *pin)
                    .ok_or_else(|| refuse("the server's authority is not the one that the join token names"))?;
                let mut store = RootCertStore::empty();
                store.add(authority.clone().into_owned())?;
                pinned = store;
                (&pinned, None)
            }
        };
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)?;
        let certificate = PeerCertificate::from_der(end_entity)
            .map_err(|_| refuse("the server's certificate is not one of a control plane"))?;
        if certificate.peer != Peer::ControlPlane {
            return Err(refuse("the server's certificate is not one of a control plane"));
        }
        if domain.is_some_and(|domain| *domain != certificate.trust_domain) {
            return Err(refuse("the server belongs to another trust domain"));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
