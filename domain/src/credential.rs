//! Credentials: how NLA logs in to a database. One per database; each change
//! makes a new generation, so that pools of the old one can be told apart.

use zeroize::Zeroizing;

use crate::{
    id::DatabaseName,
    secret::Secret,
    token::{NoRandomness, random_base62},
};

/// 62 to the power of 43 is more than 2 to the power of 256.
const PASSWORD_LENGTH: usize = 43;

/// A new random password of 256 bits: letters and digits, so that no way on
/// which it travels has to escape it.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn generate_password() -> Result<Secret, NoRandomness> {
    let mut bytes = Zeroizing::new([0; PASSWORD_LENGTH]);
    random_base62(&mut bytes[..])?;
    Ok(Secret::new(std::str::from_utf8(&bytes[..]).expect("base62 is ASCII")))
}

/// A login for one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The database that it opens.
    pub database: DatabaseName,
    /// PostgreSQL's role name.
    pub username: String,
    /// Its password; empty for methods that need none.
    pub password: Secret,
    /// Counts changes from 1.
    pub generation: u64,
}

/// Why a credential was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredential {
    /// PostgreSQL could not have such a role.
    #[error("the user name must be 1 to 63 bytes without control characters")]
    Username,
    /// Longer than any password that PostgreSQL accepts, or with a NUL.
    #[error("the password must be at most 1,000 bytes and hold no NUL")]
    Password,
}

impl Credential {
    /// Checks what PostgreSQL would refuse later, at a worse time.
    ///
    /// # Errors
    /// [`InvalidCredential`] says which part.
    pub fn validate(&self) -> Result<(), InvalidCredential> {
        let name = &self.username;
        if name.is_empty() || name.len() > 63 || name.chars().any(char::is_control) {
            return Err(InvalidCredential::Username);
        }
        if self.password.expose().len() > 1_000 || self.password.expose().contains('\0') {
            return Err(InvalidCredential::Password);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_are_long_and_never_the_same() {
        let (one, other) = (generate_password().unwrap(), generate_password().unwrap());
        assert!(one.expose().len() == PASSWORD_LENGTH && one.expose().bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(one, other);
    }

    #[test]
    fn credentials_are_checked() {
        let long = "x".repeat(1_001);
        let cases = [
            ("reader", "secret", None),
            ("reader", "", None),
            ("", "secret", Some(InvalidCredential::Username)),
            ("a\nb", "secret", Some(InvalidCredential::Username)),
            ("reader", "a\0b", Some(InvalidCredential::Password)),
            ("reader", long.as_str(), Some(InvalidCredential::Password)),
        ];
        for (username, password, refused) in cases {
            let credential = Credential {
                database: "shop".parse().unwrap(),
                username: username.into(),
                password: Secret::new(password),
                generation: 1,
            };
            assert_eq!(credential.validate().err(), refused, "{username:?}");
        }
    }
}
