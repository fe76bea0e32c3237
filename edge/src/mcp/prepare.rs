//! From a parsed message to a call that is ready to run: version, headers, `_meta`, parameters.
//!
//! Called by `serve` for each message. Invariant: what leaves here owns its data and obeys every rule of
//! its revision; handlers see no header and no `_meta`.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;
use rmcp::model::{ArgumentInfo, JsonObject, Reference};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::call::{CompletionCall, Context, PromptCall, ResourceRead, Retry, ToolCall};
use super::encode::{self, Reply};
use super::error::RpcError;
use super::handler::Handler;
use super::headers;
use super::message::{self, Id, Malformed, Message, string};
use super::notify::{LogLevel, Notifier};
use super::version::Version;

/// Names that clients give themselves, cut for logs and audit.
const LONGEST_CLIENT_NAME_BYTES: usize = 100;
/// `00-<32 hex>-<16 hex>-<2 hex>`
const TRACEPARENT_BYTES: usize = 55;

/// A message that passed all checks.
#[derive(Debug)]
pub(super) enum Work {
    /// Names the version that the handshake settles on.
    Initialize(Version),
    Discover,
    /// Accepted, with nothing to do in a server without sessions.
    Acknowledge,
    ListTools(Option<String>, Context),
    CallTool(ToolCall),
    ListPrompts(Option<String>, Context),
    GetPrompt(PromptCall),
    ListResources(Option<String>, Context),
    ListTemplates(Option<String>, Context),
    ReadResource(ResourceRead),
    Complete(CompletionCall),
}

/// What the HTTP request gives to each of its messages.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) request_id: Uuid,
    pub(super) cancel: CancellationToken,
    pub(super) deadline: Instant,
    pub(super) in_batch: bool,
}

/// Every parameter that any method takes, as raw JSON: its type matters only to its own method.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params<'a> {
    #[serde(borrow, rename = "_meta")]
    meta: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    uri: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow)]
    cursor: Option<&'a RawValue>,
    #[serde(borrow)]
    input_responses: Option<&'a RawValue>,
    #[serde(borrow)]
    request_state: Option<&'a RawValue>,
    #[serde(borrow)]
    r#ref: Option<&'a RawValue>,
    #[serde(borrow)]
    argument: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    #[serde(borrow)]
    protocol_version: Option<&'a RawValue>,
    #[serde(borrow)]
    level: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    protocol_version: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientCapabilities")]
    client_capabilities: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/clientInfo")]
    client_info: Option<&'a RawValue>,
    #[serde(borrow, rename = "io.modelcontextprotocol/logLevel")]
    log_level: Option<&'a RawValue>,
    #[serde(borrow, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
    #[serde(borrow)]
    traceparent: Option<&'a RawValue>,
}

const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

impl Work {
    pub(super) fn notifier(&self) -> Notifier {
        match self {
            Self::ListTools(_, context)
            | Self::ListPrompts(_, context)
            | Self::ListResources(_, context)
            | Self::ListTemplates(_, context) => context.notify.clone(),
            Self::CallTool(call) => call.context.notify.clone(),
            Self::GetPrompt(call) => call.context.notify.clone(),
            Self::ReadResource(call) => call.context.notify.clone(),
            Self::Complete(call) => call.context.notify.clone(),
            Self::Initialize(_) | Self::Discover | Self::Acknowledge => Notifier::default(),
        }
    }
}

/// A request that is ready to run.
#[derive(Debug)]
pub(super) struct PreparedCall {
    pub(super) id: Id,
    pub(super) version: Version,
    pub(super) work: Work,
}

/// What became of one message.
#[derive(Debug)]
pub(super) enum Taken {
    Call(PreparedCall),
    /// A notification: there is nothing to answer.
    Accepted,
    /// Refused before any handler saw it; with its id where that could be read.
    Answered { id: Option<Id>, reply: Reply },
}

/// Reads one message and checks it.
pub(super) fn take<H: Handler>(handler: &H, json: &[u8], envelope: &Envelope<'_>) -> Taken {
    let refuse = |id: Option<Id>, version, error: &RpcError| {
        let reply = encode::error(id.as_deref(), version, error);
        Taken::Answered { id, reply }
    };
    let message = match message::parse(json) {
        Ok(message) => message,
        Err(Malformed { id, error }) => return refuse(id, assumed(envelope.headers), &error),
    };
    let (version, work) = prepare(handler, &message, envelope);
    match (work, message.id) {
        (Ok(work), Some(id)) => Taken::Call(PreparedCall { id, version, work }),
        (Ok(_), None) => Taken::Accepted,
        (Err(error), id) => refuse(id, version, &error),
    }
}

