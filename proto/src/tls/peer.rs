//! Who the other side is, as its certificate says in a SPIFFE id (SPIFFE ID
//! specification, section 2): `spiffe://<trust domain>/edge/<id>`,
//! `/operator/<name>` or `/control-plane`.

use nla_domain::{
    clock::Timestamp,
    id::{EdgeId, OperatorName},
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::TlsError;

/// One of NLA's own parties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An edge.
    Edge(EdgeId),
    /// A person or robot that administers.
    Operator(OperatorName),
    /// The control plane.
    ControlPlane,
}

impl Peer {
    /// The SPIFFE id in that trust domain.
    pub fn spiffe_id(&self, trust_domain: &str) -> String {
        match self {
            Self::Edge(id) => format!("spiffe://{trust_domain}/edge/{id}"),
            Self::Operator(name) => format!("spiffe://{trust_domain}/operator/{name}"),
            Self::ControlPlane => format!("spiffe://{trust_domain}/control-plane"),
        }
    }
}

/// What a verified certificate says. The chain has been checked before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Who it is.
    pub peer: Peer,
    /// In which trust domain.
    pub trust_domain: String,
    /// The certificate's serial number, big-endian.
    pub serial: Vec<u8>,
    /// End of validity.
    pub not_after: Timestamp,
}

impl PeerCertificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`TlsError::Identity`] unless it holds exactly one URI name and that
    /// is a SPIFFE id of ours.
    pub fn from_der(der: &[u8]) -> Result<Self, TlsError> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| TlsError::Identity("it is not an X.509 certificate"))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| TlsError::Identity("its alternative names are malformed"))?
            .ok_or(TlsError::Identity("it has no alternative name"))?;
        let mut uris = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            return Err(TlsError::Identity("it must have exactly one URI name"));
        };
        let (peer, trust_domain) = parse_spiffe(uri)?;
        let not_after = Timestamp::from_micros(certificate.validity().not_after.timestamp().saturating_mul(1_000_000));
        Ok(Self { peer, trust_domain, serial: certificate.raw_serial().to_vec(), not_after })
    }
}

fn parse_spiffe(uri: &str) -> Result<(Peer, String), TlsError> {
    let malformed =
        TlsError::Identity("its URI name is not spiffe://<trust domain>/{edge,operator}/<name> or /control-plane");
    let Some((trust_domain, path)) = uri.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')) else {
        return Err(malformed);
    };
    if trust_domain.is_empty() {
        return Err(malformed);
    }
    let peer = match path.split_once('/') {
        None if path == "control-plane" => Some(Peer::ControlPlane),
        Some(("edge", id)) => id.parse().ok().map(Peer::Edge),
        Some(("operator", name)) => name.parse().ok().map(Peer::Operator),
        _ => None,
    };
    Ok((peer.ok_or(malformed)?, trust_domain.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spiffe_ids() {
        let edge = Peer::Edge("e1".parse().unwrap());
        let operator = Peer::Operator("ada".parse().unwrap());
        let cases = [
            ("spiffe://nla.local/edge/e1", Some(edge.clone())),
            ("spiffe://nla.local/operator/ada", Some(operator.clone())),
            ("spiffe://nla.local/control-plane", Some(Peer::ControlPlane)),
            ("spiffe://nla.local/control-plane/x", None),
            ("spiffe://nla.local/edge", None),
            ("spiffe://nla.local/edge/", None),
            ("spiffe://nla.local/edge/e1/x", None),
            ("spiffe://nla.local/edge/E1", None),
            ("spiffe:///edge/e1", None),
            ("https://nla.local/edge/e1", None),
            ("", None),
        ];
        for (uri, expected) in cases {
            assert_eq!(parse_spiffe(uri).ok().map(|(peer, _)| peer), expected, "{uri}");
        }
        for peer in [edge, operator, Peer::ControlPlane] {
            assert_eq!(parse_spiffe(&peer.spiffe_id("td")).unwrap(), (peer, "td".to_owned()));
        }
    }
}
