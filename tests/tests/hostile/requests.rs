//! Requests that are HTTP and should not have been sent.

use nla_domain::token::TokenText;
use nla_sandbox::mcp::{Answer, Body, McpClient, PROTOCOL_VERSION};
use serde_json::{Value, json};
use tonic::codegen::http::request::Builder;

use super::bench::Bench;

/// Larger than any body may be.
const TOO_LARGE: usize = (1 << 20) + 1;

fn message(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": PROTOCOL_VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "hostile", "version": "0" },
    });
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })
}

fn query() -> Value {
    message("tools/call", json!({ "name": "query_database", "arguments": { "sql": "SELECT 1" } }))
}

fn headed(builder: Builder, version: &str, method: &str, name: &str) -> Builder {
    builder.header("MCP-Protocol-Version", version).header("Mcp-Method", method).header("Mcp-Name", name)
}

async fn sent(client: &McpClient, builder: Builder, body: impl Into<String>) -> Answer {
    client.send(builder.body(Body::from(body.into())).unwrap()).await.unwrap()
}

/// What it is, the head and the body of the request, what its answer must have:
/// status and code, and a part of the text.
type Case = (&'static str, Builder, String, (u16, i64), &'static str);

/// What an answer must have: a status, and a code of JSON-RPC unless it is 0.
fn check(what: &str, answer: &Answer, expected: (u16, i64), part: &str) {
    let code = answer.body["error"]["code"].as_i64().unwrap_or(0);
    assert_eq!((answer.status.as_u16(), code), expected, "{what}: {}", answer.body);
    let text = answer.body.to_string();
    assert!(text.contains(part), "{what}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_get_clear_errors_and_nothing_is_lost() {
    let mut bench = Bench::start().await;
    let client = bench.client.clone();
    let good = query().to_string();
    let usual = || headed(client.post(), PROTOCOL_VERSION, "tools/call", "query_database");
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let other_version = good.replace(PROTOCOL_VERSION, "1999-01-01");
    let cases: Vec<Case> = vec![
        ("an oversized body", usual(), "x".repeat(TOO_LARGE), (413, -32600), "larger than 1048576 bytes"),
        ("an oversized message", usual(), good.replace("SELECT 1", &"x".repeat(TOO_LARGE)), (413, -32600), "larger"),
        ("no body", usual(), String::new(), (400, -32700), "not valid JSON"),
        ("words", usual(), "hello".into(), (400, -32700), "not valid JSON"),
        ("half a message", usual(), good[..good.len() / 2].into(), (400, -32700), "not valid JSON"),
        ("deep JSON, cut off", usual(), "[".repeat(500_000), (400, -32700), "not valid JSON"),
        ("a number", usual(), "42".into(), (400, -32600), ""),
        ("another JSON-RPC", usual(), good.replace("\"2.0\"", "\"1.0\""), (400, -32600), ""),
        (
            "another Mcp-Method",
            headed(client.post(), PROTOCOL_VERSION, "tools/list", "query_database"),
            good.clone(),
            (400, -32020),
            "mcp-method",
        ),
        (
            "another Mcp-Name",
            headed(client.post(), PROTOCOL_VERSION, "tools/call", "list_databases"),
            good.clone(),
            (400, -32020),
            "mcp-name",
        ),
        (
            "no MCP headers",
            client.post().header("MCP-Protocol-Version", PROTOCOL_VERSION),
            good.clone(),
            (400, -32020),
            "mcp-method",
        ),
        ("Mcp-Name twice", usual().header("Mcp-Name", "query_database"), good.clone(), (400, -32020), "repeated"),
        (
            "another version in the header",
            headed(client.post(), "2025-11-25", "tools/call", "query_database"),
            good.clone(),
            (400, -32020),
            "",
        ),
        (
            "a version that does not exist",
            headed(client.post(), "1999-01-01", "tools/call", "query_database"),
            other_version,
            (400, -32022),
            "supported",
        ),
        ("a foreign Origin", usual().header("Origin", "https://evil.example"), good.clone(), (403, -32600), "Origin"),
        ("Origin null", usual().header("Origin", "null"), good.clone(), (403, -32600), "Origin"),
        (
            "an unknown method",
            headed(client.post(), PROTOCOL_VERSION, "tools/destroy", "x"),
            message("tools/destroy", json!({})).to_string(),
            (404, -32601),
            "tools/destroy",
        ),
        (
            "an unknown tool",
            headed(client.post(), PROTOCOL_VERSION, "tools/call", "drop_database"),
            message("tools/call", json!({ "name": "drop_database", "arguments": {} })).to_string(),
            (200, -32602),
            "unknown tool: drop_database",
        ),
        (
            "arguments that are a list",
            usual(),
            message("tools/call", json!({ "name": "query_database", "arguments": [1] })).to_string(),
            (200, -32602),
            "arguments",
        ),
        ("deep arguments", usual(), good.replace("\"SELECT 1\"", &deep), (200, -32602), ""),
        (
            "500 headers",
            (0..500).fold(usual(), |request, number| request.header(format!("x-h-{number}"), "v")),
            good.clone(),
            (200, 0),
            "structuredContent",
        ),
    ];
    for (what, builder, body, expected, part) in cases {
        let answer = sent(&client, builder, body).await;
        check(what, &answer, expected, part);
        bench.still_good(what).await;
    }
    bench.nothing_lost().await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_methods_headers_arguments_and_tokens() {
    let mut bench = Bench::start().await;
    let client = bench.client.clone();
    let good = query().to_string();
    let usual = |client: &McpClient| headed(client.post(), PROTOCOL_VERSION, "tools/call", "query_database");

    for method in ["GET", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let answer = sent(&client, usual(&client).method(method), good.clone()).await;
        check(method, &answer, (405, -32600), "POST only");
        assert_eq!(answer.headers["allow"], "POST", "{method}");
        bench.still_good(method).await;
    }
    let cases = [
        ("content-type", "text/plain", 415),
        ("content-type", "application/x-www-form-urlencoded", 415),
        ("content-type", "application/jsonp", 415),
        ("accept", "text/html", 406),
    ];
    for (header, value, status) in cases {
        let mut request = usual(&client).body(Body::from(good.clone())).unwrap();
        request.headers_mut().insert(header, value.parse().unwrap());
        let answer = client.send(request).await.unwrap();
        check(value, &answer, (status, -32600), "");
        bench.still_good(value).await;
    }
    let nowhere = usual(&client).uri(bench.sandbox.edges[0].mcp_url().replace("/mcp", "/admin"));
    check("another path", &sent(&client, nowhere, good.clone()).await, (404, 0), "the MCP endpoint is /mcp");

    // A tool's own refusal is a result that the model reads; it names the field.
    let arguments = [
        ("query_database", json!({}), "sql"),
        ("query_database", json!({ "sql": 5 }), "sql"),
        ("query_database", json!({ "sql": "SELECT 1", "max_rows": 0 }), "max_rows"),
        ("query_database", json!({ "sql": "SELECT 1", "max_rows": -1 }), "max_rows"),
        ("query_database", json!({ "sql": "SELECT 1", "max_rows": 1.5 }), "max_rows"),
        ("query_database", json!({ "sql": "SELECT 1", "max_row": 5 }), "max_row"),
        ("query_database", json!({ "sql": "SELECT 1", "database": "" }), "database"),
        ("get_schema", json!({ "table": "x".repeat(201) }), "table"),
        ("explain_query", json!({ "sql": "SELECT 1", "analyze": "yes" }), "analyze"),
        ("list_databases", json!({ "all": true }), "all"),
    ];
    for (tool, arguments, field) in arguments {
        let result = client.call(tool, arguments.clone()).await.unwrap();
        assert_eq!(result["isError"], true, "{tool} {arguments}: {result}");
        assert_eq!(result["_meta"]["nla/error"]["code"], "invalid_argument", "{result}");
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(field), "{tool} {arguments}: {text}");
        bench.still_good(tool).await;
    }

    let stranger = TokenText::generate().unwrap().expose().to_owned();
    let long = "x".repeat(16_000);
    for (value, challenge) in [
        (None, r#"Bearer realm="nla""#),
        (Some("Bearer "), r#"Bearer realm="nla""#),
        (Some("Basic bmxhOm5sYQ=="), r#"Bearer realm="nla""#),
        (Some("Bearer nla_not_a_token"), "invalid_token"),
        (Some(stranger.as_str()), "invalid_token"),
        (Some(long.as_str()), "invalid_token"),
    ] {
        let mut request = usual(&client).body(Body::from(good.clone())).unwrap();
        request.headers_mut().remove("authorization");
        if let Some(value) = value {
            let value = if value.contains(' ') { value.to_owned() } else { format!("Bearer {value}") };
            request.headers_mut().insert("authorization", value.parse().unwrap());
        }
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status, 401, "{value:?}: {}", answer.body);
        let header = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(header.contains(challenge) || header.contains("invalid_token"), "{value:?}: {header}");
        let shown = value.and_then(|value| value.rsplit(' ').next()).filter(|text| !text.is_empty());
        assert!(shown.is_none_or(|text| !answer.body.to_string().contains(text)), "{value:?}: {}", answer.body);
        bench.still_good("a bad token").await;
    }
    bench.nothing_lost().await;
    bench.stop().await;
}
