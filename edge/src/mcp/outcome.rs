//! What calls yield: a result, a request for more input, or a JSON-RPC error.
//!
//! Made by handlers, written to the wire by `encode`. Invariant: a `RawJson` always holds one JSON value.

use bytes::Bytes;
use rmcp::model::{CacheScope, ContentBlock, JsonObject, PromptMessage, ResourceContents};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

use super::error::RpcError;

/// The end of a call.
#[derive(Clone, Debug)]
pub enum Outcome<T> {
    Done(T),
    /// The client must answer questions and call again (2026-07-28 only; older ones get an error).
    InputRequired(InputRequired),
    Failed(RpcError),
}

pub type ToolOutcome = Outcome<ToolResult>;
pub type PromptOutcome = Outcome<PromptResult>;
pub type ReadOutcome = Outcome<ReadResult>;

impl<T> From<T> for Outcome<T> {
    fn from(done: T) -> Self {
        Self::Done(done)
    }
}

/// JSON that was written once by its maker and is copied to the wire as it is.
#[derive(Clone, Debug)]
pub struct RawJson(Bytes);

impl RawJson {
    /// Takes bytes that the caller wrote as JSON; a debug build checks them.
    pub fn from_written(json: impl Into<Bytes>) -> Self {
        let bytes = json.into();
        debug_assert!(
            serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok(),
            "RawJson must hold one JSON value"
        );
        Self(bytes)
    }

    /// # Errors
    /// When a map key of `value` is not a string, or its `Serialize` fails.
    pub fn serialize<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_vec(value).map(|bytes| Self(bytes.into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The answer of a tool.
#[derive(Clone, Debug, Default)]
pub struct ToolResult {
    pub content: Vec<ContentBlock>,
    /// Must fit the tool's output schema, and be an object for clients before 2026-07-28.
    pub structured: Option<RawJson>,
    pub is_error: bool,
    pub meta: Option<JsonObject>,
}

impl ToolResult {
    pub fn text(text: impl Into<String>) -> Self {
        Self { content: vec![ContentBlock::text(text)], ..Self::default() }
    }

    /// A failure that the model should read: bad arguments, a refusal by a rule, a database error.
    pub fn error(text: impl Into<String>) -> Self {
        Self { is_error: true, ..Self::text(text) }
    }

    #[must_use]
    pub fn with_structured(mut self, json: RawJson) -> Self {
        self.structured = Some(json);
        self
    }

    #[must_use]
    pub fn with_meta(mut self, meta: JsonObject) -> Self {
        self.meta = Some(meta);
        self
    }
}

/// The answer of `prompts/get`.
#[derive(Clone, Debug, Default)]
pub struct PromptResult {
    pub description: Option<String>,
    pub messages: Vec<PromptMessage>,
}

/// The answer of `resources/read`.
#[derive(Clone, Debug)]
pub struct ReadResult {
    pub contents: Vec<ResourceContents>,
    pub ttl: Duration,
    pub scope: CacheScope,
}

impl ReadResult {
    /// For this caller only, not to be kept.
    pub fn private(contents: Vec<ResourceContents>) -> Self {
        Self { contents, ttl: Duration::ZERO, scope: CacheScope::Private }
    }
}

/// Questions to the client; it repeats the call with the answers and the state.
#[derive(Clone, Debug, Default)]
pub struct InputRequired {
    pub requests: Vec<(String, InputRequest)>,
    /// Comes back from the client as it likes: whoever sets it authenticates it.
    pub state: Option<String>,
}

/// One question; `params` as the specification says for its method.
#[derive(Clone, Debug)]
pub enum InputRequest {
    Elicitation(Value),
    Sampling(Value),
    Roots,
}

impl InputRequest {
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Elicitation(_) => "elicitation/create",
            Self::Sampling(_) => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }

    /// The client capability without which this must not be sent.
    pub(super) fn capability(&self) -> &'static str {
        match self {
            Self::Elicitation(_) => "elicitation",
            Self::Sampling(_) => "sampling",
            Self::Roots => "roots",
        }
    }
}
