//! From a parsed message to a call that is ready to run: version, headers, `_meta`, parameters.
//!
//! Called by `serve` for each message. Invariant: what leaves here owns its data and obeys every rule of
//! its revision; handlers see no header and no `_meta`.

use http::HeaderMap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::call::{CompletionCall, Context, PromptCall, ResourceRead, ToolCall};
use super::encode::{self, Reply};
use super::error::RpcError;
use super::handler::Handler;
use super::headers;
use super::message::{self, Id, Message, string};
use super::notify::Notifier;
use super::params::{self, META_CAPABILITIES, META_VERSION, Meta, Params};
use super::version::Version;

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
    Call(Box<PreparedCall>),
    /// A notification: there is nothing to answer.
    Accepted,
    /// Refused before any handler saw it; with its id where that could be read.
    Answered {
        id: Option<Id>,
        reply: Reply,
    },
}

/// Reads one message and checks it.
pub(super) fn take<H: Handler>(handler: &H, json: &[u8], envelope: &Envelope<'_>) -> Taken {
    let refuse = |id: Option<Id>, version, error: &RpcError| {
        let reply = encode::error(id.as_deref(), version, error);
        Taken::Answered { id, reply }
    };
    let message = match message::parse(json) {
        Ok(message) => message,
        Err(malformed) => return refuse(malformed.id, assumed(envelope.headers), &malformed.error),
    };
    let (version, work) = prepare(handler, &message, envelope);
    match (work, message.id) {
        (Ok(work), Some(id)) => Taken::Call(Box::new(PreparedCall { id, version, work })),
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
    let parsed = params::parse(message.params);
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

fn negotiate(headers: &HeaderMap, method: &str, meta: &Meta<'_>) -> Result<Version, RpcError> {
    let header = headers::single(headers, &headers::PROTOCOL_VERSION)?;
    let in_body = match meta.protocol_version {
        Some(raw) => Some(string(raw).ok_or_else(|| RpcError::missing_meta(META_VERSION))?),
        None => None,
    };
    match (header, in_body) {
        (Some(header), Some(body)) if header != body => {
            Err(RpcError::header_mismatch("header mcp-protocol-version differs from params._meta"))
        }
        (None, Some(_)) => Err(RpcError::header_mismatch("header mcp-protocol-version is missing")),
        (None, None) => Ok(Version::ASSUMED),
        (Some(header), in_body) => match Version::parse(header) {
            None => Err(RpcError::unsupported_version(header)),
            // A client that starts the old handshake gets it, whatever it put into the header.
            Some(version) if version.is_modern() && in_body.is_none() && method == "initialize" => {
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
    given: &Params<'_>,
    meta: &Meta<'_>,
) -> Result<Work, RpcError> {
    let notification = message.id.is_none();
    if version.is_modern() {
        headers::check_method(envelope.headers, &message.method, !notification)?;
        if !notification {
            if meta.protocol_version.is_none() {
                return Err(RpcError::missing_meta(META_VERSION));
            }
            if !meta.client_capabilities.is_some_and(params::is_object) {
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
            let name = params::named(given.name, "name", envelope.headers, version)?;
            let arguments = params::object(given.arguments, "arguments")?;
            if version.is_modern() {
                for header in handler.param_headers(&name) {
                    header.check(envelope.headers, &arguments)?;
                }
            }
            Ok(Work::CallTool(ToolCall {
                name,
                arguments,
                retry: params::retry(given)?,
                context: params::context(handler, envelope, version, meta)?,
            }))
        }
        "tools/list" => {
            served(capabilities.tools.is_some())?;
            let context = params::context(handler, envelope, version, meta)?;
            Ok(Work::ListTools(params::cursor(given)?, context))
        }
        "prompts/list" => {
            served(capabilities.prompts.is_some())?;
            let context = params::context(handler, envelope, version, meta)?;
            Ok(Work::ListPrompts(params::cursor(given)?, context))
        }
        "prompts/get" => {
            served(capabilities.prompts.is_some())?;
            Ok(Work::GetPrompt(PromptCall {
                name: params::named(given.name, "name", envelope.headers, version)?,
                arguments: params::object(given.arguments, "arguments")?,
                retry: params::retry(given)?,
                context: params::context(handler, envelope, version, meta)?,
            }))
        }
        "resources/list" => {
            served(capabilities.resources.is_some())?;
            let context = params::context(handler, envelope, version, meta)?;
            Ok(Work::ListResources(params::cursor(given)?, context))
        }
        "resources/templates/list" => {
            served(capabilities.resources.is_some())?;
            let context = params::context(handler, envelope, version, meta)?;
            Ok(Work::ListTemplates(params::cursor(given)?, context))
        }
        "resources/read" => {
            served(capabilities.resources.is_some())?;
            Ok(Work::ReadResource(ResourceRead {
                uri: params::named(given.uri, "uri", envelope.headers, version)?,
                retry: params::retry(given)?,
                context: params::context(handler, envelope, version, meta)?,
            }))
        }
        "completion/complete" => {
            served(capabilities.completions.is_some())?;
            Ok(Work::Complete(params::completion(given, params::context(handler, envelope, version, meta)?)?))
        }
        "server/discover" if version.is_modern() => Ok(Work::Discover),
        _ if version.is_modern() => Err(not_found()),
        "initialize" if envelope.in_batch => Err(RpcError::invalid_request("initialize must not be part of a batch")),
        "initialize" => {
            let asked = params::text(given.protocol_version, "protocolVersion")?;
            let settled = Version::parse(&asked).filter(|version| !version.is_modern());
            Ok(Work::Initialize(settled.unwrap_or(Version::NEWEST_LEGACY)))
        }
        "ping" => Ok(Work::Acknowledge),
        "logging/setLevel" => {
            served(capabilities.logging.is_some())?;
            params::level(given.level)?;
            Ok(Work::Acknowledge)
        }
        "resources/subscribe" | "resources/unsubscribe" => {
            let resources = capabilities.resources.as_ref();
            served(resources.is_some_and(|resources| resources.subscribe == Some(true)))?;
            params::text(given.uri, "uri")?;
            Ok(Work::Acknowledge)
        }
        _ => Err(not_found()),
    }
}
