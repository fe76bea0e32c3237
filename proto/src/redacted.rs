//! `Debug` for messages that carry secrets. The generator is told to leave it
//! out for them (see `build.rs`); here they get one that shows only what may
//! be shown.

use std::fmt;

use crate::v1;

macro_rules! redacted {
    ($($message:ident { $($shown:ident),* })*) => {$(
        impl fmt::Debug for v1::$message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message))$(.field(stringify!($shown), &self.$shown))*.finish_non_exhaustive()
            }
        }
    )*};
}

redacted! {
    Token { id, owner, roles, databases, expires_at }
    Pepper { generation }
    Settings { strict_staleness, standard_staleness }
    CredentialItem { database, username, generation }
    Item { kind, id }
    JoinRequest {}
    CreateTokenResponse { token }
    RotateTokenResponse { token, predecessor }
    SetCredentialRequest { database, username, expected_revision }
    CreateJoinTokenResponse { expires_at }
    ConfigureRotationRequest { database, manager_username, roles }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_never_print_their_secrets() {
        let secret = "hunter2";
        let shown = format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            v1::CredentialItem { password: secret.into(), ..Default::default() },
            v1::SetCredentialRequest { password: secret.into(), ..Default::default() },
            v1::ConfigureRotationRequest { manager_password: secret.into(), ..Default::default() },
            v1::ProbeRequest {
                candidate: Some(v1::CredentialItem { password: secret.into(), ..Default::default() }),
                ..Default::default()
            },
            v1::JoinRequest { join_token: secret.into(), ..Default::default() },
            v1::CreateTokenResponse { token_text: secret.into(), ..Default::default() },
            v1::Item { body: secret.as_bytes().to_vec().into(), ..Default::default() },
        );
        assert!(!shown.contains(secret), "{shown}");
        assert!(!shown.contains("104, 117"), "as bytes: {shown}");
    }
}
