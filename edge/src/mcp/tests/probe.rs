//! A handler whose tools succeed, fail, panic, hang and talk on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use rmcp::model::{
    CompletionInfo, Implementation, JsonObject, PromptsCapability, ResourceContents, ResourcesCapability,
    ServerCapabilities, Tool, ToolsCapability,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::mcp::call::{CompletionCall, Context, ResourceRead, ToolCall};
use crate::mcp::delivery::Room;
use crate::mcp::error::{Refusal, RpcError};
use crate::mcp::handler::{Handler, Page, ServerDescription};
use crate::mcp::headers::ParamHeader;
use crate::mcp::notify::LogLevel;
use crate::mcp::outcome::{InputRequest, InputRequired, RawJson, ReadOutcome, ReadResult, ToolOutcome, ToolResult};

#[derive(Debug)]
pub(super) struct Probe {
    description: ServerDescription,
    annotated: Vec<ParamHeader>,
    /// Each bearer may be admitted this often.
    pub(super) admissions_left: AtomicUsize,
    pub(super) admissions: AtomicUsize,
    pub(super) started: Notify,
    pub(super) saw_cancel: Notify,
    pub(super) release: Arc<Notify>,
    pub(super) finished: Notify,
    /// What each answer holds until it has left.
    pub(super) room: Arc<()>,
}

impl Probe {
    pub(super) fn new() -> Self {
        let mut capabilities = ServerCapabilities::default();
        let mut tools = ToolsCapability::default();
        tools.list_changed = Some(true);
        capabilities.tools = Some(tools);
        capabilities.prompts = Some(PromptsCapability::default());
        capabilities.resources = Some(ResourcesCapability::default());
        capabilities.completions = Some(JsonObject::new());
        capabilities.logging = Some(JsonObject::new());
        Self {
            description: ServerDescription {
                implementation: Implementation::new("probe", "1.2.3"),
                instructions: Some("Ask nicely.".into()),
                capabilities,
                discover_ttl: Duration::from_secs(5),
            },
            annotated: ParamHeader::of_tool(&annotated_tool()).unwrap(),
            admissions_left: AtomicUsize::new(usize::MAX),
            admissions: AtomicUsize::new(0),
            started: Notify::new(),
            saw_cancel: Notify::new(),
            release: Arc::default(),
            finished: Notify::new(),
            room: Arc::default(),
        }
    }

    /// A server that declares tools and nothing else.
    pub(super) fn tools_only() -> Self {
        let mut probe = Self::new();
        let tools = probe.description.capabilities.tools.take();
        probe.description.capabilities = ServerCapabilities::default();
        probe.description.capabilities.tools = tools;
        probe
    }
}

fn object(value: Value) -> JsonObject {
    serde_json::from_value(value).unwrap()
}

fn annotated_tool() -> Tool {
    let schema = json!({
        "type": "object",
        "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "count": { "type": "integer", "x-mcp-header": "Count" },
            "dry": { "type": "boolean", "x-mcp-header": "Dry" },
            "deep": {
                "type": "object",
                "properties": { "er": { "type": "string", "x-mcp-header": "Deeper" } },
            },
        },
    });
    Tool::new("annotated", "Repeats arguments in headers", object(schema))
}

impl Handler for Probe {
    type Principal = &'static str;

