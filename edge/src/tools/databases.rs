//! `list_databases`: the databases that the caller's token may use.

use nla_domain::role::Tool;
use serde_json::json;

use super::{
    answer,
    arguments::{self, ListDatabases},
};
use crate::{
    mcp::{call::ToolCall, outcome::ToolResult},
    pipeline::{Admitted, Call, Failure, Pipeline},
};

pub(super) async fn call(pipeline: &Pipeline, admitted: &Admitted, mut call: ToolCall) -> ToolResult {
    let arguments = arguments::take::<ListDatabases>(Tool::ListDatabases, &mut call);
    let work = async |call: &mut Call<'_>| -> Result<ToolResult, Failure> {
        arguments?;
        list(pipeline, call)
    };
    let reply = pipeline.call(admitted, Tool::ListDatabases.as_str(), &call.context, work).await;
    answer::of(reply)
}

fn list(pipeline: &Pipeline, call: &Call<'_>) -> Result<ToolResult, Failure> {
    let databases = pipeline.databases(call, Tool::ListDatabases)?;
    let mut text = String::new();
    for database in &databases {
        text.push_str(database.name.as_str());
        if !database.description.is_empty() {
            text.push_str(": ");
            text.push_str(&database.description);
        }
        text.push('\n');
    }
    if databases.is_empty() {
        text.push_str("This token may not use any database; ask its owner for a role that opens one.\n");
    }
    let entries: Vec<_> = databases
        .iter()
        .map(|database| {
            json!({
                "name": database.name.as_str(),
                "description": database.description,
                "max_rows": database.limits.max_rows,
                "statement_timeout_ms": u64::try_from(database.limits.statement_timeout.as_millis()).unwrap_or(u64::MAX),
            })
        })
        .collect();
    answer::with_structured(text, &json!({ "databases": entries }))
}
