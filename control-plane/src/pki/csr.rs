//! Certificate requests. All that counts of a request is its public key and
//! the proof that the sender has the private one; names and extensions in it
//! are never looked at, because others decide who the sender is.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject};
use x509_parser::{
    certification_request::X509CertificationRequest,
    der_parser::{Oid, oid},
    prelude::FromDer,
    public_key::PublicKey,
};

/// Largest request that is parsed: an RSA one of 8,192 bits has about 2 KiB.
const MAX_BYTES: usize = 16 << 10;

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Not a request.
    #[error("not a PKCS #10 certificate request in PEM")]
    Malformed,
    /// Another key.
    #[error("keys must be ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits, signed with SHA-2")]
    Key,
    /// The sender has not shown that the private key is theirs.
    #[error("the request's signature does not fit its public key")]
    Signature,
}

const EC_PUBLIC_KEY: Oid<'_> = oid!(1.2.840.10045.2.1);
const P256: Oid<'_> = oid!(1.2.840.10045.3.1.7);
const P384: Oid<'_> = oid!(1.3.132.0.34);
const ED25519: Oid<'_> = oid!(1.3.101.112);
const RSA: Oid<'_> = oid!(1.2.840.113549.1.1.1);
const ECDSA_SHA256: Oid<'_> = oid!(1.2.840.10045.4.3.2);
const ECDSA_SHA384: Oid<'_> = oid!(1.2.840.10045.4.3.3);
const RSA_SHA256: Oid<'_> = oid!(1.2.840.113549.1.1.11);
const RSA_SHA384: Oid<'_> = oid!(1.2.840.113549.1.1.12);
const RSA_SHA512: Oid<'_> = oid!(1.2.840.113549.1.1.13);

/// The public key of a request (SubjectPublicKeyInfo, DER), proven by its
/// signature.
pub(super) fn public_key(pem: &str) -> Result<Vec<u8>, CsrError> {
    if pem.len() > MAX_BYTES {
        return Err(CsrError::Malformed);
    }
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).map_err(|_| CsrError::Malformed)?;
    let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| CsrError::Malformed)?;
    // Bytes after the request, or a signature of no whole number of bytes, are
    // not DER; the parser lets them pass.
    if !rest.is_empty() || request.signature_value.unused_bits != 0 {
        return Err(CsrError::Malformed);
    }
    let info = &request.certification_request_info;
    let key = &info.subject_pki;
    let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let algorithm = algorithm(&key.algorithm.algorithm, curve.as_ref(), &request.signature_algorithm.algorithm)?;
    if key.algorithm.algorithm == RSA {
        // Verification would accept small exponents and odd lengths alike.
        let Ok(PublicKey::RSA(rsa)) = key.parsed() else { return Err(CsrError::Key) };
        if !(2_048..=8_192).contains(&rsa.key_size()) {
            return Err(CsrError::Key);
        }
    }
    UnparsedPublicKey::new(algorithm, &key.subject_public_key.data)
        .verify(info.raw, &request.signature_value.data)
        .map_err(|_| CsrError::Signature)?;
    Ok(key.raw.to_vec())
}

fn algorithm(
    key: &Oid<'_>,
    curve: Option<&Oid<'_>>,
    signed: &Oid<'_>,
) -> Result<&'static dyn VerificationAlgorithm, CsrError> {
    let is = |expected: &Oid<'_>| signed == expected;
    if *key == EC_PUBLIC_KEY {
        return match curve {
            Some(curve) if *curve == P256 && is(&ECDSA_SHA256) => Ok(&signature::ECDSA_P256_SHA256_ASN1),
            Some(curve) if *curve == P256 && is(&ECDSA_SHA384) => Ok(&signature::ECDSA_P256_SHA384_ASN1),
            Some(curve) if *curve == P384 && is(&ECDSA_SHA256) => Ok(&signature::ECDSA_P384_SHA256_ASN1),
            Some(curve) if *curve == P384 && is(&ECDSA_SHA384) => Ok(&signature::ECDSA_P384_SHA384_ASN1),
            _ => Err(CsrError::Key),
        };
    }
    if *key == ED25519 && is(&ED25519) {
        return Ok(&signature::ED25519);
    }
    match () {
        () if *key != RSA => Err(CsrError::Key),
        () if is(&RSA_SHA256) => Ok(&signature::RSA_PKCS1_2048_8192_SHA256),
        () if is(&RSA_SHA384) => Ok(&signature::RSA_PKCS1_2048_8192_SHA384),
        () if is(&RSA_SHA512) => Ok(&signature::RSA_PKCS1_2048_8192_SHA512),
        () => Err(CsrError::Key),
    }
}
