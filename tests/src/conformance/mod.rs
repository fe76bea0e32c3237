//! A server of fixtures behind the edge's own MCP layer, for the official conformance suite.
//!
//! Run by `bin/conformance-server.rs`. Names, texts and shapes are the suite's contract; the layer under
//! test is `nla_edge::mcp`, unchanged. Invariant: no fixture does what the layer should do.

mod prompts;
mod resources;
mod rounds;
mod state;
mod tools;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use nla_edge::mcp::call::{CompletionCall, Context, PromptCall, ResourceRead, ToolCall};
use nla_edge::mcp::error::{Refusal, RpcError};
use nla_edge::mcp::handler::{Handler, Page, ServerDescription};
use nla_edge::mcp::headers::ParamHeader;
use nla_edge::mcp::outcome::{PromptOutcome, ReadOutcome, ToolOutcome};
use rmcp::model::{
    CompletionInfo, Implementation, JsonObject, Prompt, PromptsCapability, Resource, ResourceTemplate,
    ResourcesCapability, ServerCapabilities, Tool, ToolsCapability,
};

use self::state::StateSeal;

/// A 1x1 PNG.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";

/// The fixtures; stateless but for the key that seals request states.
#[derive(Debug)]
pub struct Fixtures {
    description: ServerDescription,
    tools: Arc<[Tool]>,
    param_headers: HashMap<String, Vec<ParamHeader>>,
    seal: StateSeal,
}

impl Fixtures {
    /// # Errors
    /// When the system has no randomness, or a fixture's annotation is wrong.
    pub fn new() -> anyhow::Result<Self> {
        let tools = tools::list();
        let mut param_headers = HashMap::new();
        for tool in &tools {
            param_headers.insert(tool.name.to_string(), ParamHeader::of_tool(tool)?);
        }
        Ok(Self { description: description(), tools: tools.into(), param_headers, seal: StateSeal::new()? })
    }
}

fn description() -> ServerDescription {
    let mut resources = ResourcesCapability::default();
    resources.subscribe = Some(true);
    let mut capabilities = ServerCapabilities::default();
    capabilities.tools = Some(ToolsCapability::default());
    capabilities.prompts = Some(PromptsCapability::default());
    capabilities.resources = Some(resources);
    capabilities.completions = Some(JsonObject::new());
    capabilities.logging = Some(JsonObject::new());
    ServerDescription {
        implementation: Implementation::new("nla-conformance-fixtures", env!("CARGO_PKG_VERSION")),
        instructions: Some("Fixtures of the conformance suite; of no other use.".into()),
        capabilities,
        discover_ttl: Duration::from_secs(60),
    }
}

impl Handler for Fixtures {
    type Principal = ();

    async fn admit(&self, _parts: &Parts) -> Result<(), Refusal> {
        Ok(())
    }

    fn describe(&self) -> &ServerDescription {
        &self.description
    }

    async fn list_tools(&self, (): &(), cursor: Option<String>, _context: Context) -> Result<Page<Tool>, RpcError> {
        one_page(cursor, Arc::clone(&self.tools))
    }

    async fn call_tool(&self, (): &(), call: ToolCall) -> ToolOutcome {
        match rounds::call_tool(&self.seal, &call) {
            Some(outcome) => outcome,
            None => tools::call(call).await,
        }
    }

    fn param_headers(&self, tool: &str) -> &[ParamHeader] {
        self.param_headers.get(tool).map_or(&[], Vec::as_slice)
    }

    async fn list_prompts(&self, (): &(), cursor: Option<String>, _context: Context) -> Result<Page<Prompt>, RpcError> {
        one_page(cursor, prompts::list())
    }

    async fn get_prompt(&self, (): &(), call: PromptCall) -> PromptOutcome {
        prompts::get(&call)
    }

    async fn list_resources(
        &self,
        (): &(),
        cursor: Option<String>,
        _context: Context,
    ) -> Result<Page<Resource>, RpcError> {
        one_page(cursor, resources::list())
    }

    async fn list_resource_templates(
        &self,
        (): &(),
        cursor: Option<String>,
        _context: Context,
    ) -> Result<Page<ResourceTemplate>, RpcError> {
        one_page(cursor, resources::templates())
    }

    async fn read_resource(&self, (): &(), call: ResourceRead) -> ReadOutcome {
        resources::read(&call.uri)
    }

    async fn complete(&self, (): &(), call: CompletionCall) -> Result<CompletionInfo, RpcError> {
        let typed = &call.argument.value;
        let values = ["paris", "park", "party", "test", "testing"]
            .into_iter()
            .filter(|value| value.starts_with(typed.as_str()))
            .map(str::to_owned)
            .collect();
        CompletionInfo::with_all_values(values).map_err(RpcError::invalid_params)
    }
}

fn one_page<T>(cursor: Option<String>, items: impl Into<Arc<[T]>>) -> Result<Page<T>, RpcError> {
    match cursor {
        Some(_) => Err(RpcError::bad_cursor()),
        None => Ok(Page::private(items)),
    }
}
