//! Errors of the MCP layer: their JSON-RPC codes and HTTP statuses, in one table.
//!
//! Made by `serve`, `headers` and the handlers, written by `encode`. Invariant: the code decides the
//! status, so that no caller can pair them wrongly; texts never carry what another tenant owns.

use http::{HeaderMap, StatusCode};
use rmcp::model::JsonObject;
use serde_json::{Value, json};
use uuid::Uuid;

use super::version::Version;

/// JSON-RPC and MCP error codes. -32000 to -32019 and -32002, -32042 must not be used.
pub mod code {
    pub const PARSE_ERROR: i64 = -32700;
    pub const INVALID_REQUEST: i64 = -32600;
    pub const METHOD_NOT_FOUND: i64 = -32601;
    pub const INVALID_PARAMS: i64 = -32602;
    pub const INTERNAL_ERROR: i64 = -32603;
    pub const HEADER_MISMATCH: i64 = -32020;
    pub const MISSING_CLIENT_CAPABILITY: i64 = -32021;
    pub const UNSUPPORTED_VERSION: i64 = -32022;
}

/// A JSON-RPC error object.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcError {
    pub code: i64,
    pub message: String,
    pub data: Option<Value>,
    /// Missing `_meta` is told from other bad parameters only by its status.
    status: Option<StatusCode>,
}

impl RpcError {
    /// Codes of our own lie outside -32768..=-32000.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None, status: None }
    }

    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    #[must_use]
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_PARAMS, message)
    }

    pub fn unknown_tool(name: &str) -> Self {
        Self::invalid_params(format!("unknown tool: {}", clip(name)))
    }

    pub fn unknown_prompt(name: &str) -> Self {
        Self::invalid_params(format!("unknown prompt: {}", clip(name)))
    }

    pub fn unknown_resource(uri: &str) -> Self {
        Self::invalid_params("resource not found").with_data(json!({ "uri": clip(uri) }))
    }

    pub fn bad_cursor() -> Self {
        Self::invalid_params("cursor is not one that this server gave; list again without it")
    }

    /// Tells the caller the id under which the log has the cause.
    pub fn internal(request_id: Uuid) -> Self {
        Self::new(code::INTERNAL_ERROR, "internal error; quote the request id when you report it")
            .with_data(json!({ "requestId": request_id.to_string() }))
    }

    /// The call ran into its deadline and did not end by itself after being told.
    pub(super) fn deadline(request_id: Uuid) -> Self {
        Self::new(code::INTERNAL_ERROR, "the call did not end before its deadline")
            .with_data(json!({ "requestId": request_id.to_string() }))
            .with_status(StatusCode::GATEWAY_TIMEOUT)
    }

    pub(super) fn parse_error() -> Self {
        Self::new(code::PARSE_ERROR, "the body is not valid JSON")
    }

    pub(super) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_REQUEST, message)
    }

    pub(super) fn method_not_found(method: &str) -> Self {
        Self::new(code::METHOD_NOT_FOUND, format!("method not found: {}", clip(method)))
    }

    pub(super) fn header_mismatch(message: impl Into<String>) -> Self {
        Self::new(code::HEADER_MISMATCH, message)
    }

    pub(super) fn missing_meta(key: &str) -> Self {
        Self::invalid_params(format!("params._meta[\"{key}\"] is missing or malformed"))
            .with_status(StatusCode::BAD_REQUEST)
    }

    /// `required` as the client would have declared it, for example `{"elicitation": {}}`.
    pub fn missing_capability(required: JsonObject) -> Self {
        Self::new(
            code::MISSING_CLIENT_CAPABILITY,
            "this call needs a client capability that the request does not declare",
        )
        .with_data(json!({ "requiredCapabilities": required }))
    }

    pub(super) fn unsupported_version(requested: &str) -> Self {
        let supported: Vec<_> = Version::ALL.iter().map(|v| v.as_str()).collect();
        Self::new(code::UNSUPPORTED_VERSION, "this protocol version is not supported; choose one of data.supported")
            .with_data(json!({ "supported": supported, "requested": clip(requested) }))
    }

    /// The HTTP status of an answer that carries only this error.
    pub(super) fn status(&self, version: Version) -> StatusCode {
        if let Some(status) = self.status {
            return status;
        }
        match self.code {
            code::PARSE_ERROR
            | code::INVALID_REQUEST
            | code::HEADER_MISMATCH
            | code::MISSING_CLIENT_CAPABILITY
            | code::UNSUPPORTED_VERSION => StatusCode::BAD_REQUEST,
            code::METHOD_NOT_FOUND if version.is_modern() => StatusCode::NOT_FOUND,
            code::INTERNAL_ERROR => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::OK,
        }
    }
}

/// A refusal at the HTTP level: the handler's authentication and limits make it.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: StatusCode,
    /// For example `WWW-Authenticate` with 401 and 403, `Retry-After` with 429 and 503.
    /// Boxed to keep the happy path's result small.
    pub headers: Box<HeaderMap>,
    pub error: RpcError,
}

impl Refusal {
    pub fn new(status: StatusCode, error: RpcError) -> Self {
        Self { status, headers: Box::default(), error }
    }
}

/// Echoes of what the client sent stay short.
fn clip(text: &str) -> &str {
    const LONGEST_BYTES: usize = 200;
    &text[..text.floor_char_boundary(LONGEST_BYTES)]
}
