//! Certificates as they come out, and requests that must not get one.

use std::time::Duration;

use nla_domain::{clock::Timestamp, join::CaPin};
use nla_proto::tls::peer::{Peer, PeerCertificate};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::*;
use crate::store::{CaRecord, CaSlot};

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-06-01T12:00:00.5Z").unwrap()
}

fn ca() -> CaRecord {
    Authority::generate(CaSlot::Current, "nla.local", now()).unwrap()
}

fn request(key: &KeyPair) -> String {
    CertificateParams::new(vec![]).unwrap().serialize_request(key).unwrap().pem().unwrap()
}

fn der(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect()
}

#[test]
fn the_authority_signs_end_entities_only_and_survives_its_record() {
    let record = ca();
    let authority = Authority::from_record(&record).unwrap();
    let (_, parsed) = X509Certificate::from_der(authority.certificate_der()).unwrap();
    let basic = parsed.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca && basic.value.path_len_constraint == Some(0));
    assert!(parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
    assert_eq!(authority.pin(), CaPin::of(&record.certificate_der));
    assert_eq!(der(&authority.certificate_pem())[0].as_ref(), record.certificate_der);
    let other = CaRecord { certificate_der: ca().certificate_der, ..record.clone() };
    assert!(matches!(Authority::from_record(&other), Err(PkiError::Authority(_))), "key and certificate of two");
    for bad in
        [CaRecord { certificate_der: vec![1], ..record.clone() }, CaRecord { key_pkcs8: vec![1].into(), ..record }]
    {
        assert!(Authority::from_record(&bad).is_err());
    }
    for domain in ["", "NLA", "a/b", "a b", &"x".repeat(256)] {
        assert!(
            matches!(Authority::generate(CaSlot::Next, domain, now()), Err(PkiError::TrustDomain(_))),
            "{domain:?}"
        );
    }
}

#[test]
fn an_edge_gets_what_it_is_and_nothing_that_it_asks_for() {
    let authority = Authority::from_record(&ca()).unwrap();
    let key = KeyPair::generate().unwrap();
    // A request full of wishes.
    let mut wishes = CertificateParams::new(vec!["evil.example".into()]).unwrap();
    wishes.subject_alt_names.push(SanType::URI("spiffe://nla.local/control-plane".try_into().unwrap()));
    wishes.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    wishes.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    wishes.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let csr = wishes.serialize_request(&key).unwrap().pem().unwrap();
    let issued = authority.issue_edge(&csr, &"e1".parse().unwrap(), now(), DAY).unwrap();
    let der = der(&issued.certificate_pem);
    let peer = PeerCertificate::from_der(&der[0]).unwrap();
    assert_eq!((peer.peer, peer.trust_domain.as_str()), (Peer::Edge("e1".parse().unwrap()), "nla.local"));
    assert_eq!((peer.serial, peer.not_after), (issued.record.serial.clone(), issued.record.not_after));
    let (_, parsed) = X509Certificate::from_der(&der[0]).unwrap();
    assert_eq!(parsed.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
    assert_eq!(parsed.subject().to_string(), "CN=e1");
    assert!(!parsed.basic_constraints().unwrap().unwrap().value.ca);
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign());
    let extended = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth && !extended.any);
    assert_eq!(parsed.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&key));
    let (begin, end) = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
    assert_eq!(begin, now().as_micros().div_euclid(1_000_000) - 3_600);
    assert_eq!(end - begin, 25 * 3_600);
    assert_eq!(issued.record.serial.len(), 16);
    let again = authority.issue_edge(&csr, &"e1".parse().unwrap(), now(), DAY).unwrap();
    assert_ne!(again.record.serial, issued.record.serial);
    let (_, ca) = X509Certificate::from_der(authority.certificate_der()).unwrap();
    assert_eq!(parsed.issuer(), ca.subject());
    let proof = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1,
        &ca.public_key().subject_public_key.data,
    );
    proof.verify(parsed.tbs_certificate.as_ref(), &parsed.signature_value.data).unwrap();
}

