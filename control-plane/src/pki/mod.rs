//! The control plane's own certificate authority. It certifies edges,
//! operators and the control plane itself by a SPIFFE id, and nobody else.
//! Its record lives in the store; `csr` decides which keys it signs.

mod authority;
mod csr;
pub mod slots;

pub use authority::{Authority, Issued, IssuedWithKey};
pub use csr::CsrError;

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The request is refused.
    #[error("the certificate request is refused")]
    Csr(#[from] CsrError),
    /// The authority as stored does not work.
    #[error("the certificate authority cannot be used")]
    Authority(#[source] rcgen::Error),
    /// The certificate could not be made.
    #[error("the certificate could not be made")]
    Issue(#[source] rcgen::Error),
    /// A name for the control plane's certificate.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Name(String),
    /// Trust domains are lower-case DNS-like names (SPIFFE ID specification, section 2.1).
    #[error("{0:?} is not a trust domain: use 1 to 255 of a-z, 0-9, '-', '_' and '.'")]
    TrustDomain(String),
    /// The store holds none.
    #[error("the data folder holds no certificate authority: was it made by `nla-control-plane init`?")]
    Missing,
    /// Longer than the authority itself.
    #[error("the authority ends before the certificate would: replace the authority first, with `nlactl ca prepare`")]
    Expired,
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] crate::crypto::NoRandomness),
}

impl From<PkiError> for nla_proto::failure::Failure {
    fn from(error: PkiError) -> Self {
        use nla_domain::error::ErrorKind;
        match error {
            PkiError::Csr(error) => Self::invalid("csr_pem", error.to_string()),
            PkiError::Expired | PkiError::Missing => Self::new(ErrorKind::Unavailable, error.to_string()),
            other => {
                tracing::error!(error = %other, cause = ?std::error::Error::source(&other), "no certificate was made");
                Self::new(ErrorKind::Internal, other.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests;
