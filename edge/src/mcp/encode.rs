//! JSON-RPC answers, written straight into the bytes that go out.
//!
//! Called by `dispatch` and `serve`. Invariant: each result of 2026-07-28 names its type and the server,
//! and rows that a tool wrote as JSON are copied once, never parsed again.

use http::StatusCode;
use rmcp::model::{CacheScope, JsonObject};
use serde::Serialize;
use std::time::Duration;

use super::error::RpcError;
use super::handler::{Page, ServerDescription};
use super::outcome::{InputRequest, InputRequired, PromptResult, ReadResult, ToolResult};
use super::version::Version;

/// One answered message.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) json: Vec<u8>,
}

/// Room for the frame around a result and short content.
const TYPICAL_ANSWER_BYTES: usize = 512;

/// What results say about the server, rendered once.
#[derive(Debug)]
pub(super) struct Rendered {
    /// `"io.modelcontextprotocol/serverInfo":{...}`
    server_info_member: Box<str>,
}

impl Rendered {
    pub(super) fn new(description: &ServerDescription) -> Self {
        let info = serde_json::to_string(&description.implementation).expect("an Implementation has string keys only");
        Self { server_info_member: format!(r#""io.modelcontextprotocol/serverInfo":{info}"#).into() }
    }
}

/// A result under construction: an open JSON object inside the response's frame.
#[derive(Debug)]
pub(super) struct ResultWriter {
    json: Vec<u8>,
    empty: bool,
}

impl ResultWriter {
    /// `meta` is the tool's own; 2026-07-28 adds the server to it.
    fn open(
        id: &str,
        version: Version,
        rendered: &Rendered,
        result_type: &str,
        meta: Option<&JsonObject>,
        room: usize,
    ) -> Self {
        let mut writer = Self { json: Vec::with_capacity(TYPICAL_ANSWER_BYTES + room), empty: true };
        writer.text(r#"{"jsonrpc":"2.0","id":"#);
        writer.text(id);
        writer.text(r#","result":{"#);
        if version.is_modern() {
            writer.raw("resultType", format!("\"{result_type}\"").as_bytes());
            writer.key("_meta");
            writer.text("{");
            writer.text(&rendered.server_info_member);
            if let Some(meta) = meta.filter(|meta| !meta.is_empty()) {
                let own = written(meta);
                writer.text(",");
                writer.json.extend_from_slice(&own[1..own.len() - 1]);
            }
            writer.text("}");
        } else if let Some(meta) = meta {
            writer.field("_meta", meta);
        }
        writer
    }

    pub(super) fn complete(id: &str, version: Version, rendered: &Rendered) -> Self {
        Self::open(id, version, rendered, "complete", None, 0)
    }

    fn text(&mut self, text: &str) {
        self.json.extend_from_slice(text.as_bytes());
    }

    fn key(&mut self, key: &str) {
        if !self.empty {
            self.text(",");
        }
        self.empty = false;
        self.text("\"");
        self.text(key);
        self.text("\":");
    }

    pub(super) fn field<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) {
        self.key(key);
        serde_json::to_writer(&mut self.json, value).expect("wire types have string keys, and a Vec takes every write");
    }

    fn raw(&mut self, key: &str, json: &[u8]) {
        self.key(key);
        self.json.extend_from_slice(json);
    }

    pub(super) fn cache(&mut self, version: Version, ttl: Duration, scope: CacheScope) {
        if version.is_modern() {
            self.field("ttlMs", &u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            self.field("cacheScope", &scope);
        }
    }

    pub(super) fn close(mut self) -> Reply {
        self.text("}}");
        Reply { status: StatusCode::OK, json: self.json }
    }
}

fn written<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("wire types have string keys, and a Vec takes every write")
}

/// An error answer; without an id when the request's could not be read, never with null.
pub(super) fn error(id: Option<&str>, version: Version, error: &RpcError) -> Reply {
    #[derive(Serialize)]
    struct Body<'a> {
        code: i64,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<&'a serde_json::Value>,
    }
    let mut json = br#"{"jsonrpc":"2.0","#.to_vec();
    if let Some(id) = id {
        json.extend_from_slice(br#""id":"#);
        json.extend_from_slice(id.as_bytes());
        json.push(b',');
    }
    json.extend_from_slice(br#""error":"#);
    json.extend_from_slice(&written(&Body { code: error.code, message: &error.message, data: error.data.as_ref() }));
    json.push(b'}');
    Reply { status: error.status(version), json }
}

pub(super) fn page<T: Serialize>(id: &str, version: Version, rendered: &Rendered, key: &str, page: &Page<T>) -> Reply {
    let mut writer = ResultWriter::complete(id, version, rendered);
    writer.field(key, &page.items);
    if let Some(cursor) = &page.next_cursor {
        writer.field("nextCursor", cursor);
    }
    writer.cache(version, page.ttl, page.scope);
    writer.close()
}

pub(super) fn tool(id: &str, version: Version, rendered: &Rendered, result: &ToolResult) -> Reply {
    let structured = result.structured.as_ref().map(|json| json.as_bytes());
    // Text is escaped while it is written; a tenth more spares most regrowth.
    let text_bytes: usize = result
        .content
        .iter()
        .filter_map(|block| block.as_text())
        .map(|block| block.text.len() + block.text.len() / 10)
        .sum();
    let room = text_bytes + structured.map_or(0, <[u8]>::len);
    let mut writer = ResultWriter::open(id, version, rendered, "complete", result.meta.as_ref(), room);
    writer.field("content", &result.content);
    if let Some(structured) = structured {
        writer.raw("structuredContent", structured);
    }
    if result.is_error {
        writer.field("isError", &true);
    }
    writer.close()
}

pub(super) fn prompt(id: &str, version: Version, rendered: &Rendered, result: &PromptResult) -> Reply {
    let mut writer = ResultWriter::complete(id, version, rendered);
    if let Some(description) = &result.description {
        writer.field("description", description);
    }
    writer.field("messages", &result.messages);
    writer.close()
}

pub(super) fn resource(id: &str, version: Version, rendered: &Rendered, result: &ReadResult) -> Reply {
    let mut writer = ResultWriter::complete(id, version, rendered);
    writer.field("contents", &result.contents);
    writer.cache(version, result.ttl, result.scope);
    writer.close()
}

/// Refuses to ask what the client did not say it can answer.
pub(super) fn input_required(
    id: &str,
    version: Version,
    rendered: &Rendered,
    declared: &JsonObject,
    asked: &InputRequired,
) -> Reply {
    if !version.is_modern() {
        let refusal = RpcError::invalid_params(
            "this call needs answers from the user, which works from protocol version 2026-07-28 on",
        );
        return error(Some(id), version, &refusal);
    }
    let missing: JsonObject = asked
        .requests
        .iter()
        .map(|(_, request)| request.capability())
        .filter(|capability| !declared.contains_key(*capability))
        .map(|capability| (capability.to_owned(), JsonObject::new().into()))
        .collect();
    if !missing.is_empty() {
        return error(Some(id), version, &RpcError::missing_capability(missing));
    }
    let mut writer = ResultWriter::open(id, version, rendered, "input_required", None, 0);
    if !asked.requests.is_empty() {
        let requests: JsonObject =
            asked.requests.iter().map(|(key, request)| (key.clone(), request_json(request))).collect();
        writer.field("inputRequests", &requests);
    }
    if let Some(state) = &asked.state {
        writer.field("requestState", state);
    }
    writer.close()
}

fn request_json(request: &InputRequest) -> serde_json::Value {
    let method = request.method();
    match request {
        InputRequest::Elicitation(params) | InputRequest::Sampling(params) => {
            serde_json::json!({ "method": method, "params": params })
        }
        InputRequest::Roots => serde_json::json!({ "method": method }),
    }
}
