//! Fixture prompts: plain, with arguments, with other content than text, and one that asks back.

use nla_edge::mcp::call::PromptCall;
use nla_edge::mcp::error::RpcError;
use nla_edge::mcp::outcome::{InputRequired, PromptOutcome, PromptResult};
use rmcp::model::{ContentBlock, Prompt, PromptArgument, PromptMessage, ResourceContents, Role};
use serde_json::Value;

use super::{PNG, rounds};

pub(super) fn list() -> Vec<Prompt> {
    let prompt = |name: &str, description: &str, arguments: &[&str]| {
        let arguments = arguments.iter().map(|name| PromptArgument::new(*name).with_required(true)).collect();
        Prompt::new(name, Some(description), Some(arguments))
    };
    vec![
        prompt("test_simple_prompt", "Plain text", &[]),
        prompt("test_prompt_with_arguments", "Two arguments in its text", &["arg1", "arg2"]),
        prompt("test_prompt_with_embedded_resource", "A resource beside its text", &["resourceUri"]),
        prompt("test_prompt_with_image", "An image beside its text", &[]),
        prompt("test_input_required_result_prompt", "Asks the user before it answers", &[]),
    ]
}

pub(super) fn get(call: &PromptCall) -> PromptOutcome {
    let argument = |name: &str| {
        call.arguments
            .get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| RpcError::invalid_params(format!("prompt argument {name} is missing")))
    };
    match messages(call, argument) {
        Ok(Some(messages)) => PromptResult { description: None, messages }.into(),
        Ok(None) => PromptOutcome::InputRequired(InputRequired {
            requests: vec![rounds::ask_text("user_context", "What context should the prompt use?", "context")],
            state: None,
        }),
        Err(error) => PromptOutcome::Failed(error),
    }
}

/// `None` when the user must be asked first.
fn messages<'a>(
    call: &PromptCall,
    argument: impl Fn(&str) -> Result<&'a str, RpcError>,
) -> Result<Option<Vec<PromptMessage>>, RpcError> {
    let text = |text: &str| PromptMessage::new_text(Role::User, text);
    let content = |content| PromptMessage::new(Role::User, content);
    Ok(Some(match &*call.name {
        "test_simple_prompt" => vec![text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments" => {
            vec![text(&format!("Prompt with arguments: arg1='{}', arg2='{}'", argument("arg1")?, argument("arg2")?))]
        }
        "test_prompt_with_embedded_resource" => vec![
            content(ContentBlock::resource(ResourceContents::text(
                "Embedded resource content for testing.",
                argument("resourceUri")?,
            ))),
            text("Please process the embedded resource above."),
        ],
        "test_prompt_with_image" => {
            vec![content(ContentBlock::image(PNG, "image/png")), text("Please analyze the image above.")]
        }
        "test_input_required_result_prompt" => {
            match rounds::answered_text(&call.retry.responses, "user_context", "context") {
                Some(context) => vec![text(&format!("Use this context: {context}"))],
                None => return Ok(None),
            }
        }
        unknown => return Err(RpcError::unknown_prompt(unknown)),
    }))
}
