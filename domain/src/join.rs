//! Join tokens: what an operator hands to a new edge. The text carries the
//! SHA-256 of the control plane's CA certificate, so that the edge knows whom
//! it is talking to before it sends the secret.

use std::fmt;

use aws_lc_rs::{digest, rand};
use subtle::ConstantTimeEq;

use crate::{
    hex,
    secret::{Key32, Secret},
    token::NoRandomness,
};

const PREFIX: &str = "nlajoin_";
const HEX_LENGTH: usize = 64;
const CRC_LENGTH: usize = 8;

/// SHA-256 of a CA certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CaPin(pub [u8; 32]);

impl CaPin {
    /// The pin of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, der);
        Self(hash.as_ref().try_into().expect("SHA-256 yields 32 bytes"))
    }
}

impl fmt::Display for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A one-time secret that lets an edge ask for its first certificate.
#[derive(Clone, Debug)]
pub struct JoinToken {
    secret: Key32,
    ca_pin: CaPin,
}

/// What the control plane keeps of a join token: SHA-256 of its secret, which
/// is random, so that nothing slower is needed.
#[derive(Clone)]
pub struct JoinVerifier([u8; 32]);

impl JoinVerifier {
    /// From its 32 bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// The stored bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for JoinVerifier {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for JoinVerifier {}

impl fmt::Debug for JoinVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The text is not a join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a join token: expected nlajoin_<pin>_<secret>_<checksum>, as `nlactl edge join-token` prints it")]
pub struct MalformedJoinToken;

impl JoinToken {
    /// A new random join token for the control plane with that CA.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate(ca_pin: CaPin) -> Result<Self, NoRandomness> {
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| NoRandomness)?;
        Ok(Self { secret: Key32::new(secret), ca_pin })
    }

    /// Reads the text that an operator copied; surrounding white space is no
    /// part of it.
    ///
    /// # Errors
    /// [`MalformedJoinToken`] when form or checksum are wrong.
    pub fn parse(text: &str) -> Result<Self, MalformedJoinToken> {
        let text = text.trim();
        if text.len() != PREFIX.len() + 2 * HEX_LENGTH + CRC_LENGTH + 2 {
            return Err(MalformedJoinToken);
        }
        let mut parts = text.strip_prefix(PREFIX).ok_or(MalformedJoinToken)?.split('_');
        let (Some(pin), Some(secret), Some(crc), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(MalformedJoinToken);
        };
        let token = Self {
            ca_pin: CaPin(unhex(pin).ok_or(MalformedJoinToken)?),
            secret: Key32::new(unhex(secret).ok_or(MalformedJoinToken)?),
        };
        let body = &text[..text.len() - CRC_LENGTH - 1];
        if checksum(body) != crc { Err(MalformedJoinToken) } else { Ok(token) }
    }

    /// The CA that the control plane must show.
    pub fn ca_pin(&self) -> CaPin {
        self.ca_pin
    }

    /// What the control plane keeps.
    pub fn verifier(&self) -> JoinVerifier {
        let hash = digest::digest(&digest::SHA256, self.secret.expose());
        JoinVerifier(hash.as_ref().try_into().expect("SHA-256 yields 32 bytes"))
    }

    /// The text, to be shown once.
    pub fn to_text(&self) -> Secret {
        let body = format!("{PREFIX}{}_{}", hex::encode(&self.ca_pin.0), hex::encode(self.secret.expose()));
        let crc = checksum(&body);
        Secret::new(format!("{body}_{crc}"))
    }
}

fn checksum(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let text: &[u8; HEX_LENGTH] = text.as_bytes().try_into().ok()?;
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_token_reads_back() {
        let token = JoinToken::generate(CaPin::of(b"certificate")).unwrap();
        let text = token.to_text();
        let again = JoinToken::parse(&format!(" {}\n", text.expose())).unwrap();
        assert_eq!(again.ca_pin(), token.ca_pin());
        assert_eq!(again.verifier(), token.verifier());
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text = JoinToken::generate(CaPin([7; 32])).unwrap().to_text();
        for at in 0..text.expose().len() {
            let mut bytes = text.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            assert!(JoinToken::parse(std::str::from_utf8(&bytes).unwrap()).is_err(), "position {at}");
        }
        for bad in ["", "nlajoin_", "nla_abc", &"_".repeat(146), &"é".repeat(73)] {
            assert!(JoinToken::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn debug_output_shows_the_pin_only() {
        let token = JoinToken::generate(CaPin([7; 32])).unwrap();
        let secret = token.to_text().expose()[80..130].to_owned();
        assert!(!format!("{token:?} {:?}", token.verifier()).contains(&secret));
    }
}