/// The version of a message as far as it is known, with the call or the refusal.
fn prepare<H: Handler>(
    handler: &H,
    message: &Message<'_>,
    envelope: &Envelope<'_>,
) -> (Version, Result<Work, RpcError>) {
    let parsed = parse_params(message);
    let (params, meta) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return (assumed(envelope.headers), Err(error)),
    };
    match negotiate(envelope.headers, &message.method, &meta) {
        Ok(version) => {
            let work = checked(handler, message, envelope, version, &params, &meta);
            (version, work)
        }
        Err(error) => (assumed(envelope.headers), Err(error)),
    }
}

/// The version whose rules shape the refusal of a message that cannot be read.
pub(super) fn assumed(headers: &HeaderMap) -> Version {
    headers::single(headers, &headers::PROTOCOL_VERSION)
        .ok()
        .flatten()
        .and_then(Version::parse)
        .unwrap_or(Version::ASSUMED)
}

fn parse_params<'a>(message: &Message<'a>) -> Result<(Params<'a>, Meta<'a>), RpcError> {
    let params: Params<'_> = match message.params {
        Some(raw) => serde_json::from_str(raw.get())
            .map_err(|_| RpcError::invalid_params("params repeats a member"))?,
        None => Params::default(),
    };
    let meta = match params.meta {
        Some(raw) => serde_json::from_str(raw.get()).map_err(|_| {
            RpcError::invalid_params("params._meta must be an object with unique members")
        })?,
        None => Meta::default(),
    };
    Ok((params, meta))
}

fn negotiate(
    headers: &HeaderMap,
    method: &str,
    meta: &Meta<'_>,
) -> Result<Version, RpcError> {
    let header = headers::single(headers, &headers::PROTOCOL_VERSION)?;
    let in_body = match meta.protocol_version {
        Some(raw) => Some(string(raw).ok_or_else(|| RpcError::missing_meta(META_VERSION))?),
        None => None,
    };
    match (header, in_body) {
        (Some(header), Some(body)) if header != body => Err(RpcError::header_mismatch(
            "header mcp-protocol-version differs from params._meta",
        )),
        (None, Some(_)) => Err(RpcError::header_mismatch(
            "header mcp-protocol-version is missing",
        )),
        (None, None) => Ok(Version::ASSUMED),
        (Some(header), in_body) => match Version::parse(header) {
            None => Err(RpcError::unsupported_version(header)),
            // A client that starts the old handshake gets it, whatever it put into the header.
            Some(version)
                if version.is_modern() && in_body.is_none() && method == "initialize" =>
            {
                Ok(Version::NEWEST_LEGACY)
            }
            Some(version) => Ok(version),
        },
    }
}

fn checked<H: Handler>(
    handler: &H,
    message: &Message<'_>,
    envelope: &Envelope<'_>,
    version: Version,
    params: &Params<'_>,
    meta: &Meta<'_>,
) -> Result<Work, RpcError> {
    let notification = message.id.is_none();
    if version.is_modern() {
        headers::check_method(envelope.headers, &message.method, !notification)?;
        if !notification {
            if meta.protocol_version.is_none() {
                return Err(RpcError::missing_meta(META_VERSION));
            }
            if !meta.client_capabilities.is_some_and(is_object) {
                return Err(RpcError::missing_meta(META_CAPABILITIES));
            }
        }
    }
    if notification {
        return Ok(Work::Acknowledge);
    }
    let capabilities = &handler.describe().capabilities;
    let not_found = || RpcError::method_not_found(&message.method);
    let served = |declared: bool| if declared { Ok(()) } else { Err(not_found()) };
    match &*message.method {
        "tools/call" => {
            served(capabilities.tools.is_some())?;
            let name = named(params.name, "name", envelope.headers, version)?;
            let arguments = object(params.arguments, "arguments")?;
            if version.is_modern() {
                for header in handler.param_headers(&name) {
                    header.check(envelope.headers, &arguments)?;
                }
            }
            Ok(Work::CallTool(ToolCall {
                name,
                arguments,
                retry: retry(params)?,
                context: context(handler, envelope, version, meta)?,
            }))
        }
        "tools/list" => {
            served(capabilities.tools.is_some())?;
            let context = context(handler, envelope, version, meta)?;
            Ok(Work::ListTools(cursor(params)?, context))
        }
        "prompts/list" => {
            served(capabilities.prompts.is_some())?;
            let context = context(handler, envelope, version, meta)?;
            Ok(Work::ListPrompts(cursor(params)?, context))
        }
        "prompts/get" => {
            served(capabilities.prompts.is_some())?;
            Ok(Work::GetPrompt(PromptCall {
                name: named(params.name, "name", envelope.headers, version)?,
                arguments: object(params.arguments, "arguments")?,
                retry: retry(params)?,
                context: context(handler, envelope, version, meta)?,
            }))
        }
        "resources/list" => {
            served(capabilities.resources.is_some())?;
            let context = context(handler, envelope, version, meta)?;
            Ok(Work::ListResources(cursor(params)?, context))
        }
        "resources/templates/list" => {
            served(capabilities.resources.is_some())?;
            let context = context(handler, envelope, version, meta)?;
            Ok(Work::ListTemplates(cursor(params)?, context))
        }
        "resources/read" => {
            served(capabilities.resources.is_some())?;
            Ok(Work::ReadResource(ResourceRead {
                uri: named(params.uri, "uri", envelope.headers, version)?,
                retry: retry(params)?,
                context: context(handler, envelope, version, meta)?,
            }))
        }
        "completion/complete" => {
            served(capabilities.completions.is_some())?;
            Ok(Work::Complete(completion(
                params,
                context(handler, envelope, version, meta)?,
            )?))
        }
        "server/discover" if version.is_modern() => Ok(Work::Discover),
        _ if version.is_modern() => Err(not_found()),
        "initialize" if envelope.in_batch => Err(RpcError::invalid_request(
            "initialize must not be part of a batch",
        )),
        "initialize" => {
            let asked = text(params.protocol_version, "protocolVersion")?;
            let settled = Version::parse(&asked).filter(|version| !version.is_modern());
            Ok(Work::Initialize(settled.unwrap_or(Version::NEWEST_LEGACY)))
        }
        "ping" => Ok(Work::Acknowledge),
        "logging/setLevel" => {
            served(capabilities.logging.is_some())?;
            level(params.level)?;
            Ok(Work::Acknowledge)
        }
        "resources/subscribe" | "resources/unsubscribe" => {
            let resources = capabilities.resources.as_ref();
            served(resources.is_some_and(|resources| resources.subscribe == Some(true)))?;
            text(params.uri, "uri")?;
            Ok(Work::Acknowledge)
        }
        _ => Err(not_found()),
    }
}

