//! The authority: its key, and the three kinds of certificates that it signs.
//! A certificate's names come from who the caller has proven to be, never from
//! the request.

use std::{net::IpAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nla_domain::{
    clock::Timestamp,
    hex,
    id::{EdgeId, OperatorName},
    join::CaPin,
};
use nla_proto::tls::peer::Peer;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::{PkiError, csr};
use crate::{
    crypto::random,
    store::{CaRecord, CaSlot, CertificateRecord},
};

/// Long enough that an authority is replaced by plan and not in a hurry.
const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// How much earlier than now a certificate begins: clocks of two machines
/// differ, and a fresh certificate must work at once on one that is slow. An
/// hour, as public authorities have it, outlasts a clock that nobody has set.
const SKEW: Duration = Duration::from_secs(3_600);

/// Signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    trust_domain: String,
    not_after: Timestamp,
}

/// A certificate that was made.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// What the store keeps of it.
    pub record: CertificateRecord,
}

/// A certificate whose key was made here too.
#[derive(Debug, Clone)]
pub struct IssuedWithKey {
    /// The certificate and its authority, PEM, so that a joining edge can
    /// compare the authority with its pin.
    pub chain_pem: String,
    /// PKCS #8, PEM.
    pub key_pem: nla_domain::secret::Secret,
    /// What can be kept of it.
    pub record: CertificateRecord,
}

