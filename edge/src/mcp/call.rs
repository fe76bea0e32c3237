//! What handlers get: the call itself and the context in which it runs.
//!
//! Made by `serve` from a checked request. Invariant: everything here that came from the client
//! (name, trace parent, arguments, state) is unverified; only the principal says who calls.

use std::sync::Arc;

use rmcp::model::{ArgumentInfo, JsonObject, Reference};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::notify::Notifier;
use super::version::Version;

/// The surroundings of one call.
#[derive(Clone, Debug)]
pub struct Context {
    /// Sorts by time; returned to the client in `x-request-id` and in internal errors.
    pub request_id: Uuid,
    pub version: Version,
    /// As the client calls itself (`clientInfo.name`): for logs and audit, never for decisions.
    pub client_name: Option<Arc<str>>,
    /// What the client declared in this request; empty for stateless calls before 2026-07-28.
    pub client_capabilities: Arc<JsonObject>,
    /// W3C trace context as sent, unchecked.
    pub traceparent: Option<Arc<str>>,
    /// Fires when the client has gone and at the deadline. The call then has
    /// `Options::cancel_grace` to clean up before it is dropped.
    pub cancel: CancellationToken,
    pub deadline: Instant,
    /// Progress and log messages; the first one turns the answer into an event stream.
    pub notify: Notifier,
}

/// Answers to an earlier `InputRequired`, on the repeated call.
#[derive(Clone, Debug, Default)]
pub struct Retry {
    pub responses: JsonObject,
    pub state: Option<String>,
}

/// `tools/call`.
#[derive(Clone, Debug)]
pub struct ToolCall {
    pub name: String,
    pub arguments: JsonObject,
    pub retry: Retry,
    pub context: Context,
}

/// An argument that does not fit; its text is made for the model.
#[derive(Debug, thiserror::Error)]
#[error("argument {path}: {reason}")]
pub struct ArgumentError {
    /// Where in the arguments, for example `max_rows`; `arguments` for the whole.
    pub path: String,
    pub reason: String,
}

impl ToolCall {
    /// Takes the arguments as `T` (use `deny_unknown_fields`), naming the field that does not fit.
    ///
    /// # Errors
    /// When a field is missing, unknown, of the wrong type or out of range.
    pub fn take_arguments<T: DeserializeOwned>(&mut self) -> Result<T, ArgumentError> {
        let arguments = Value::Object(std::mem::take(&mut self.arguments));
        serde_path_to_error::deserialize(arguments).map_err(|error| {
            let path = error.path().to_string();
            ArgumentError {
                path: if path == "." { "arguments".into() } else { path },
                reason: error.into_inner().to_string(),
            }
        })
    }
}

/// `prompts/get`.
#[derive(Clone, Debug)]
pub struct PromptCall {
    pub name: String,
    pub arguments: JsonObject,
    pub retry: Retry,
    pub context: Context,
}

/// `resources/read`.
#[derive(Clone, Debug)]
pub struct ResourceRead {
    pub uri: String,
    pub retry: Retry,
    pub context: Context,
}

/// `completion/complete`.
#[derive(Clone, Debug)]
pub struct CompletionCall {
    pub reference: Reference,
    pub argument: ArgumentInfo,
    /// Arguments that the user has already filled in.
    pub filled: JsonObject,
    pub context: Context,
}
