//! What SCRAM binds to a TLS connection (RFC 5929, `tls-server-end-point`), so
//! that nobody in between can pass a login on. `login` asks for it.
//! Invariant: a certificate whose signature names no digest of its own has no
//! binding, as with libpq.

use aws_lc_rs::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use rustls_pki_types::CertificateDer;

/// The hash of the server's certificate.
pub(super) fn tls_server_end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let algorithm = algorithm(&parsed.signature_algorithm.algorithm.to_id_string())?;
    Some(digest(algorithm, certificate).as_ref().to_vec())
}

/// The digest of a signature algorithm; MD5 and SHA-1 count as SHA-256
/// (RFC 5929, 4.1).
fn algorithm(signature: &str) -> Option<&'static Algorithm> {
    match signature {
        // md5, sha1 and sha256 with RSA, sha1 and sha256 with ECDSA
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Some(&SHA256),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(&SHA384),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(&SHA512),
        // Ed25519 has none, RSASSA-PSS names it elsewhere.
        _ => None,
    }
}
