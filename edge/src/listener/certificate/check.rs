//! Reads certificate and key and says whether they can be served. The start
//! and `watch` call it. Invariant: a [`Served`] is a chain in order, own
//! certificate first, with the key of that certificate, which nobody but the
//! owner of its file could read. Nothing of a key's content gets into an error.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest::{Context, SHA256};
use nla_domain::clock::Timestamp;
use nla_proto::{
    files::{self, FileError},
    tls::provider,
};
use rustls::{
    InconsistentKeys,
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::{Files, expiry::Validity};

/// Why a certificate is not served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file was missing, exposed or unreadable.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file holds something else than it should.
    #[error("{} {problem}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// rustls refused the key.
    #[error("the key in {} cannot be used", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
}

fn content(path: &Path, problem: impl Into<String>) -> CertificateError {
    CertificateError::Content { path: path.to_owned(), problem: problem.into() }
}

/// SHA-256 of both files.
pub(super) type Fingerprint = [u8; 32];

/// The bytes of both files.
pub(super) struct Material {
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

/// What handshakes use.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) validity: Validity,
    /// Of the files that it came from.
    pub(super) fingerprint: Fingerprint,
}

impl Material {
    pub(super) fn read(files: &Files) -> Result<Self, CertificateError> {
        Ok(Self { chain: files::read_public(&files.certificate)?, key: files::read_private(&files.key)? })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        // Each with its length, so that bytes cannot wander between the files unseen.
        for bytes in [self.chain.as_slice(), self.key.as_slice()] {
            context.update(&bytes.len().to_be_bytes());
            context.update(bytes);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref());
        fingerprint
    }

    /// Everything but the calendar.
    pub(super) fn check(&self, files: &Files) -> Result<Served, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .filter(|chain| !chain.is_empty())
            .ok_or_else(|| {
                content(&files.certificate, "is not complete PEM with the certificate chain, own certificate first")
            })?;
        // Without the parser's error: it may quote the line that it fell over.
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| content(&files.key, "is not complete PEM with one private key"))?;
        let validity = check_chain(&chain, &files.certificate)?;
        let certified = certify(chain, &key, files)?;
        Ok(Served { certified: Arc::new(certified), validity, fingerprint: self.fingerprint() })
    }
}

impl Validity {
    /// Whether a client that looks at `now` accepts it.
    pub(super) fn check(self, now: Timestamp, file: &Path) -> Result<(), CertificateError> {
        if now > self.not_after {
            return Err(content(file, format!("holds a certificate that expired at {}", self.not_after)));
        }
        if now < self.not_before {
            return Err(content(
                file,
                format!("holds a certificate that is valid only from {}; it is taken then", self.not_before),
            ));
        }
        Ok(())
    }
}

/// The own certificate's validity, once each certificate is found to be signed
/// by the next one. Whether the last one is signed by an authority that clients
/// know cannot be told here. The others' dates are left to the clients: some
/// authorities send an expired cross-certificate on purpose.
fn check_chain(chain: &[CertificateDer<'static>], file: &Path) -> Result<Validity, CertificateError> {
    let parsed = chain
        .iter()
        .enumerate()
        .map(|(index, der)| {
            X509Certificate::from_der(der)
                .map(|(_, parsed)| parsed)
                .map_err(|_| content(file, format!("is broken: its certificate {} cannot be read", index + 1)))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let algorithms = provider().signature_verification_algorithms;
    for (index, pair) in parsed.windows(2).enumerate() {
        if !signed_by(&pair[0], &pair[1], &algorithms) {
            return Err(content(
                file,
                format!(
                    "is not a chain: certificate {} is not signed by the one after it; write the edge's own \
                     certificate first, then the one that signed it, and so on",
                    index + 1
                ),
            ));
        }
    }
    let validity = parsed.first().ok_or_else(|| content(file, "holds no certificate"))?.validity();
    let timestamp = |at: x509_parser::time::ASN1Time| Timestamp::from_micros(at.timestamp().saturating_mul(1_000_000));
    Ok(Validity { not_before: timestamp(validity.not_before), not_after: timestamp(validity.not_after) })
}

fn signed_by(own: &X509Certificate<'_>, next: &X509Certificate<'_>, algorithms: &WebPkiSupportedAlgorithms) -> bool {
    let key = &next.public_key().subject_public_key.data;
    own.issuer().as_raw() == next.subject().as_raw()
        // Trying each is simpler than mapping names, and this is no defence: clients verify.
        && algorithms.all.iter().any(|algorithm| {
            algorithm.verify_signature(key, own.tbs_certificate.as_ref(), &own.signature_value.data).is_ok()
        })
}

fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
    files: &Files,
) -> Result<CertifiedKey, CertificateError> {
    CertifiedKey::from_der(chain, key.clone_key(), &provider()).map_err(|source| match source {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            content(&files.key, format!("does not belong to the first certificate in {}", files.certificate.display()))
        }
        source => CertificateError::Key { path: files.key.clone(), source },
    })
}
