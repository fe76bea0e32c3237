//! Parameters and `_meta` of a message: raw JSON in, owned values out.
//!
//! Used by `prepare`. Invariant: a parameter's type is looked at only by the method that takes it, and
//! whatever is kept of what a client says about itself is short and without control characters.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;
use rmcp::model::{ArgumentInfo, JsonObject, Reference};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::call::{CompletionCall, Context, Retry};
use super::error::RpcError;
use super::handler::Handler;
use super::headers;
use super::message::{self, string};
use super::notify::{LogLevel, Notifier};
use super::prepare::Envelope;
use super::strict;
use super::version::Version;

/// Names that clients give themselves, cut for logs and audit.
const LONGEST_CLIENT_NAME_BYTES: usize = 100;
/// `00-<32 hex>-<16 hex>-<2 hex>`
const TRACEPARENT_BYTES: usize = 55;

/// Every parameter that any method takes, as raw JSON: its type matters only to its own method.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Params<'a> {
    #[serde(borrow, rename = "_meta")]
    pub(super) meta: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) name: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) uri: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) cursor: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) input_responses: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) request_state: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) r#ref: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) argument: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) context: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) protocol_version: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) level: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
pub(super) struct Meta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    pub(super) protocol_version: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub(super) client_capabilities: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientInfo")]
    pub(super) client_info: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/logLevel")]
    pub(super) log_level: Option<&'a RawValue>,
    #[serde(borrow, rename = "progressToken")]
    pub(super) progress_token: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) traceparent: Option<&'a RawValue>,
}

pub(super) const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(super) const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

pub(super) fn parse(raw: Option<&RawValue>) -> Result<(Params<'_>, Meta<'_>), RpcError> {
    let params: Params<'_> = match raw {
        Some(raw) => {
            serde_json::from_str(raw.get()).map_err(|_| RpcError::invalid_params("params repeats a member"))?
        }
        None => Params::default(),
    };
    let meta = match params.meta {
        Some(raw) if is_object(raw) => {
            serde_json::from_str(raw.get()).map_err(|_| RpcError::invalid_params("params._meta repeats a member"))?
        }
        Some(_) => return Err(RpcError::invalid_params("params._meta must be an object")),
        None => Meta::default(),
    };
    Ok((params, meta))
}

pub(super) fn context<H: Handler>(
    handler: &H,
    envelope: &Envelope<'_>,
    version: Version,
    meta: &Meta<'_>,
) -> Result<Context, RpcError> {
    let progress_token = match meta.progress_token {
        Some(raw) if raw.get().starts_with(['"', '-']) || starts_with_digit(raw) => Some(raw.get().into()),
        Some(_) => {
            return Err(RpcError::invalid_params("params._meta.progressToken must be a string or a number"));
        }
        None => None,
    };
    let log_level = if handler.describe().capabilities.logging.is_none() {
        None
    } else if version.is_modern() {
        meta.log_level.map(|raw| level(Some(raw))).transpose()?
    } else {
        // Without a session there is no place to keep what logging/setLevel asked for.
        Some(LogLevel::Debug)
    };
    let notify = if envelope.in_batch { Notifier::default() } else { Notifier::new(progress_token, log_level) };
    Ok(Context {
        request_id: envelope.request_id,
        version,
        client_name: meta.client_info.and_then(client_name),
        client_capabilities: match meta.client_capabilities {
            Some(raw) => Arc::new(object(Some(raw), META_CAPABILITIES)?),
            None => Arc::default(),
        },
        traceparent: traceparent(envelope.headers, meta),
        cancel: envelope.cancel.clone(),
        deadline: envelope.deadline,
        notify,
    })
}

fn starts_with_digit(raw: &RawValue) -> bool {
    raw.get().starts_with(|first: char| first.is_ascii_digit())
}

pub(super) fn is_object(raw: &RawValue) -> bool {
    message::is_object(raw.get().as_bytes())
}

fn client_name(info: &RawValue) -> Option<Arc<str>> {
    #[derive(Deserialize)]
    struct Info<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
    }
    let info: Info<'_> = serde_json::from_str(info.get()).ok()?;
    let end = info.name.floor_char_boundary(LONGEST_CLIENT_NAME_BYTES);
    // Control characters would forge lines in logs.
    let name = &info.name[..end];
    if name.chars().any(char::is_control) {
        return Some(name.replace(char::is_control, "?").into());
    }
    Some(name.into())
}

fn traceparent(headers: &HeaderMap, meta: &Meta<'_>) -> Option<Arc<str>> {
    let in_body = meta.traceparent.and_then(string);
    let text = match &in_body {
        Some(text) => text,
        None => headers.get("traceparent")?.to_str().ok()?,
    };
    let valid = text.len() == TRACEPARENT_BYTES && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    valid.then(|| text.into())
}

pub(super) fn text(raw: Option<&RawValue>, field: &str) -> Result<String, RpcError> {
    raw.and_then(string)
        .map(Cow::into_owned)
        .ok_or_else(|| RpcError::invalid_params(format!("params.{field} must be a string")))
}

/// A name or URI that modern clients repeat in a header.
pub(super) fn named(
    raw: Option<&RawValue>,
    field: &str,
    headers: &HeaderMap,
    version: Version,
) -> Result<String, RpcError> {
    let text = text(raw, field)?;
    if version.is_modern() {
        headers::check_name(headers, &text)?;
    }
    Ok(text)
}

/// An absent object is an empty one.
pub(super) fn object(raw: Option<&RawValue>, field: &str) -> Result<JsonObject, RpcError> {
    let Some(raw) = raw else {
        return Ok(JsonObject::new());
    };
    if !is_object(raw) {
        return Err(RpcError::invalid_params(format!("params.{field} must be an object")));
    }
    strict::object(raw.get()).map_err(|wrong| RpcError::invalid_params(format!("params.{field}{wrong}")))
}

pub(super) fn cursor(params: &Params<'_>) -> Result<Option<String>, RpcError> {
    match params.cursor {
        None => Ok(None),
        raw => text(raw, "cursor").map(Some),
    }
}

pub(super) fn level(raw: Option<&RawValue>) -> Result<LogLevel, RpcError> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).ok_or_else(|| {
        RpcError::invalid_params(
            "the log level must be one of debug, info, notice, warning, error, critical, \
                 alert, emergency",
        )
    })
}

pub(super) fn retry(params: &Params<'_>) -> Result<Retry, RpcError> {
    Ok(Retry {
        responses: object(params.input_responses, "inputResponses")?,
        state: match params.request_state {
            None => None,
            raw => Some(text(raw, "requestState")?),
        },
    })
}

pub(super) fn completion(params: &Params<'_>, context: Context) -> Result<CompletionCall, RpcError> {
    #[derive(Default, Deserialize)]
    struct Filled<'a> {
        #[serde(borrow)]
        arguments: Option<&'a RawValue>,
    }
    let malformed = |field: &str| RpcError::invalid_params(format!("params.{field} is malformed"));
    let reference: Reference = params
        .r#ref
        .filter(|raw| is_object(raw))
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .ok_or_else(|| malformed("ref"))?;
    let argument: ArgumentInfo = params
        .argument
        .filter(|raw| is_object(raw))
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .ok_or_else(|| malformed("argument"))?;
    let filled: Filled<'_> = match params.context {
        Some(raw) if is_object(raw) => serde_json::from_str(raw.get()).map_err(|_| malformed("context"))?,
        Some(_) => return Err(malformed("context")),
        None => Filled::default(),
    };
    let filled = object(filled.arguments, "context.arguments")?;
    Ok(CompletionCall { reference, argument, filled, context })
}
