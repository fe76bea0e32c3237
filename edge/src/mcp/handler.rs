//! What a server behind the MCP layer implements: authentication of a request, the lists, and the calls.
//!
//! The edge's tools and the conformance fixtures are its two implementations; `serve` drives it.
//! Invariant: `admit` runs once for every JSON-RPC message before any other method sees it, so that a
//! batch cannot slip several calls past a limit that counts one.

use std::{future::Future, sync::Arc, time::Duration};

use http::request::Parts;
use rmcp::model::{
    CacheScope, CompletionInfo, Implementation, Prompt, Resource, ResourceTemplate, ServerCapabilities, Tool,
};

use super::call::{CompletionCall, Context, PromptCall, ResourceRead, ToolCall};
use super::delivery::Room;
use super::error::{Refusal, RpcError};
use super::headers::ParamHeader;
use super::outcome::{PromptOutcome, ReadOutcome, ToolOutcome};

/// Who answers as "the server"; fixed for the life of the process.
#[derive(Clone, Debug)]
pub struct ServerDescription {
    pub implementation: Implementation,
    pub instructions: Option<String>,
    /// A method whose capability is absent here is answered with "method not found".
    pub capabilities: ServerCapabilities,
    /// How long a client may keep the answer of `server/discover`.
    pub discover_ttl: Duration,
}

/// One page of a list, with what the client may do with it.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub items: Arc<[T]>,
    pub next_cursor: Option<String>,
    pub ttl: Duration,
    /// `Public` only if every caller gets the same items: a shared cache may serve it across tokens.
    pub scope: CacheScope,
}

impl<T> Page<T> {
    /// The whole list in one page, for this caller only, not to be kept.
    pub fn private(items: impl Into<Arc<[T]>>) -> Self {
        Self { items: items.into(), next_cursor: None, ttl: Duration::ZERO, scope: CacheScope::Private }
    }

    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }
}

/// A server behind the MCP layer.
///
/// Futures returned here may be dropped at their deadline; before that `Context::cancel` fires and the
/// call has `Options::cancel_grace` to end by itself. A panic becomes an internal error.
pub trait Handler: Send + Sync + 'static {
    /// What authentication yields.
    type Principal: Send + Sync + 'static;

    /// Authenticates the bearer of the request and charges its limits.
    /// Runs before the body is read for the first message, and again for each further one of a batch.
    fn admit(&self, parts: &Parts) -> impl Future<Output = Result<Self::Principal, Refusal>> + Send;

    /// What the principal occupies of its limits, to be kept until its answer has left.
    fn room(&self, _principal: &Self::Principal) -> Option<Room> {
        None
    }

    fn describe(&self) -> &ServerDescription;

    fn list_tools(
        &self,
        principal: &Self::Principal,
        cursor: Option<String>,
        context: Context,
    ) -> impl Future<Output = Result<Page<Tool>, RpcError>> + Send;

    /// An unknown tool is `Outcome::Failed(RpcError::unknown_tool(..))`; bad arguments and refusals by
    /// rules are results with `is_error`, so that the model reads them and can do better.
    fn call_tool(&self, principal: &Self::Principal, call: ToolCall) -> impl Future<Output = ToolOutcome> + Send;

    /// `x-mcp-header` annotations of a tool (`ParamHeader::of_tool`), checked against the request.
    fn param_headers(&self, _tool: &str) -> &[ParamHeader] {
        &[]
    }

    fn list_prompts(
        &self,
        _principal: &Self::Principal,
        _cursor: Option<String>,
        _context: Context,
    ) -> impl Future<Output = Result<Page<Prompt>, RpcError>> + Send {
        async { Ok(Page::private([])) }
    }

    fn get_prompt(&self, _principal: &Self::Principal, call: PromptCall) -> impl Future<Output = PromptOutcome> + Send {
        async move { PromptOutcome::Failed(RpcError::unknown_prompt(&call.name)) }
    }

    fn list_resources(
        &self,
        _principal: &Self::Principal,
        _cursor: Option<String>,
        _context: Context,
    ) -> impl Future<Output = Result<Page<Resource>, RpcError>> + Send {
        async { Ok(Page::private([])) }
    }

    fn list_resource_templates(
        &self,
        _principal: &Self::Principal,
        _cursor: Option<String>,
        _context: Context,
    ) -> impl Future<Output = Result<Page<ResourceTemplate>, RpcError>> + Send {
        async { Ok(Page::private([])) }
    }

    fn read_resource(
        &self,
        _principal: &Self::Principal,
        call: ResourceRead,
    ) -> impl Future<Output = ReadOutcome> + Send {
        async move { ReadOutcome::Failed(RpcError::unknown_resource(&call.uri)) }
    }

    fn complete(
        &self,
        _principal: &Self::Principal,
        _call: CompletionCall,
    ) -> impl Future<Output = Result<CompletionInfo, RpcError>> + Send {
        async { Ok(CompletionInfo::default()) }
    }
}
