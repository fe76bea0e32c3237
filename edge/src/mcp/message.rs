//! JSON-RPC 2.0: from body bytes to messages, with the raw JSON of ids and parameters kept as sent.
//!
//! Called by `serve`. Invariant: nothing here recurses on input (nested values are skipped, not built),
//! and an id is echoed byte by byte, so that any integer that a client picks comes back unchanged.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::RpcError;

/// Ids that clients use are short; the bound keeps error answers small.
const LONGEST_ID_BYTES: usize = 256;

/// The raw JSON of a string or integer id.
pub(super) type Id = Box<str>;

/// A request or, without an id, a notification.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) id: Option<Id>,
    pub(super) method: Cow<'a, str>,
    pub(super) params: Option<&'a RawValue>,
}

/// A message that cannot be taken, with its id where that could be read.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) id: Option<Id>,
    pub(super) error: RpcError,
}

impl From<RpcError> for Box<Malformed> {
    fn from(error: RpcError) -> Self {
        Self::new(Malformed { id: None, error })
    }
}

/// What a body holds at the top.
#[derive(Debug)]
pub(super) enum Body<'a> {
    One(&'a [u8]),
    Batch(Vec<&'a RawValue>),
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

/// Keeps `null` apart from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Tells an object from a batch; anything else is refused.
pub(super) fn split(body: &[u8]) -> Result<Body<'_>, RpcError> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Ok(Body::One(body)),
        Some(b'[') => serde_json::from_slice(body).map(Body::Batch).map_err(|_| RpcError::parse_error()),
        _ => match serde_json::from_slice::<&RawValue>(body) {
            Ok(_) => Err(RpcError::invalid_request("the body must be a JSON object")),
            Err(_) => Err(RpcError::parse_error()),
        },
    }
}

pub(super) fn parse(json: &[u8]) -> Result<Message<'_>, Box<Malformed>> {
    if !is_object(json) {
        return Err(RpcError::invalid_request("the message must be a JSON object").into());
    }
    let wire: Wire<'_> = serde_json::from_slice(json).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => RpcError::invalid_request("the message repeats a member"),
        _ => RpcError::parse_error(),
    })?;
    let id = wire.id.map(checked_id).transpose()?;
    let refuse =
        |id: &Option<Id>, text: &str| Box::new(Malformed { id: id.clone(), error: RpcError::invalid_request(text) });
    if wire.jsonrpc.and_then(string).as_deref() != Some("2.0") {
        return Err(refuse(&id, "jsonrpc must be \"2.0\""));
    }
    let Some(method) = wire.method else {
        return Err(refuse(&id, "method is missing; this server sends no requests, so it takes no responses"));
    };
    let Some(method) = string(method) else {
        return Err(refuse(&id, "method must be a string"));
    };
    if wire.params.is_some_and(|params| !is_object(params.get().as_bytes())) {
        return Err(Box::new(Malformed { id, error: RpcError::invalid_params("params must be an object") }));
    }
    Ok(Message { id, method, params: wire.params })
}

fn checked_id(raw: &RawValue) -> Result<Id, RpcError> {
    let text = raw.get();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !integer && string(raw).is_none() {
        return Err(RpcError::invalid_request("id must be a string or an integer"));
    }
    if text.len() > LONGEST_ID_BYTES {
        return Err(RpcError::invalid_request(format!("id is longer than {LONGEST_ID_BYTES} bytes")));
    }
    Ok(text.into())
}

/// Asked before each derived `Deserialize`, which would take a list for a struct.
pub(super) fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().starts_with(b"{")
}

/// The text of a raw JSON string; `None` for any other value.
pub(super) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0)
}
