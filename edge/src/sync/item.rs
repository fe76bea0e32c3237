//! One item of the stream: from its encoded body to a domain value. `state`
//! calls it. Invariant: a value's own name is the one in its key, so that an
//! item can never stand in for another.

use std::sync::Arc;

use nla_domain::{
    credential::Credential,
    database::Database,
    id::TokenId,
    role::Role,
    snapshot::{ItemKey, ItemKind, Settings},
    token::Token,
};
use nla_proto::v1;
use prost::Message;

/// A usable item.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Settings(Arc<Settings>),
    Database(Arc<Database>),
    Credential(Arc<Credential>),
    Role(Arc<Role>),
    Token(Arc<Token>),
    Tombstone(TokenId),
}

/// Reads a body.
///
/// # Errors
/// A reason for people, without anything of the body that could be secret.
pub(super) fn read(key: &ItemKey, body: &[u8]) -> Result<Value, String> {
    match key.kind {
        ItemKind::Settings => {
            named(key, "")?;
            decode::<v1::Settings, Settings>(body).map(|value| Value::Settings(Arc::new(value)))
        }
        ItemKind::Database => {
            let value: Database = decode::<v1::Database, _>(body)?;
            named(key, value.name.as_str())?;
            Ok(Value::Database(Arc::new(value)))
        }
        ItemKind::Credential => {
            let value: Credential = decode::<v1::CredentialItem, _>(body)?;
            named(key, value.database.as_str())?;
            Ok(Value::Credential(Arc::new(value)))
        }
        ItemKind::Role => {
            let value: Role = decode::<v1::Role, _>(body)?;
            named(key, value.name.as_str())?;
            Ok(Value::Role(Arc::new(value)))
        }
        ItemKind::Token => {
            let value: Token = decode::<v1::Token, _>(body)?;
            named(key, value.id.as_str())?;
            Ok(Value::Token(Arc::new(value)))
        }
        // The body is not looked at: whatever it holds, the token is revoked.
        ItemKind::Tombstone => key.id.parse().map(Value::Tombstone).map_err(|error| format!("id: {error}")),
    }
}

fn decode<W, D>(body: &[u8]) -> Result<D, String>
where
    W: Message + Default,
    D: TryFrom<W, Error: std::fmt::Display>,
{
    // prost's own message can quote the body.
    let wire = W::decode(body).map_err(|_| "the body is not the message that its kind says".to_owned())?;
    D::try_from(wire).map_err(|error| error.to_string())
}

fn named(key: &ItemKey, name: &str) -> Result<(), String> {
    if &*key.id == name {
        return Ok(());
    }
    Err(format!("the body is of {name:?}"))
}