#[test]
fn kinds_of_keys() {
    let authority = Authority::from_record(&ca()).unwrap();
    let name = "ada".parse().unwrap();
    let rsa = |bits| {
        let key = aws_lc_rs::rsa::KeyPair::generate(bits).unwrap();
        let pkcs8 = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap();
        KeyPair::try_from(pkcs8.as_ref()).unwrap()
    };
    let keys = [
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        KeyPair::generate_for(&PKCS_ED25519).unwrap(),
        rsa(aws_lc_rs::rsa::KeySize::Rsa2048),
    ];
    for key in keys {
        let issued = authority.issue_operator(&request(&key), &name, now(), DAY).unwrap();
        let der = der(&issued.certificate_pem);
        let (_, parsed) = X509Certificate::from_der(&der[0]).unwrap();
        assert_eq!(parsed.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&key));
        assert_eq!(PeerCertificate::from_der(&der[0]).unwrap().peer, Peer::Operator("ada".parse().unwrap()));
    }
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let refused = authority.issue_operator(&request(&p521), &name, now(), DAY);
    assert!(matches!(refused, Err(PkiError::Csr(CsrError::Key))), "{refused:?}");
}

#[test]
fn requests_that_are_refused() {
    let authority = Authority::from_record(&ca()).unwrap();
    let id = "e1".parse().unwrap();
    let good = request(&KeyPair::generate().unwrap());
    let label = |pem: &str| pem.replace("CERTIFICATE REQUEST", "CERTIFICATE");
    for text in ["", "x", &label(&good), &good[..good.len() / 2], &"x".repeat(20_000)] {
        let refused = authority.issue_edge(text, &id, now(), DAY);
        assert!(matches!(refused, Err(PkiError::Csr(CsrError::Malformed))), "{text:?}: {refused:?}");
    }
    let der = rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(good.as_bytes()).unwrap();
    // The name of the algorithm stands outside of what is signed (RFC 2986,
    // section 4.2), and the parser does not look at its tag.
    let unsigned = 137..149;
    assert_eq!(der[unsigned.clone()][..4], [0x30, 0x0a, 0x06, 0x08]);
    let key = csr::public_key(&good).unwrap();
    for at in 0..der.len() {
        let mut copy = der.to_vec();
        copy[at] ^= 1;
        match csr::public_key(&authority::pem("CERTIFICATE REQUEST", &copy)) {
            Err(_) => {}
            Ok(accepted) => assert!(accepted == key && unsigned.contains(&at), "byte {at}"),
        }
    }
    let longer = [der.as_ref(), &[0]].concat();
    assert_eq!(csr::public_key(&authority::pem("CERTIFICATE REQUEST", &longer)), Err(CsrError::Malformed));
}

#[test]
fn the_control_plane_serves_and_calls_under_its_names() {
    let authority = Authority::from_record(&ca()).unwrap();
    let names = ["cp.example".to_owned(), "10.0.0.1".into(), "::1".into(), "localhost".into()];
    let issued = authority.issue_control_plane(&names, now(), DAY).unwrap();
    let chain = der(&issued.chain_pem);
    assert_eq!(chain.len(), 2);
    assert_eq!(&chain[1], authority.certificate_der());
    assert_eq!(PeerCertificate::from_der(&chain[0]).unwrap().peer, Peer::ControlPlane);
    let (_, parsed) = X509Certificate::from_der(&chain[0]).unwrap();
    let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
    let dns: Vec<_> = names
        .iter()
        .filter_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None })
        .collect();
    assert_eq!(dns, ["cp.example", "localhost"]);
    assert_eq!(names.iter().filter(|name| matches!(name, GeneralName::IPAddress(_))).count(), 2);
    let extended = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && extended.server_auth);
    PrivateKeyDer::from_pem_slice(issued.key_pem.expose().as_bytes()).unwrap();
    assert!(!format!("{issued:?}").contains("PRIVATE"));
    for bad in ["", "a b", "-a", "a..b", "*.x", &"a".repeat(64)] {
        let refused = authority.issue_control_plane(&[bad.to_owned()], now(), DAY);
        assert!(matches!(refused, Err(PkiError::Name(_))), "{bad:?}");
    }
}

#[test]
fn no_certificate_outlives_its_authority() {
    let authority = Authority::from_record(&ca()).unwrap();
    let csr = request(&KeyPair::generate().unwrap());
    let late = now().plus(Duration::from_secs(10 * 365 * 24 * 3_600 - 60));
    assert!(matches!(authority.issue_edge(&csr, &"e1".parse().unwrap(), late, DAY), Err(PkiError::Expired)));
    authority.issue_edge(&csr, &"e1".parse().unwrap(), late, Duration::from_secs(30)).unwrap();
}