    async fn admit(&self, parts: &Parts) -> Result<&'static str, Refusal> {
        self.admissions.fetch_add(1, Ordering::SeqCst);
        match parts.headers.get(header::AUTHORIZATION).map(|v| v.as_bytes()) {
            Some(b"Bearer good") => {}
            Some(b"Bearer panics") => panic!("admission panics"),
            _ => {
                let error = RpcError::new(401, "no valid bearer");
                let mut refusal = Refusal::new(StatusCode::UNAUTHORIZED, error);
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                refusal.headers.insert(header::WWW_AUTHENTICATE, challenge);
                return Err(refusal);
            }
        }
        let left = self.admissions_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        match left {
            Ok(_) => Ok("caller"),
            Err(_) => {
                let error = RpcError::new(429, "too many requests");
                let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, error);
                refusal.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                Err(refusal)
            }
        }
    }

    fn room(&self, _: &&'static str) -> Option<Room> {
        Some(Room { held: self.room.clone(), ended: tokio_util::sync::CancellationToken::new() })
    }

    fn describe(&self) -> &ServerDescription {
        &self.description
    }

    async fn list_tools(
        &self,
        _principal: &&'static str,
        cursor: Option<String>,
        _context: Context,
    ) -> Result<Page<Tool>, RpcError> {
        match cursor.as_deref() {
            None => Ok(Page {
                next_cursor: Some("2".into()),
                ..Page::private([annotated_tool()]).with_ttl(Duration::from_millis(1500))
            }),
            Some("2") => Ok(Page::private([])),
            Some(_) => Err(RpcError::bad_cursor()),
        }
    }

    async fn call_tool(&self, principal: &&'static str, mut call: ToolCall) -> ToolOutcome {
        match &*call.name {
            "echo" | "annotated" => {
                let seen = json!({
                    "principal": principal,
                    "arguments": call.arguments,
                    "client": call.context.client_name,
                    "version": call.context.version.as_str(),
                    "traceparent": call.context.traceparent,
                    "responses": call.retry.responses,
                    "state": call.retry.state,
                });
                let json = RawJson::serialize(&seen).unwrap();
                ToolResult::text("seen").with_structured(json).with_meta(object(json!({ "own": 1 }))).into()
            }
            "typed" => {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Arguments {
                    #[expect(dead_code, reason = "only its type is looked at")]
                    max_rows: u32,
                }
                match call.take_arguments::<Arguments>() {
                    Ok(_) => ToolResult::text("fits").into(),
                    Err(error) => ToolResult::error(error.to_string()).into(),
                }
            }
            "large" => ToolResult::text("x".repeat(9 << 20)).into(),
            "fails" => ToolResult::error("the database said no").into(),
            "panics" => panic!("the handler panics"),
            "hangs" => {
                self.started.notify_one();
                call.context.cancel.cancelled().await;
                self.saw_cancel.notify_one();
                ToolResult::error("cancelled").into()
            }
            "waits" => {
                self.started.notify_one();
                tokio::select! {
                    biased;
                    () = call.context.cancel.cancelled() => return ToolResult::error("cancelled").into(),
                    () = self.release.notified() => self.finished.notify_one(),
                }
                ToolResult::text("waited").into()
            }
            "stubborn" => std::future::pending().await,
            "talks" => {
                let notify = &call.context.notify;
                notify.progress(1.0, Some(2.0), Some("half"));
                notify.log(LogLevel::Debug, None, &json!("detail"));
                notify.log(LogLevel::Error, Some("probe"), &json!({ "bad": true }));
                ToolResult::text("done").into()
            }
            "talks and waits" => {
                call.context.notify.progress(1.0, None, None);
                self.started.notify_one();
                self.release.notified().await;
                // With line breaks between its tokens, as pretty-printed JSON has.
                ToolResult::text("done").with_structured(RawJson::from_written(&b"{\n  \"a\":\r\n 1}"[..])).into()
            }
            "talks from a task" => {
                let notify = call.context.notify.clone();
                let release = Arc::clone(&self.release);
                tokio::spawn(async move {
                    release.notified().await;
                    notify.progress(1.0, None, None);
                });
                self.started.notify_one();
                std::future::pending().await
            }
            "talks and panics" => {
                call.context.notify.progress(1.0, None, None);
                tokio::task::yield_now().await;
                panic!("the handler panics in the stream")
            }
            "asks" => ToolOutcome::InputRequired(InputRequired {
                requests: vec![("name".into(), InputRequest::Elicitation(json!({ "message": "Who?" })))],
                state: Some("sealed".into()),
            }),
            unknown => ToolOutcome::Failed(RpcError::unknown_tool(unknown)),
        }
    }

    fn param_headers(&self, tool: &str) -> &[ParamHeader] {
        match tool {
            "annotated" => &self.annotated,
            _ => &[],
        }
    }

    async fn read_resource(&self, _principal: &&'static str, call: ResourceRead) -> ReadOutcome {
        match &*call.uri {
            "probe://one" | "probe://ünö" => {
                ReadResult::private(vec![ResourceContents::text("1", &*call.uri)]).into()
            }
            unknown => ReadOutcome::Failed(RpcError::unknown_resource(unknown)),
        }
    }

    async fn complete(&self, _principal: &&'static str, call: CompletionCall) -> Result<CompletionInfo, RpcError> {
        let filled = call.filled.get("schema").and_then(Value::as_str);
        let value = format!("{}.{}", filled.unwrap_or("?"), call.argument.value);
        CompletionInfo::with_all_values(vec![value]).map_err(RpcError::invalid_params)
    }
}
