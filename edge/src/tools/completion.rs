//! Completion of database, schema and table names, for prompts and resource
//! templates, from what the caller may see anyway.

use nla_domain::role::Tool;
use rmcp::model::{CompletionInfo, Reference};

use super::{
    catalog::{self, NameKind},
    failure, prompts, resources,
};
use crate::{
    mcp::{call::CompletionCall, error::RpcError},
    pipeline::{Admitted, Call, Failure, Pipeline},
};

pub(super) async fn complete(
    pipeline: &Pipeline,
    admitted: &Admitted,
    asked: &CompletionCall,
) -> Result<CompletionInfo, RpcError> {
    let known = match &asked.reference {
        Reference::Prompt(prompt) => [prompts::EXPLORE, prompts::DIAGNOSE].contains(&prompt.name.as_str()),
        Reference::Resource(template) => {
            [resources::TABLE_TEMPLATE, resources::DATABASE_TEMPLATE].contains(&template.uri.as_str())
        }
        _ => false,
    };
    if !known {
        return Err(RpcError::invalid_params("ref: there is no such prompt or resource template"));
    }
    let work = async |call: &mut Call<'_>| values(pipeline, call, asked).await;
    let found = pipeline.call(admitted, "completion/complete", &asked.context, work).await.into_inner();
    let mut values = found.map_err(|failure| failure::rpc_error(&failure))?;
    let more = values.len() > CompletionInfo::MAX_VALUES;
    values.truncate(CompletionInfo::MAX_VALUES);
    CompletionInfo::with_pagination(values, None, more).map_err(RpcError::invalid_params)
}

async fn values(pipeline: &Pipeline, call: &mut Call<'_>, asked: &CompletionCall) -> Result<Vec<String>, Failure> {
    let typed = asked.argument.value.as_str();
    let filled =
        |name: &str| asked.filled.get(name).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
    match asked.argument.name.as_str() {
        "database" => {
            let databases = pipeline.databases(call, Tool::GetSchema)?;
            let names = databases.iter().map(|database| database.name.to_string());
            Ok(names.filter(|name| name.starts_with(typed)).collect())
        }
        "schema" => catalog::names(pipeline, call, filled("database"), NameKind::Schema, None, typed).await,
        "table" => catalog::names(pipeline, call, filled("database"), NameKind::Table, filled("schema"), typed).await,
        // Free text, such as a statement.
        _ => Ok(Vec::new()),
    }
}
