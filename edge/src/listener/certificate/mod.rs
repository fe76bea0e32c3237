//! The certificate that MCP clients see, and its replacement while the edge
//! serves. `listener` loads it and asks it per handshake, `app` runs its
//! [`Watch`], `/readyz` shows its end. Invariant: what is served has passed
//! every check but the calendar's at the start, and all of them at a
//! replacement; connections that live are not touched by a replacement.

mod check;
mod expiry;
mod watch;

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use nla_domain::clock::{Timestamp, WallClock};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use serde::Serialize;

pub use self::{check::CertificateError, watch::Watch};
use self::{
    check::{Material, Served},
    expiry::Validity,
};

/// Where certificate and key lie.
#[derive(Debug, Clone)]
struct Files {
    /// PEM, the edge's own certificate first.
    certificate: PathBuf,
    /// PEM, readable by its owner only.
    key: PathBuf,
}

/// The certificate in use. Clones share it.
#[derive(Debug, Clone)]
pub struct PublicCertificate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    look_every: Duration,
    served: ArcSwap<Served>,
}

/// What `/readyz` says of it. Everybody may know: each handshake tells it.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct CertificateReport {
    /// RFC 3339.
    pub expires_at: String,
    /// Whole days; negative once it has expired.
    pub days_left: i64,
}

impl PublicCertificate {
    /// Loads both files. An expired certificate is taken: an edge that clients
    /// refuse says so in its log and in `/readyz`, one that is down does not.
    ///
    /// # Errors
    /// [`CertificateError`] names the file and what is wrong with it.
    pub(super) fn load(certificate: PathBuf, key: PathBuf, look_every: Duration) -> Result<Self, CertificateError> {
        let files = Files { certificate, key };
        let served = Material::read(&files)?.check(&files)?;
        Ok(Self(Arc::new(Inner { files, look_every, served: ArcSwap::from_pointee(served) })))
    }

    /// The task that replaces it when its files change, and warns of its end.
    pub fn watch(&self, wall: Arc<dyn WallClock>) -> Watch {
        Watch::new(self.clone(), wall)
    }

    /// For `/readyz`.
    pub fn report(&self, now: Timestamp) -> CertificateReport {
        let validity = self.validity();
        CertificateReport { expires_at: validity.not_after.to_string(), days_left: validity.days_left(now) }
    }

    /// When it ends.
    pub fn not_after(&self) -> Timestamp {
        self.validity().not_after
    }

    fn validity(&self) -> Validity {
        self.0.served.load().validity
    }
}

impl ResolvesServerCert for PublicCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.served.load().certified))
    }
}

#[cfg(test)]
pub(super) use self::watch::Look;
#[cfg(test)]
pub(super) mod made;
#[cfg(test)]
mod tests;
