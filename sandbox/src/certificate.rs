//! Server certificates for loopback, each from an authority that exists only
//! while it is made: its key is never written, so nobody can issue a second
//! certificate. For the private PostgreSQL and for the edges' HTTPS.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// PEM texts.
pub(crate) struct Issued {
    /// What clients trust.
    pub(crate) ca: String,
    /// The server's certificate, for `localhost` and `127.0.0.1`.
    pub(crate) chain: String,
    /// Its private key.
    pub(crate) key: String,
}

/// Makes an authority and one certificate for the server of that name.
///
/// # Errors
/// When the keys cannot be made.
pub(crate) fn issue(name: &str) -> Result<Issued, rcgen::Error> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, format!("{name} CA"));
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let ca = authority.self_signed(&authority_key)?.pem();

    let mut server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    server.distinguished_name.push(DnType::CommonName, name);
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let server_key = KeyPair::generate()?;
    let chain = server.signed_by(&server_key, &Issuer::new(authority, authority_key))?.pem();
    Ok(Issued { ca, chain, key: server_key.serialize_pem() })
}
