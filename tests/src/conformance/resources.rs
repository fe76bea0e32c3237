//! Fixture resources: text, binary, and a template.

use nla_edge::mcp::error::RpcError;
use nla_edge::mcp::outcome::{ReadOutcome, ReadResult};
use rmcp::model::{Resource, ResourceContents, ResourceTemplate};
use serde_json::json;

use super::PNG;

const TEXT: &str = "test://static-text";
const BINARY: &str = "test://static-binary";
const WATCHED: &str = "test://watched-resource";

pub(super) fn list() -> Vec<Resource> {
    vec![
        Resource::new(TEXT, "static-text").with_mime_type("text/plain"),
        Resource::new(BINARY, "static-binary").with_mime_type("image/png"),
        Resource::new(WATCHED, "watched-resource").with_mime_type("text/plain"),
    ]
}

pub(super) fn templates() -> Vec<ResourceTemplate> {
    vec![ResourceTemplate::new("test://template/{id}/data", "template").with_mime_type("application/json")]
}

pub(super) fn read(uri: &str) -> ReadOutcome {
    let contents = match uri {
        TEXT => ResourceContents::text("This is the content of the static text resource.", uri),
        WATCHED => ResourceContents::text("Nobody changes this.", uri),
        BINARY => ResourceContents::blob(PNG, uri).with_mime_type("image/png"),
        _ => {
            let id = uri
                .strip_prefix("test://template/")
                .and_then(|rest| rest.strip_suffix("/data"))
                .filter(|id| !id.is_empty() && !id.contains('/'));
            let Some(id) = id else {
                return ReadOutcome::Failed(RpcError::unknown_resource(uri));
            };
            let data = json!({
                "id": id, "templateTest": true, "data": format!("Data for ID: {id}"),
            });
            ResourceContents::text(data.to_string(), uri).with_mime_type("application/json")
        }
    };
    ReadResult::private(vec![contents]).into()
}
