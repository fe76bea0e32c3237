//! Request states that survive a trip through a client that may alter them.
//!
//! Used by `rounds`. Invariant: a state that this process did not seal for the same tool is refused.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

#[derive(Debug)]
pub(super) struct StateSeal {
    key: hmac::Key,
}

impl StateSeal {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut key = [0_u8; 32];
        aws_lc_rs::rand::fill(&mut key)?;
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    pub(super) fn seal(&self, tool: &str, round: &str) -> String {
        let tag = hmac::sign(&self.key, bound(tool, round).as_bytes());
        format!("{round}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// The round that the state was sealed for.
    pub(super) fn open<'a>(&self, tool: &str, state: &'a str) -> Option<&'a str> {
        let (round, tag) = state.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.key, bound(tool, round).as_bytes(), &tag).ok()?;
        Some(round)
    }
}

fn bound(tool: &str, round: &str) -> String {
    format!("{tool}\n{round}")
}

#[cfg(test)]
mod tests {
    use super::StateSeal;

    #[test]
    fn opens_only_what_it_sealed_for_the_same_tool() {
        let seal = StateSeal::new().unwrap();
        let state = seal.seal("a", "round-1");
        assert_eq!(seal.open("a", &state), Some("round-1"));
        assert_eq!(seal.open("b", &state), None);
        assert_eq!(seal.open("a", &format!("{state}-TAMPERED")), None);
        assert_eq!(seal.open("a", &state.replace("round-1", "round-2")), None);
        assert_eq!(StateSeal::new().unwrap().open("a", &state), None);
    }
}
