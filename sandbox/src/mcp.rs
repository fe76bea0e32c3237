//! A small MCP client over HTTPS, for the demo's example and for tests that
//! look at single answers. The official clients are tested as well, each in its
//! own language.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use nla_domain::secret::Secret;
use nla_proto::tls::{Roots, provider};
use rustls::ClientConfig;
use serde_json::{Value, json};

/// The revision of MCP that this client speaks.
pub const PROTOCOL_VERSION: &str = "2026-07-28";

/// Body of our requests.
pub type Body = Full<Bytes>;

/// A client of one edge.
#[derive(Clone, Debug)]
pub struct McpClient {
    http: Client<HttpsConnector<HttpConnector>, Body>,
    url: String,
    token: Option<Secret>,
}

/// An HTTP answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status line.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The body as JSON; null when it is none.
    pub body: Value,
}

impl McpClient {
    /// A client that trusts the authorities in that PEM file and no others.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn new(url: &str, ca: &Path, token: Option<Secret>) -> Result<Self> {
        let roots = Roots::from_pem(&nla_proto::files::read_public(ca)?)?;
        let tls = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("no TLS version")?
            .with_root_certificates(roots.store())
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        // A request leaves in two parts: the second would wait 40 ms for an
        // acknowledgement of the first.
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        let http = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { http, url: url.into(), token })
    }

    /// The same client with another token, or none.
    #[must_use]
    pub fn with_token(&self, token: Option<Secret>) -> Self {
        Self { token, ..self.clone() }
    }

    /// One request of JSON-RPC with the headers that MCP asks for.
    ///
    /// # Errors
    /// When there is no HTTP answer.
    pub async fn request(&self, method: &str, mut params: Value) -> Result<Answer> {
        let name = params.get("name").or_else(|| params.get("uri")).and_then(Value::as_str).map(str::to_owned);
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": { "name": "nla-sandbox", "version": env!("CARGO_PKG_VERSION") },
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut request = self.post().header("MCP-Protocol-Version", PROTOCOL_VERSION).header("Mcp-Method", method);
        if let Some(name) = name {
            request = request.header("Mcp-Name", name);
        }
        self.send(request.body(Full::from(body.to_string()))?).await
    }

    /// A POST to the endpoint with the token and the usual headers, to be
    /// completed by the caller.
    pub fn post(&self) -> http::request::Builder {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream");
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose())),
            None => request,
        }
    }

    /// Sends any request over this client's connections.
    ///
    /// # Errors
    /// When there is no HTTP answer.
    pub async fn send(&self, request: Request<Body>) -> Result<Answer> {
        let answer = self.http.request(request).await.with_context(|| format!("{} does not answer", self.url))?;
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.context("the answer broke off")?.to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// Calls a tool; the result object, whether it is an error or not.
    ///
    /// # Errors
    /// When the answer is an error of HTTP or JSON-RPC.
    pub async fn call(&self, tool: &str, arguments: Value) -> Result<Value> {
        let answer = self.request("tools/call", json!({ "name": tool, "arguments": arguments })).await?;
        match answer.body.get("result") {
            Some(result) => Ok(result.clone()),
            None => bail!("{tool}: HTTP {}: {}", answer.status, answer.body),
        }
    }

    /// Runs a query; its structured content.
    ///
    /// # Errors
    /// As [`McpClient::call`]; also when the tool refused the query.
    pub async fn query(&self, sql: &str) -> Result<Value> {
        let result = self.call("query_database", json!({ "sql": sql })).await?;
        if result["isError"] == json!(true) {
            bail!("the query was refused: {}", result["content"][0]["text"].as_str().unwrap_or_default());
        }
        Ok(result["structuredContent"].clone())
    }
}
