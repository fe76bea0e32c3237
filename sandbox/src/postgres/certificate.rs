//! The server's TLS certificate, from an authority that exists only while it is
//! made: its key is never written, so nobody can issue a second certificate.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use super::account::Account;
use super::error::PostgresError;

/// Paths of the files that the server reads and that clients trust.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) ca: PathBuf,
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes the files in `folder`, or keeps those of an earlier start, so that
    /// clients which trust the authority survive a restart of the server.
    ///
    /// # Errors
    /// The files cannot be made or written.
    pub(crate) fn ensure(folder: &Path, account: &Account) -> Result<Self, PostgresError> {
        let files =
            Self { ca: folder.join("ca.pem"), chain: folder.join("server.pem"), key: folder.join("server.key") };
        if files.key.exists() && files.chain.exists() && files.ca.exists() {
            return Ok(files);
        }
        let (ca, chain, key) = issue().map_err(PostgresError::Certificate)?;
        write(&files.ca, &ca, 0o644)?;
        write(&files.chain, &chain, 0o644)?;
        write(&files.key, &key, 0o600)?;
        account.own(&files.key)?;
        Ok(files)
    }
}

fn issue() -> Result<(String, String, String), rcgen::Error> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "NLA sandbox PostgreSQL CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let ca = authority.self_signed(&authority_key)?.pem();

    let mut server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    server.distinguished_name.push(DnType::CommonName, "NLA sandbox PostgreSQL");
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = KeyPair::generate()?;
    let chain = server.signed_by(&server_key, &Issuer::new(authority, authority_key))?.pem();
    Ok((ca, chain, server_key.serialize_pem()))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), PostgresError> {
    // Created empty and closed to others first: the key is never readable, not
    // even for the moment before the mode is set.
    let failed = || PostgresError::file("write", path);
    fs::write(path, "").map_err(failed())?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed())?;
    fs::write(path, text).map_err(failed())
}
