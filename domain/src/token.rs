//! Tokens: the text that an agent presents, and what the system knows about it.
//!
//! The text is `nla_<id>_<secret>_<crc32>` in base62. The prefix and checksum
//! let secret scanners find leaks and let the edge drop typos and noise before
//! it looks anything up. The secret holds 256 random bits, so a keyed hash is
//! enough to store it; a slow password hash would only slow down the edge.

use std::{fmt, time::Duration};

use aws_lc_rs::{hmac, rand};
use ipnet::IpNet;
use subtle::ConstantTimeEq;

use crate::{
    clock::Timestamp,
    id::{DatabaseName, RoleName, TokenId},
    secret::{Key32, Secret},
};

const PREFIX: &str = "nla_";
const SECRET_LENGTH: usize = 43; // ceil(256 / log2(62)): 43 characters hold 256 bits
const CRC_LENGTH: usize = 6; // 62^6 > 2^32
const TOKEN_LENGTH: usize = PREFIX.len() + TokenId::LENGTH + 1 + SECRET_LENGTH + 1 + CRC_LENGTH;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A bearer token as presented: well formed, but not yet known to be valid.
#[derive(Clone)]
pub struct TokenText {
    id: TokenId,
    text: Secret,
}

/// The text is not a token. It says nothing about the text itself, which may be
/// a password that somebody pasted into the wrong field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedToken {
    /// Not of the form `nla_<id>_<secret>_<crc32>`.
    #[error("not an NLA token: it has the form nla_<id>_<secret>_<checksum>")]
    Shape,
    /// The form is right and the checksum is not: a typo or a cut-off copy.
    #[error("the token's checksum does not match: was it copied whole?")]
    Checksum,
}

/// The system has no randomness to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random generator failed")]
pub struct NoRandomness;

impl TokenText {
    /// A new random token.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut id = [0; TokenId::LENGTH];
        let mut secret = [0; SECRET_LENGTH];
        random_base62(&mut id)?;
        random_base62(&mut secret)?;
        let id_text = std::str::from_utf8(&id).expect("base62 is ASCII");
        let secret = Secret::new(std::str::from_utf8(&secret).expect("base62 is ASCII"));
        let mut text = String::with_capacity(TOKEN_LENGTH);
        text.push_str(PREFIX);
        text.push_str(id_text);
        text.push('_');
        text.push_str(secret.expose());
        let crc = checksum(&text);
        text.push('_');
        text.push_str(std::str::from_utf8(&crc).expect("base62 is ASCII"));
        let id = id_text.parse().expect("twelve base62 characters were drawn");
        Ok(Self { id, text: Secret::new(text) })
    }

    /// Reads a token from the text that a client presented.
    ///
    /// # Errors
    /// [`MalformedToken`] when form or checksum are wrong.
    pub fn parse(text: &str) -> Result<Self, MalformedToken> {
        if text.len() != TOKEN_LENGTH || !text.is_ascii() || !text.starts_with(PREFIX) {
            return Err(MalformedToken::Shape);
        }
        let (body, crc) = text.split_at(TOKEN_LENGTH - CRC_LENGTH - 1);
        let (id, secret) = body[PREFIX.len()..].split_at(TokenId::LENGTH);
        let id = id.parse().map_err(|_| MalformedToken::Shape)?;
        let secret = secret.strip_prefix('_').ok_or(MalformedToken::Shape)?;
        let crc = crc.strip_prefix('_').ok_or(MalformedToken::Shape)?;
        if !secret.bytes().chain(crc.bytes()).all(|b| b.is_ascii_alphanumeric()) {
            return Err(MalformedToken::Shape);
        }
        if checksum(body) != crc.as_bytes() {
            return Err(MalformedToken::Checksum);
        }
        Ok(Self { id, text: Secret::new(text) })
    }

    /// The public part, by which the token is looked up.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// The whole token, to be shown once to whoever asked for it.
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// What is stored in place of the token.
    pub fn verifier(&self, pepper: &Key32) -> TokenVerifier {
        let key = hmac::Key::new(hmac::HMAC_SHA256, pepper.expose());
        let tag = hmac::sign(&key, self.text.expose().as_bytes());
        TokenVerifier(tag.as_ref().try_into().expect("HMAC-SHA256 yields 32 bytes"))
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nla_{}_[redacted]", self.id)
    }
}

