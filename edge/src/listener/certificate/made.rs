//! Certificates for tests: a root, an intermediate authority under it, and
//! servers' chains that leave the root to the client.

use std::path::{Path, PathBuf};

use nla_proto::files::{write_private, write_public};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SignatureAlgorithm};
use rustls::RootCertStore;
use time::{Duration, OffsetDateTime};

pub(crate) struct Authorities {
    pub(crate) roots: RootCertStore,
    pub(crate) root_pem: String,
    pub(crate) intermediate_pem: String,
    intermediate: Issuer<'static, KeyPair>,
}

/// What an authority hands out.
pub(crate) struct Pair {
    /// Own certificate and intermediate.
    pub(crate) chain: String,
    /// Own certificate only.
    pub(crate) leaf: String,
    pub(crate) key: String,
    /// DER of the own certificate.
    pub(crate) der: Vec<u8>,
}

fn authority(name: &str, depth: u8, algorithm: &'static SignatureAlgorithm) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(depth));
    (params, KeyPair::generate_for(algorithm).unwrap())
}

impl Authorities {
    pub(crate) fn new() -> Self {
        Self::with_keys(&rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub(crate) fn with_keys(algorithm: &'static SignatureAlgorithm) -> Self {
        let (params, key) = authority("root", 1, algorithm);
        let root = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let (params, key) = authority("intermediate", 0, algorithm);
        let intermediate_pem = params.signed_by(&key, &issuer).unwrap().pem();
        let mut roots = RootCertStore::empty();
        roots.add(root.der().clone()).unwrap();
        Self { roots, root_pem: root.pem(), intermediate_pem, intermediate: Issuer::new(params, key) }
    }

    /// For `localhost`, 90 days long.
    pub(crate) fn issue(&self) -> Pair {
        let now = OffsetDateTime::now_utc();
        self.issue_for(now - Duration::days(1), now + Duration::days(89))
    }

    pub(crate) fn issue_for(&self, from: OffsetDateTime, until: OffsetDateTime) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        (params.not_before, params.not_after) = (from, until);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.intermediate).unwrap();
        Pair {
            chain: format!("{}{}", leaf.pem(), self.intermediate_pem),
            leaf: leaf.pem(),
            key: key.serialize_pem(),
            der: leaf.der().to_vec(),
        }
    }
}

/// Renames both over what is there.
pub(crate) fn put(folder: &Path, pair: &Pair) -> (PathBuf, PathBuf) {
    let files = (folder.join("tls.crt"), folder.join("tls.key"));
    write_public(&files.0, pair.chain.as_bytes()).unwrap();
    write_private(&files.1, pair.key.as_bytes()).unwrap();
    files
}
