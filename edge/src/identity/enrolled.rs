//! An identity at rest: key, chain and authorities, in memory or in one file.
//! Invariant: the file is replaced in one step, so that key and certificate
//! always belong together, also after a crash.

use std::{
    mem,
    path::{Path, PathBuf},
};

use nla_domain::{clock::Timestamp, id::EdgeId, secret::Secret};
use nla_proto::{
    files,
    tls::{
        self, Roots, TlsError,
        peer::{Peer, PeerCertificate},
    },
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use x509_parser::{
    extensions::ParsedExtension,
    prelude::{FromDer, X509Certificate},
};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{IdentityError, Storage};

const FILE_NAME: &str = "identity.json";

/// A key and the certificate for it.
#[derive(Debug, Clone)]
pub struct Enrolled {
    edge_id: EdgeId,
    not_before: Timestamp,
    not_after: Timestamp,
    key_pem: Secret,
    chain_pem: String,
    ca_bundle_pem: String,
    join_token_hash: Option<[u8; 32]>,
}

impl Enrolled {
    /// Checks that the certificate is one of an edge.
    pub(super) fn new(
        key_pem: Secret,
        chain_pem: String,
        ca_bundle_pem: String,
        join_token_hash: Option<[u8; 32]>,
    ) -> Result<Self, TlsError> {
        let identity = tls::Identity::from_pem(chain_pem.as_bytes(), key_pem.expose().as_bytes())?;
        let own = identity.chain().first().ok_or(TlsError::Identity("there is no certificate"))?;
        let certificate = PeerCertificate::from_der(own)?;
        let Peer::Edge(edge_id) = certificate.peer else {
            return Err(TlsError::Identity("it is not one of an edge"));
        };
        let (_, x509) =
            X509Certificate::from_der(own).map_err(|_| TlsError::Identity("it is not an X.509 certificate"))?;
        let not_before = Timestamp::from_micros(x509.validity().not_before.timestamp().saturating_mul(1_000_000));
        let not_after = certificate.not_after;
        Ok(Self { edge_id, not_before, not_after, key_pem, chain_pem, ca_bundle_pem, join_token_hash })
    }

    /// The edge's name, as the control plane gave it.
    pub fn edge_id(&self) -> &EdgeId {
        &self.edge_id
    }

    /// When the certificate ends.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// When the certificate begins.
    pub(super) fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// SHA-256 of the join token that was spent for it.
    pub(super) fn join_token_hash(&self) -> Option<[u8; 32]> {
        self.join_token_hash
    }

    /// Whom it trusts, PEM.
    pub(super) fn ca_bundle_pem(&self) -> &str {
        &self.ca_bundle_pem
    }

    /// The same identity with other authorities.
    pub(super) fn with_bundle(&self, ca_bundle_pem: String) -> Self {
        Self { ca_bundle_pem, ..self.clone() }
    }

    /// Whether the first of the authorities, which signs now, has signed the
    /// certificate, as far as their key identifiers tell (RFC 5280, sections
    /// 4.2.1.1 and 4.2.1.2).
    pub(super) fn is_of_signing_authority(&self) -> bool {
        let first = |pem: &str| Some(CertificateDer::pem_slice_iter(pem.as_bytes()).next()?.ok()?.to_vec());
        let (own, authority) = (first(&self.chain_pem), first(&self.ca_bundle_pem));
        let issuer = own.and_then(|der| {
            let (_, own) = X509Certificate::from_der(&der).ok()?;
            own.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(key) => Some(key.key_identifier.as_ref()?.0.to_vec()),
                _ => None,
            })
        });
        let signer = authority.and_then(|der| {
            let (_, authority) = X509Certificate::from_der(&der).ok()?;
            authority.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0.to_vec()),
                _ => None,
            })
        });
        // Without both there is nothing to compare.
        issuer.is_none() || signer.is_none() || issuer == signer
    }

    /// As TLS uses it.
    pub(super) fn tls(&self) -> Result<(tls::Identity, Roots), TlsError> {
        let identity = tls::Identity::from_pem(self.chain_pem.as_bytes(), self.key_pem.expose().as_bytes())?;
        Ok((identity, Roots::from_pem(self.ca_bundle_pem.as_bytes())?))
    }
}

/// The file's form.
#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Stored {
    key_pem: String,
    #[zeroize(skip)]
    chain_pem: String,
    #[zeroize(skip)]
    ca_bundle_pem: String,
    #[zeroize(skip)]
    join_token_sha256: Option<[u8; 32]>,
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE_NAME)
}

/// The stored identity; `None` when there is no file.
pub(super) fn load(storage: &Storage) -> Result<Option<Enrolled>, IdentityError> {
    let Storage::File(folder) = storage else { return Ok(None) };
    let path = path(folder);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read_private(&path)?;
    // serde_json's message can quote what it read, which may be the key.
    let mut stored: Stored = serde_json::from_slice(&bytes).map_err(|error| IdentityError::Damaged {
        path: path.clone(),
        source: format!("not the expected JSON at line {}, column {}", error.line(), error.column()).into(),
    })?;
    let key_pem = Secret::new(mem::take(&mut stored.key_pem));
    let (chain_pem, ca_bundle_pem) = (mem::take(&mut stored.chain_pem), mem::take(&mut stored.ca_bundle_pem));
    Enrolled::new(key_pem, chain_pem, ca_bundle_pem, stored.join_token_sha256)
        .map(Some)
        .map_err(|source| IdentityError::Damaged { path, source: Box::new(source) })
}

/// Keeps the identity for the next start, where that is configured.
pub(super) fn store(storage: &Storage, enrolled: &Enrolled) -> Result<(), IdentityError> {
    let Storage::File(folder) = storage else { return Ok(()) };
    let stored = Stored {
        key_pem: enrolled.key_pem.expose().to_owned(),
        chain_pem: enrolled.chain_pem.clone(),
        ca_bundle_pem: enrolled.ca_bundle_pem.clone(),
        join_token_sha256: enrolled.join_token_hash,
    };
    let text = serde_json::to_vec(&stored).map(Zeroizing::new).expect("strings and bytes are always JSON");
    files::write_private(&path(folder), &text)?;
    Ok(())
}