fn context<H: Handler>(
    handler: &H,
    envelope: &Envelope<'_>,
    version: Version,
    meta: &Meta<'_>,
) -> Result<Context, RpcError> {
    let progress_token = match meta.progress_token {
        Some(raw) if raw.get().starts_with(['"', '-']) || starts_with_digit(raw) => {
            Some(raw.get().into())
        }
        Some(_) => {
            return Err(RpcError::invalid_params(
                "params._meta.progressToken must be a string or a number",
            ));
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
    let notify = if envelope.in_batch {
        Notifier::default()
    } else {
        Notifier::new(progress_token, log_level)
    };
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

fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
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
    let valid = text.len() == TRACEPARENT_BYTES
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    valid.then(|| text.into())
}

fn text(raw: Option<&RawValue>, field: &str) -> Result<String, RpcError> {
    raw.and_then(string)
        .map(Cow::into_owned)
        .ok_or_else(|| RpcError::invalid_params(format!("params.{field} must be a string")))
}

/// A name or URI that modern clients repeat in a header.
fn named(
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
fn object(raw: Option<&RawValue>, field: &str) -> Result<JsonObject, RpcError> {
    let Some(raw) = raw else {
        return Ok(JsonObject::new());
    };
    if !is_object(raw) {
        return Err(RpcError::invalid_params(format!(
            "params.{field} must be an object"
        )));
    }
    // The text is known to be JSON: what fails here is nesting beyond what the parser follows.
    serde_json::from_str(raw.get())
        .map_err(|_| RpcError::invalid_params(format!("params.{field} is nested too deeply")))
}

fn cursor(params: &Params<'_>) -> Result<Option<String>, RpcError> {
    match params.cursor {
        None => Ok(None),
        raw => text(raw, "cursor").map(Some),
    }
}

fn level(raw: Option<&RawValue>) -> Result<LogLevel, RpcError> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .ok_or_else(|| {
            RpcError::invalid_params(
                "the log level must be one of debug, info, notice, warning, error, critical, \
                 alert, emergency",
            )
        })
}

fn retry(params: &Params<'_>) -> Result<Retry, RpcError> {
    Ok(Retry {
        responses: object(params.input_responses, "inputResponses")?,
        state: match params.request_state {
            None => None,
            raw => Some(text(raw, "requestState")?),
        },
    })
}

fn completion(params: &Params<'_>, context: Context) -> Result<CompletionCall, RpcError> {
    #[derive(Default, Deserialize)]
    struct Filled {
        #[serde(default)]
        arguments: JsonObject,
    }
    let malformed = |field: &str| RpcError::invalid_params(format!("params.{field} is malformed"));
    let reference: Reference = params
        .r#ref
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .ok_or_else(|| malformed("ref"))?;
    let argument: ArgumentInfo = params
        .argument
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .ok_or_else(|| malformed("argument"))?;
    let filled: Filled = match params.context {
        Some(raw) => serde_json::from_str(raw.get()).map_err(|_| malformed("context"))?,
        None => Filled::default(),
    };
    Ok(CompletionCall {
        reference,
        argument,
        filled: filled.arguments,
        context,
    })
}
