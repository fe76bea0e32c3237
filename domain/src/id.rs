//! Identifiers. A name in NLA is short, lower case and safe in a URL, a file
//! name, a metric label and PostgreSQL's `application_name`, so that it never
//! needs escaping anywhere.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} {value:?} is not a valid name: use 1 to 63 of a-z, 0-9, '-', '_' and '.', starting with a letter or digit"
)]
pub struct InvalidName {
    kind: &'static str,
    value: String,
}

const MAX_NAME_BYTES: usize = 63;

fn check_name(kind: &'static str, value: &str) -> Result<(), InvalidName> {
    let mut bytes = value.bytes();
    let first_ok = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest_ok = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
    if first_ok && rest_ok && value.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    // The value may be hostile and long; show only its beginning.
    let value = value.chars().take(80).collect();
    Err(InvalidName { kind, value })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(value: &str) -> Result<Self, InvalidName> {
                check_name($kind, value)?;
                Ok(Self(value.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(value: String) -> Result<Self, InvalidName> {
                value.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.into()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A PostgreSQL database that NLA may reach.
    DatabaseName,
    "database"
);
name!(
    /// What a token may do.
    RoleName,
    "role"
);
name!(
    /// An edge, as enrolled.
    EdgeId,
    "edge"
);
name!(
    /// A person or robot that administers.
    OperatorName,
    "operator"
);

/// The public part of a token: 12 base62 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; TokenId::LENGTH]);

/// A token id was not 12 base62 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token id: expected 12 letters and digits, as `nlactl token list` shows them")]
pub struct InvalidTokenId;

impl TokenId {
    /// Characters in a token id.
    pub const LENGTH: usize = 12;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only base62 bytes pass the constructor")
    }
}

impl FromStr for TokenId {
    type Err = InvalidTokenId;

    fn from_str(text: &str) -> Result<Self, InvalidTokenId> {
        let bytes: [u8; Self::LENGTH] = text.as_bytes().try_into().map_err(|_| InvalidTokenId)?;
        if !bytes.iter().all(u8::is_ascii_alphanumeric) {
            return Err(InvalidTokenId);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The single counter of the control plane's state: each committed change
/// raises it by one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies one life of the control plane's state. It changes when a backup
/// is restored, so that revisions of two lives are never compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Epoch(pub [u8; 16]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "a".repeat(63);
        let too_long = "a".repeat(64);
        let cases = [
            ("shop", true),
            ("9lives", true),
            ("a-b_c.d", true),
            (long.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("-a", false),
            (".a", false),
            ("Shop", false),
            ("a b", false),
            ("a/b", false),
            ("a\n", false),
            ("ä", false),
        ];
        for (text, valid) in cases {
            assert_eq!(text.parse::<DatabaseName>().is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_kind_and_never_floods() {
        let error = "X".repeat(10_000).parse::<RoleName>().unwrap_err().to_string();
        assert!(error.starts_with("role"), "{error}");
        assert!(error.len() < 300);
    }

    #[test]
    fn token_ids() {
        for (text, valid) in [("abcDEF012345", true), ("abcDEF01234", false), ("abcDEF01234_", false), ("", false)] {
            assert_eq!(text.parse::<TokenId>().is_ok(), valid, "{text:?}");
        }
    }
}
