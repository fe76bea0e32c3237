//! Runs one prepared call and writes its answer.
//!
//! Called by `serve`, inside `Running`. Invariant: one call in, one answer out.

use rmcp::model::{CacheScope, JsonObject, ServerCapabilities};
use serde::Serialize;

use super::encode::{self, Rendered, Reply, ResultWriter};
use super::error::RpcError;
use super::handler::{Handler, Page};
use super::outcome::Outcome;
use super::prepare::Work;
use super::version::Version;

pub(super) async fn run<H: Handler>(
    handler: &H,
    rendered: &Rendered,
    principal: &H::Principal,
    id: &str,
    version: Version,
    work: Work,
) -> Reply {
    let answer = Answer { id, version, rendered };
    match work {
        Work::CallTool(call) => {
            let declared = call.context.client_capabilities.clone();
            let outcome = handler.call_tool(principal, call).await;
            answer.call(outcome, &declared, encode::tool)
        }
        Work::GetPrompt(call) => {
            let declared = call.context.client_capabilities.clone();
            let outcome = handler.get_prompt(principal, call).await;
            answer.call(outcome, &declared, encode::prompt)
        }
        Work::ReadResource(call) => {
            let declared = call.context.client_capabilities.clone();
            let outcome = handler.read_resource(principal, call).await;
            answer.call(outcome, &declared, encode::resource)
        }
        Work::ListTools(cursor, context) => answer.list("tools", handler.list_tools(principal, cursor, context).await),
        Work::ListPrompts(cursor, context) => {
            answer.list("prompts", handler.list_prompts(principal, cursor, context).await)
        }
        Work::ListResources(cursor, context) => {
            answer.list("resources", handler.list_resources(principal, cursor, context).await)
        }
        Work::ListTemplates(cursor, context) => {
            answer.list("resourceTemplates", handler.list_resource_templates(principal, cursor, context).await)
        }
        Work::Complete(call) => match handler.complete(principal, call).await {
            Ok(completion) => {
                let mut writer = ResultWriter::complete(id, version, rendered);
                writer.field("completion", &completion);
                writer.close()
            }
            Err(error) => encode::error(Some(id), version, &error),
        },
        Work::Initialize(settled) => initialize(handler, rendered, id, settled),
        Work::Discover => discover(handler, rendered, id, version),
        Work::Acknowledge => ResultWriter::complete(id, version, rendered).close(),
    }
}

struct Answer<'a> {
    id: &'a str,
    version: Version,
    rendered: &'a Rendered,
}

impl Answer<'_> {
    fn list<T: Serialize>(&self, key: &str, page: Result<Page<T>, RpcError>) -> Reply {
        match page {
            Ok(page) => encode::page(self.id, self.version, self.rendered, key, &page),
            Err(error) => encode::error(Some(self.id), self.version, &error),
        }
    }

    fn call<T>(
        &self,
        outcome: Outcome<T>,
        declared: &JsonObject,
        done: fn(&str, Version, &Rendered, &T) -> Reply,
    ) -> Reply {
        match outcome {
            Outcome::Done(result) => done(self.id, self.version, self.rendered, &result),
            Outcome::InputRequired(asked) => {
                encode::input_required(self.id, self.version, self.rendered, declared, &asked)
            }
            Outcome::Failed(error) => encode::error(Some(self.id), self.version, &error),
        }
    }
}

fn initialize<H: Handler>(handler: &H, rendered: &Rendered, id: &str, settled: Version) -> Reply {
    let description = handler.describe();
    let mut writer = ResultWriter::complete(id, settled, rendered);
    writer.field("protocolVersion", settled.as_str());
    writer.field("capabilities", &advertised(description.capabilities.clone(), settled));
    writer.field("serverInfo", &description.implementation);
    if let Some(instructions) = &description.instructions {
        writer.field("instructions", instructions);
    }
    writer.close()
}

fn discover<H: Handler>(handler: &H, rendered: &Rendered, id: &str, version: Version) -> Reply {
    let description = handler.describe();
    let mut writer = ResultWriter::complete(id, version, rendered);
    writer.field("supportedVersions", &Version::ALL.map(Version::as_str));
    writer.field("capabilities", &advertised(description.capabilities.clone(), version));
    if let Some(instructions) = &description.instructions {
        writer.field("instructions", instructions);
    }
    writer.cache(version, description.discover_ttl, CacheScope::Private);
    writer.close()
}

/// Nothing is pushed outside of an answer, so nothing that needs it is advertised.
fn advertised(mut capabilities: ServerCapabilities, version: Version) -> ServerCapabilities {
    if let Some(tools) = &mut capabilities.tools {
        tools.list_changed = None;
    }
    if let Some(prompts) = &mut capabilities.prompts {
        prompts.list_changed = None;
    }
    if let Some(resources) = &mut capabilities.resources {
        resources.list_changed = None;
        if version.is_modern() {
            resources.subscribe = None;
        }
    }
    capabilities
}
