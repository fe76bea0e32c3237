//! Recorded answers of tools as results.

use nla_domain::error::ErrorKind;

use super::failure;
use crate::{
    mcp::outcome::{RawJson, ToolResult},
    pipeline::{Failure, Reply},
};

/// The result of a call that was recorded, whichever way it ended.
pub(super) fn of(reply: Reply<Result<ToolResult, Failure>>) -> ToolResult {
    match reply.into_inner() {
        Ok(result) => result,
        Err(failure) => failure::tool_result(&failure),
    }
}

/// Text and the same as JSON.
pub(super) fn with_structured(text: String, value: &serde_json::Value) -> Result<ToolResult, Failure> {
    let json =
        RawJson::serialize(value).map_err(|_| Failure::new(ErrorKind::Internal, "the answer could not be written"))?;
    Ok(ToolResult::text(text).with_structured(json))
}