impl Authority {
    /// Makes a new authority, as a record for the store.
    ///
    /// # Errors
    /// [`PkiError`] when the trust domain is malformed or there is no
    /// randomness.
    pub fn generate(slot: CaSlot, trust_domain: &str, now: Timestamp) -> Result<CaRecord, PkiError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        if trust_domain.is_empty() || trust_domain.len() > 255 || !trust_domain.bytes().all(allowed) {
            return Err(PkiError::TrustDomain(trust_domain.chars().take(80).collect()));
        }
        let key = KeyPair::generate().map_err(PkiError::Issue)?;
        // Two authorities of one trust domain are told apart by their names.
        let mark = hex::encode(&random::<4>()?);
        let mut params = params(&format!("NLA authority {trust_domain} {mark}"), now, now.plus(CA_LIFETIME))?;
        // It signs end entities only.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(PkiError::Issue)?;
        Ok(CaRecord {
            slot,
            trust_domain: trust_domain.into(),
            certificate_der: certificate.der().to_vec(),
            key_pkcs8: Zeroizing::new(key.serialize_der()),
        })
    }

    /// Takes an authority out of its record.
    ///
    /// # Errors
    /// [`PkiError::Authority`] when key or certificate cannot be read or do
    /// not belong together.
    pub fn from_record(record: &CaRecord) -> Result<Self, PkiError> {
        let unreadable = || PkiError::Authority(rcgen::Error::CouldNotParseCertificate);
        let key =
            KeyPair::try_from(&PrivatePkcs8KeyDer::from(record.key_pkcs8.as_slice())).map_err(PkiError::Authority)?;
        let (_, parsed) = X509Certificate::from_der(&record.certificate_der).map_err(|_| unreadable())?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(unreadable());
        }
        let not_after = Timestamp::from_micros(parsed.validity().not_after.timestamp().saturating_mul(1_000_000));
        let certificate = CertificateDer::from(record.certificate_der.clone());
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(PkiError::Authority)?;
        Ok(Self { issuer, certificate, trust_domain: record.trust_domain.clone(), not_after })
    }

    /// SHA-256 of the authority's certificate, for join tokens.
    pub fn pin(&self) -> CaPin {
        CaPin::of(&self.certificate)
    }

    /// The authority's certificate, DER.
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The authority's certificate, PEM.
    pub fn certificate_pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// End of the authority's validity.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The trust domain in SPIFFE ids.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Certifies an edge: it calls the control plane and is called by nobody
    /// under this identity.
    ///
    /// # Errors
    /// [`PkiError::Csr`] when the request is refused.
    pub fn issue_edge(
        &self,
        csr_pem: &str,
        id: &EdgeId,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Issued, PkiError> {
        self.issue_client(csr_pem, &Peer::Edge(id.clone()), id.as_str(), now, lifetime)
    }

    /// Certifies an operator.
    ///
    /// # Errors
    /// [`PkiError::Csr`] when the request is refused.
    pub fn issue_operator(
        &self,
        csr_pem: &str,
        name: &OperatorName,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Issued, PkiError> {
        self.issue_client(csr_pem, &Peer::Operator(name.clone()), name.as_str(), now, lifetime)
    }

    /// Makes a key and certifies it for the control plane itself, under its
    /// SPIFFE id and the DNS names and addresses at which it is reached.
    ///
    /// # Errors
    /// [`PkiError::Name`] when one of the names is neither.
    pub fn issue_control_plane(
        &self,
        names: &[String],
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<IssuedWithKey, PkiError> {
        let key = KeyPair::generate().map_err(PkiError::Issue)?;
        let mut params = self.leaf(&Peer::ControlPlane, "control-plane", now, lifetime)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        for name in names {
            let bad = || PkiError::Name(name.chars().take(80).collect());
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) if !dns_name(name) => return Err(bad()),
                Err(_) => SanType::DnsName(name.as_str().try_into().map_err(|_| bad())?),
            });
        }
        let Issued { certificate_pem, record } = self.sign(params, &key)?;
        let chain_pem = format!("{certificate_pem}{}", self.certificate_pem());
        Ok(IssuedWithKey { chain_pem, key_pem: key.serialize_pem().into(), record })
    }

    fn issue_client(
        &self,
        csr_pem: &str,
        peer: &Peer,
        name: &str,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Issued, PkiError> {
        let spki = csr::public_key(csr_pem)?;
        let key = SubjectPublicKeyInfo::from_der(&spki).map_err(|_| csr::CsrError::Key)?;
        let mut params = self.leaf(peer, name, now, lifetime)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, &key)
    }

    fn leaf(&self, peer: &Peer, name: &str, now: Timestamp, lifetime: Duration) -> Result<CertificateParams, PkiError> {
        let not_after = now.plus(lifetime);
        if not_after > self.not_after {
            return Err(PkiError::Expired);
        }
        let mut params = params(name, now, not_after)?;
        let uri = peer.spiffe_id(&self.trust_domain);
        params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(PkiError::Issue)?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    fn sign(&self, params: CertificateParams, key: &impl PublicKeyData) -> Result<Issued, PkiError> {
        let record = CertificateRecord {
            serial: params.serial_number.as_ref().map(SerialNumber::to_bytes).unwrap_or_default(),
            not_after: Timestamp::from_micros(params.not_after.unix_timestamp().saturating_mul(1_000_000)),
            issuer: self.pin().0.to_vec(),
        };
        let certificate = params.signed_by(key, &self.issuer).map_err(PkiError::Issue)?;
        Ok(Issued { certificate_pem: pem("CERTIFICATE", certificate.der()), record })
    }
}

/// A DNS name as certificates hold it (RFC 5280, section 4.2.1.6; RFC 1034,
/// section 3.5), underscores tolerated as container networks use them.
fn dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn params(name: &str, now: Timestamp, not_after: Timestamp) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let earlier = i64::try_from(SKEW.as_micros()).expect("an hour fits");
    params.not_before = date(Timestamp::from_micros(now.as_micros().saturating_sub(earlier)));
    params.not_after = date(not_after);
    params.serial_number = Some(serial()?);
    Ok(params)
}

/// 128 random bits. The first bit is cleared and the second set, so that the
/// number is positive and always 16 bytes long (RFC 5280, section 4.1.2.2).
fn serial() -> Result<SerialNumber, PkiError> {
    let mut bytes: [u8; 16] = random()?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// To whole seconds: certificates have no smaller unit.
fn date(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.as_micros().div_euclid(1_000_000)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

pub(super) fn pem(label: &str, der: &[u8]) -> String {
    const LINE: usize = 64; // RFC 7468, section 2
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(LINE).map(|line| std::str::from_utf8(line).expect("base64 is ASCII"));
    let body = lines.collect::<Vec<_>>().join("\n");
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}
