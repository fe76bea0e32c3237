//! Fixture tools that need answers from the client before they can end (2026-07-28).
//!
//! Called by `Fixtures::call_tool` first. Invariant: answers that do not fit are asked for again.

use nla_edge::mcp::call::ToolCall;
use nla_edge::mcp::error::RpcError;
use nla_edge::mcp::outcome::{InputRequest, InputRequired, ToolOutcome, ToolResult};
use rmcp::model::JsonObject;
use serde_json::{Value, json};

use super::state::StateSeal;

type Question = (String, InputRequest);

/// `None` when the tool is not one of these.
pub(super) fn call_tool(seal: &StateSeal, call: &ToolCall) -> Option<ToolOutcome> {
    let responses = &call.retry.responses;
    let outcome = match &*call.name {
        "test_input_required_result_elicitation" | "test_streaming_elicitation" => {
            match answered_text(responses, "user_name", "name") {
                Some(name) => done(format!("Hello, {name}!")),
                None => ask(vec![ask_name()]),
            }
        }
        "test_input_required_result_sampling" => match answered(responses, "capital_question", "content") {
            Some(answer) => done(format!("The model said: {answer}")),
            None => ask(vec![ask_model("capital_question", "What is the capital of France?")]),
        },
        "test_input_required_result_list_roots" => match answered(responses, "client_roots", "roots") {
            Some(roots) => done(format!("The client's roots: {roots}")),
            None => ask(vec![("client_roots".into(), InputRequest::Roots)]),
        },
        "test_input_required_result_capabilities" => ask([ask_name(), ask_model("greeting", "Generate a greeting")]
            .into_iter()
            .filter(|question| declared(call, question))
            .collect()),
        "test_input_required_result_request_state" | "test_input_required_result_tampered_state" => {
            with_state(seal, call, |round| match (round, answered(responses, "confirm", "content")) {
                (Some(_), Some(_)) => Ok("state-ok: confirmed".into()),
                _ => Err((vec![ask_confirmation()], "confirm")),
            })
        }
        "test_input_required_result_multiple_inputs" => with_state(seal, call, |round| {
            let complete = answered_text(responses, "user_name", "name").is_some()
                && answered(responses, "greeting", "content").is_some()
                && answered(responses, "client_roots", "roots").is_some();
            if round.is_some() && complete {
                return Ok("all three answers arrived".into());
            }
            let questions = vec![
                ask_name(),
                ask_model("greeting", "Generate a greeting"),
                ("client_roots".into(), InputRequest::Roots),
            ];
            Err((questions, "all"))
        }),
        "test_input_required_result_multi_round" => with_state(seal, call, |round| {
            let second = || ask_text("step2", "Step 2: What is your favorite color?", "color");
            match round {
                Some("step1") if answered_text(responses, "step1", "name").is_some() => Err((vec![second()], "step2")),
                Some("step2") => match answered_text(responses, "step2", "color") {
                    Some(color) => Ok(format!("three rounds done, with {color}")),
                    None => Err((vec![second()], "step2")),
                },
                _ => {
                    let first = ask_text("step1", "Step 1: What is your name?", "name");
                    Err((vec![first], "step1"))
                }
            }
        }),
        _ => return None,
    };
    Some(outcome)
}

/// Opens the state that came back; `step` yields the end, or the next questions and their round.
fn with_state(
    seal: &StateSeal,
    call: &ToolCall,
    step: impl FnOnce(Option<&str>) -> Result<String, (Vec<Question>, &'static str)>,
) -> ToolOutcome {
    let round = match &call.retry.state {
        None => None,
        Some(state) => match seal.open(&call.name, state) {
            Some(round) => Some(round),
            None => {
                return ToolOutcome::Failed(RpcError::invalid_params(
                    "requestState was not made by this server for this call",
                ));
            }
        },
    };
    match step(round) {
        Ok(text) => done(text),
        Err((requests, round)) => {
            ToolOutcome::InputRequired(InputRequired { requests, state: Some(seal.seal(&call.name, round)) })
        }
    }
}

fn done(text: String) -> ToolOutcome {
    ToolResult::text(text).into()
}

fn ask(requests: Vec<Question>) -> ToolOutcome {
    ToolOutcome::InputRequired(InputRequired { requests, state: None })
}

fn ask_name() -> Question {
    ask_text("user_name", "What is your name?", "name")
}

/// Asks the user for one text.
pub(super) fn ask_text(key: &str, message: &str, field: &str) -> Question {
    elicit(key, message, field, "string")
}

fn ask_confirmation() -> Question {
    elicit("confirm", "Please confirm", "ok", "boolean")
}

fn elicit(key: &str, message: &str, field: &str, kind: &str) -> Question {
    let schema = json!({
        "type": "object", "properties": { field: { "type": kind } }, "required": [field],
    });
    let params = json!({ "mode": "form", "message": message, "requestedSchema": schema });
    (key.into(), InputRequest::Elicitation(params))
}

fn ask_model(key: &str, question: &str) -> Question {
    let params = json!({
        "messages": [{ "role": "user", "content": { "type": "text", "text": question } }],
        "maxTokens": 100,
    });
    (key.into(), InputRequest::Sampling(params))
}

fn declared(call: &ToolCall, question: &Question) -> bool {
    let capability = match question.1 {
        InputRequest::Elicitation(_) => "elicitation",
        InputRequest::Sampling(_) => "sampling",
        InputRequest::Roots => "roots",
    };
    call.context.client_capabilities.contains_key(capability)
}

/// A member of the answer under `key`; `None` if there is no such answer or the user declined.
fn answered<'a>(responses: &'a JsonObject, key: &str, member: &str) -> Option<&'a Value> {
    let response = responses.get(key)?;
    if response.get("action").is_some_and(|action| action != "accept") {
        return None;
    }
    response.get(member)
}

/// The text that a user typed into `field`.
pub(super) fn answered_text<'a>(responses: &'a JsonObject, key: &str, field: &str) -> Option<&'a str> {
    answered(responses, key, "content")?.get(field)?.as_str()
}