/// HMAC-SHA256 of a token under the control plane's pepper. Compared in
/// constant time.
#[derive(Clone)]
pub struct TokenVerifier([u8; 32]);

impl TokenVerifier {
    /// From its 32 bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// The stored bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for TokenVerifier {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenVerifier {}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// How long a token may outlive the edge's contact to the control plane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Staleness {
    /// Stops soon after the last heartbeat (15 s unless configured).
    Strict,
    /// Survives a longer outage (300 s unless configured).
    #[default]
    Standard,
}

/// Limits of one token on one edge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenLimits {
    /// Sustained calls per second.
    pub calls_per_second: u32,
    /// Calls that may come at once before the rate applies.
    pub burst: u32,
    /// Calls that run at the same time.
    pub concurrent_calls: u32,
}

impl Default for TokenLimits {
    /// Ample for an agent in a loop with a person, far below what hurts a database.
    fn default() -> Self {
        Self { calls_per_second: 20, burst: 40, concurrent_calls: 8 }
    }
}

/// A token as edges know it.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// The public part.
    pub id: TokenId,
    /// Proof of the secret part.
    pub verifier: TokenVerifier,
    /// Generation of the pepper that `verifier` was made with.
    pub pepper_generation: u32,
    /// Who answers for its use.
    pub owner: String,
    /// What it may do; a token may do what any one of its roles allows.
    pub roles: Vec<RoleName>,
    /// Databases that it may use, out of those that its roles allow; empty
    /// means all that its roles allow.
    pub databases: Vec<DatabaseName>,
    /// When it ends; `None` only where policy allows it.
    pub expires_at: Option<Timestamp>,
    /// Client addresses from which it is accepted; empty means any.
    pub allowed_cidrs: Vec<IpNet>,
    /// Behaviour while the control plane cannot be reached.
    pub staleness: Staleness,
    /// Limits on each edge.
    pub limits: TokenLimits,
}

/// Lifetime of a token when none is asked for.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

fn checksum(body: &str) -> [u8; CRC_LENGTH] {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut out = [b'0'; CRC_LENGTH];
    for digit in out.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    out
}

/// Fills `out` with uniform base62 characters by rejection sampling: a modulo
/// of a byte by 62 would favour the first eight characters.
/// Fills `out` with random letters and digits.
pub(crate) fn random_base62(out: &mut [u8]) -> Result<(), NoRandomness> {
    let mut filled = 0;
    while filled < out.len() {
        let mut bytes = [0_u8; 64];
        rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        for byte in bytes {
            if byte < 248 && filled < out.len() {
                out[filled] = BASE62[usize::from(byte % 62)];
                filled += 1;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> TokenText {
        TokenText::generate().unwrap()
    }

    #[test]
    fn a_generated_token_parses_to_itself() {
        let token = token();
        let again = TokenText::parse(token.expose()).unwrap();
        assert_eq!(again.id(), token.id());
        let pepper = Key32::new([3; 32]);
        assert_eq!(again.verifier(&pepper), token.verifier(&pepper));
        assert_ne!(again.verifier(&Key32::new([4; 32])), token.verifier(&pepper));
    }

    #[test]
    fn malformed_tokens() {
        let good = token();
        let good = good.expose();
        let cases = [
            (String::new(), MalformedToken::Shape),
            ("nla_".into(), MalformedToken::Shape),
            (good[..good.len() - 1].into(), MalformedToken::Shape),
            (format!("{good}x"), MalformedToken::Shape),
            (good.replacen("nla_", "nlb_", 1), MalformedToken::Shape),
            (format!("{}é{}", &good[..20], &good[22..]), MalformedToken::Shape),
            (good.replace('_', "-"), MalformedToken::Shape),
            (" ".repeat(TOKEN_LENGTH), MalformedToken::Shape),
        ];
        for (text, expected) in cases {
            assert_eq!(TokenText::parse(&text).unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let good = token();
        for at in PREFIX.len()..TOKEN_LENGTH {
            let mut bytes = good.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            let text = String::from_utf8(bytes).unwrap();
            assert!(TokenText::parse(&text).is_err(), "position {at}");
        }
    }

    #[test]
    fn debug_output_shows_the_id_only() {
        let token = token();
        let shown = format!("{token:?} {:?}", token.verifier(&Key32::new([1; 32])));
        assert!(shown.contains(token.id().as_str()));
        assert!(!shown.contains(&token.expose()[20..50]));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,90}") {
            let _ = TokenText::parse(&text);
        }
    }
}
