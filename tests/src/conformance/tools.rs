//! Fixture tools that end in one call.

use std::time::Duration;

use nla_edge::mcp::call::ToolCall;
use nla_edge::mcp::error::RpcError;
use nla_edge::mcp::notify::LogLevel;
use nla_edge::mcp::outcome::{ToolOutcome, ToolResult};
use rmcp::model::{ContentBlock, JsonObject, ResourceContents, Tool};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::PNG;

/// A WAV file without samples.
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

/// The suite asks for pauses of this length between notifications.
const PAUSE: Duration = Duration::from_millis(50);

/// The suite calls the first one without arguments.
pub(super) fn list() -> Vec<Tool> {
    let mut tools: Vec<Tool> = [
        ("test_simple_text", "Text"),
        ("test_image_content", "An image"),
        ("test_audio_content", "Audio"),
        ("test_embedded_resource", "An embedded resource"),
        ("test_multiple_content_types", "Text, image and resource"),
        ("test_error_handling", "Always fails"),
        ("test_tool_with_progress", "Reports progress"),
        ("test_tool_with_logging", "Logs three messages"),
        ("test_logging_tool", "Logs one message"),
        ("test_missing_capability", "Needs sampling"),
        ("test_streaming_elicitation", "Asks for a name"),
        ("test_input_required_result_elicitation", "Asks for a name"),
        ("test_input_required_result_sampling", "Asks a model"),
        ("test_input_required_result_list_roots", "Asks for roots"),
        ("test_input_required_result_request_state", "Asks with a sealed state"),
        ("test_input_required_result_tampered_state", "Refuses a state that was altered"),
        ("test_input_required_result_multiple_inputs", "Asks three questions at once"),
        ("test_input_required_result_multi_round", "Asks twice, one after the other"),
        ("test_input_required_result_capabilities", "Asks only what the client can answer"),
    ]
    .into_iter()
    .map(|(name, description)| Tool::new(name, description, object(json!({ "type": "object" }))))
    .collect();
    tools.push(Tool::new("json_schema_2020_12_tool", "Schema keywords of 2020-12", rich_schema()));
    tools.push(Tool::new(
        "test_custom_header",
        "Repeats an argument in a header",
        object(json!({
            "type": "object",
            "properties": {
                "region": { "type": "string", "x-mcp-header": "Region" },
                "priority": { "type": "integer", "x-mcp-header": "Priority" },
            },
        })),
    ));
    tools
}

pub(super) async fn call(call: ToolCall) -> ToolOutcome {
    let notify = &call.context.notify;
    let text = |text: &str| ContentBlock::text(text);
    let resource = |uri: &str, mime: &str, text: &str| {
        ContentBlock::resource(ResourceContents::text(text, uri).with_mime_type(mime))
    };
    let content = match &*call.name {
        "test_simple_text" => vec![text("This is a simple text response for testing.")],
        "test_image_content" => vec![ContentBlock::image(PNG, "image/png")],
        "test_audio_content" => vec![ContentBlock::audio(WAV, "audio/wav")],
        "test_embedded_resource" => {
            vec![resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")]
        }
        "test_multiple_content_types" => vec![
            text("Multiple content types test:"),
            ContentBlock::image(PNG, "image/png"),
            resource("test://mixed-content-resource", "application/json", r#"{"test":"data","value":123}"#),
        ],
        "test_error_handling" => {
            let message = "This tool intentionally returns an error for testing";
            return ToolResult::error(message).into();
        }
        "test_tool_with_progress" => {
            notify.progress(0.0, Some(100.0), None);
            sleep(PAUSE).await;
            notify.progress(50.0, Some(100.0), Some("half of it"));
            sleep(PAUSE).await;
            notify.progress(100.0, Some(100.0), None);
            vec![text("Progress was reported three times.")]
        }
        "test_tool_with_logging" => {
            let log = |message: &str| notify.log(LogLevel::Info, Some("fixture"), &json!(message));
            log("Tool execution started");
            sleep(PAUSE).await;
            log("Tool processing data");
            sleep(PAUSE).await;
            log("Tool execution completed");
            vec![text("Three messages were logged.")]
        }
        "test_logging_tool" => {
            notify.log(LogLevel::Info, Some("fixture"), &json!("one message"));
            vec![text("One message was logged.")]
        }
        "test_missing_capability" => {
            if !call.context.client_capabilities.contains_key("sampling") {
                let required = object(json!({ "sampling": {} }));
                return ToolOutcome::Failed(RpcError::missing_capability(required));
            }
            vec![text("The client can sample.")]
        }
        "json_schema_2020_12_tool" | "test_custom_header" => {
            vec![text(&Value::Object(call.arguments).to_string())]
        }
        unknown => return ToolOutcome::Failed(RpcError::unknown_tool(unknown)),
    };
    ToolResult { content, ..ToolResult::default() }.into()
}

fn rich_schema() -> JsonObject {
    object(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            },
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": {
            "properties": { "contactMethod": { "const": "phone" } },
            "required": ["contactMethod"],
        },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    }))
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}
