//! Failures as MCP shows them: a tool's as a result that the model reads, a
//! resource's as a JSON-RPC error, a refused admission as an HTTP answer.

use nla_domain::error::ErrorKind;
use rmcp::model::JsonObject;
use serde_json::{Value, json};

use crate::{
    mcp::{
        call::Context,
        error::{Refusal, RpcError},
        outcome::ToolResult,
    },
    pipeline::{Admitted, Failure, Pipeline, TurnedAway},
};

/// Where the machine-readable form stands in a result.
pub(super) const ERROR_META: &str = "nla/error";

/// `<code>: <message>`, the place, and what to do.
fn text(failure: &Failure) -> String {
    let mut text = format!("{}: {}", code(failure), failure.message);
    if let Some(position) = failure.position {
        text.push_str(&format!(" (at character {position} of the statement)"));
    }
    if let Some(hint) = &failure.hint {
        text.push_str("\nHint: ");
        text.push_str(hint);
    }
    text
}

/// The narrowest stable name: the rule, the SQLSTATE or the kind.
fn code(failure: &Failure) -> String {
    match (failure.rule, &failure.sqlstate) {
        (Some(rule), _) => rule.to_owned(),
        (None, Some(sqlstate)) => format!("{} {sqlstate}", failure.kind.reason()),
        (None, None) => failure.kind.reason().to_owned(),
    }
}

fn object(failure: &Failure) -> Value {
    let mut object = JsonObject::new();
    object.insert("code".into(), failure.kind.reason().into());
    object.insert("message".into(), failure.message.clone().into());
    let optional = [
        ("rule", failure.rule.map(Value::from)),
        ("sqlstate", failure.sqlstate.clone().map(Value::from)),
        ("position", failure.position.map(Value::from)),
        ("hint", failure.hint.clone().map(Value::from)),
    ];
    for (key, value) in optional {
        if let Some(value) = value {
            object.insert(key.into(), value);
        }
    }
    Value::Object(object)
}

/// For the model to read.
pub(super) fn tool_result(failure: &Failure) -> ToolResult {
    let mut meta = JsonObject::new();
    meta.insert(ERROR_META.to_owned(), object(failure));
    ToolResult::error(text(failure)).with_meta(meta)
}

/// For reads and completion, which have no other place for an error.
pub(super) fn rpc_error(failure: &Failure) -> RpcError {
    let error = match failure.kind {
        ErrorKind::InvalidArgument => RpcError::invalid_params(text(failure)),
        // Codes of our own lie outside of JSON-RPC's range; HTTP's are known.
        kind => RpcError::new(kind.http_status().into(), text(failure)),
    };
    error.with_data(object(failure))
}

pub(super) fn refusal(turned_away: &TurnedAway) -> Refusal {
    let status = turned_away.status();
    let error = RpcError::new(status.as_u16().into(), turned_away.message.clone())
        .with_data(json!({ "code": turned_away.kind.reason() }));
    let mut refusal = Refusal::new(status, error);
    refusal.headers = turned_away.headers.clone();
    refusal
}

/// A call of something that does not exist is recorded like any other.
pub(super) async fn record_unknown(pipeline: &Pipeline, admitted: &Admitted, action: &str, context: &Context) {
    let unknown = async |_: &mut crate::pipeline::Call<'_>| -> Result<(), Failure> {
        Err(Failure::new(ErrorKind::NotFound, "there is no such tool or resource"))
    };
    let _ = pipeline.call(admitted, action, context, unknown).await.into_inner();
}
