//! The layer over `oneshot`: requests as bytes, answers as status, headers and JSON.

mod batches;
mod body;
mod headers;
mod legacy;
mod modern;
mod probe;
mod running;

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use self::probe::Probe;
use super::options::Options;

/// A request that is right until a test makes it wrong.
#[derive(Clone, Debug)]
struct Ask {
    http_method: Method,
    headers: HeaderMap,
    body: Vec<u8>,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Ask {
    fn raw(body: impl Into<Vec<u8>>) -> Self {
        let ask = Self { http_method: Method::POST, headers: HeaderMap::new(), body: body.into() };
        ask.header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("authorization", "Bearer good")
    }

    /// A request of 2026-07-28 with everything that it must have.
    fn modern(method: &str, mut params: Value) -> Self {
        let name = params.get("name").or(params.get("uri")).cloned();
        let meta = &mut params["_meta"];
        meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let ask = Self::json(&json!({
            "jsonrpc": "2.0", "id": 7, "method": method, "params": params,
        }))
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method);
        match name.as_ref().and_then(Value::as_str) {
            Some(name) => ask.header("mcp-name", name),
            None => ask,
        }
    }

    /// A request of an older revision; without the header for the oldest.
    fn legacy(version: &str, method: &str, params: Value) -> Self {
        let ask = Self::json(&json!({
            "jsonrpc": "2.0", "id": 7, "method": method, "params": params,
        }));
        match version {
            "2025-03-26" => ask,
            _ => ask.header("mcp-protocol-version", version),
        }
    }

    fn json(body: &Value) -> Self {
        Self::raw(body.to_string())
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Changes the JSON of the body.
    fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut body: Value = serde_json::from_slice(&self.body).unwrap();
        change(&mut body);
        self.body = body.to_string().into_bytes();
        self
    }

    async fn send(self) -> Answer {
        self.send_to(&Arc::new(Probe::new()), Options::default()).await
    }

    async fn send_to(self, probe: &Arc<Probe>, options: Options) -> Answer {
        let response = self.start(probe, options).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    async fn start(self, probe: &Arc<Probe>, options: Options) -> http::Response<Body> {
        let mut request =
            Request::builder().method(self.http_method).uri(&options.path).body(Body::from(self.body)).unwrap();
        *request.headers_mut() = self.headers;
        super::router(Arc::clone(probe), options).oneshot(request).await.unwrap()
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    fn result(&self) -> Value {
        let json = self.json();
        assert_eq!(self.status, StatusCode::OK, "{json}");
        assert!(json.get("error").is_none(), "{json}");
        json["result"].clone()
    }

    /// Status and code, and the rules that hold for every error.
    fn refusal(&self) -> (u16, i64) {
        let json = self.json();
        assert_eq!(json["jsonrpc"], "2.0", "{json}");
        assert_ne!(json.get("id"), Some(&Value::Null), "id is never null");
        assert!(json.get("result").is_none(), "{json}");
        let code = json["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {json}"));
        assert!(!(-32019..=-32000).contains(&code) && code != -32042, "reserved: {code}");
        (self.status.as_u16(), code)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
