//! TLS between NLA's own programs: who they are ([`Identity`]), whom they
//! trust ([`Roots`]), how the other side is recognised ([`peer`]), and the
//! channels and listeners built on it. One crypto provider, chosen here.

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::files::{self, FileError};

pub mod client;
pub mod peer;
pub mod postgres;
pub mod server;
mod verify;

/// The provider of all cryptography in TLS. Always passed explicitly: a
/// process-wide default could be another one.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Why certificates or keys could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file was missing, exposed or unreadable.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not the PEM that was expected.
    #[error("{what} is not valid PEM with {expected}")]
    Pem {
        /// What was read.
        what: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// rustls refused the material.
    #[error("{what} cannot be used")]
    Rustls {
        /// What was built.
        what: &'static str,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// The certificate does not say who it is for, or says it wrongly.
    #[error("the certificate names no NLA identity: {0}")]
    Identity(&'static str),
}

/// A certificate chain and its private key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// From PEM texts.
    ///
    /// # Errors
    /// [`TlsError::Pem`] when there is no certificate or not one key.
    pub fn from_pem(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain_pem)
            .ok_or(TlsError::Pem { what: "the certificate", expected: "at least one CERTIFICATE block" })?;
        let key = PrivateKeyDer::from_pem_slice(key_pem)
            .map_err(|_| TlsError::Pem { what: "the private key", expected: "one PRIVATE KEY block" })?;
        Ok(Self { chain, key })
    }

    /// From files; the key must be readable by its owner only.
    ///
    /// # Errors
    /// [`TlsError::File`] or [`TlsError::Pem`].
    pub fn load(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::from_pem(&files::read_public(chain)?, &files::read_private(key)?)
    }

    /// The certificate chain, own certificate first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// A copy of the private key, for a TLS configuration.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Certificate authorities to trust.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// From a PEM bundle.
    ///
    /// # Errors
    /// When it holds no certificate, or one that cannot be a root.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let found = certificates(pem)
            .ok_or(TlsError::Pem { what: "the CA bundle", expected: "at least one CERTIFICATE block" })?;
        let mut store = RootCertStore::empty();
        for certificate in found {
            store.add(certificate).map_err(|source| TlsError::Rustls { what: "the CA bundle", source })?;
        }
        Ok(Self(Arc::new(store)))
    }

    /// As rustls wants them.
    pub fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.0)
    }
}

/// All certificates of a PEM text; `None` when there is none or one is broken.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    (!found.is_empty()).then_some(found)
}
