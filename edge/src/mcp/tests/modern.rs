//! 2026-07-28: results, `_meta`, versions, and the table of errors.

use std::sync::Arc;

use rmcp::model::JsonObject;
use serde_json::{Value, json};

use super::probe::Probe;
use super::{Answer, Ask};
use crate::mcp::options::Options;

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

fn meta(body: &mut Value) -> &mut JsonObject {
    body["params"]["_meta"].as_object_mut().unwrap()
}

#[tokio::test]
async fn each_wrong_request_gets_its_status_and_code() {
    let call = |name: &str| Ask::modern("tools/call", json!({ "name": name, "arguments": {} }));
    let list = || Ask::modern("tools/list", json!({}));
    let cases: Vec<(&str, Ask, (u16, i64))> = vec![
        ("unknown method", Ask::modern("no/such", json!({})), (404, -32601)),
        ("initialize", Ask::modern("initialize", json!({})), (404, -32601)),
        ("ping", Ask::modern("ping", json!({})), (404, -32601)),
        ("setLevel", Ask::modern("logging/setLevel", json!({})), (404, -32601)),
        ("subscribe", Ask::modern("resources/subscribe", json!({"uri": "a"})), (404, -32601)),
        ("listen", Ask::modern("subscriptions/listen", json!({})), (404, -32601)),
        (
            "no params",
            list().edit(|b| {
                b.as_object_mut().unwrap().remove("params");
            }),
            (400, -32602),
        ),
        ("no _meta", list().edit(|b| b["params"] = json!({})), (400, -32602)),
        ("_meta is null", list().edit(|b| b["params"]["_meta"] = json!(null)), (400, -32602)),
        (
            "no version in _meta",
            list().edit(|b| {
                meta(b).remove(VERSION);
            }),
            (400, -32602),
        ),
        (
            "version is a number",
            list().edit(|b| {
                meta(b).insert(VERSION.into(), json!(1));
            }),
            (400, -32602),
        ),
        (
            "no capabilities",
            list().edit(|b| {
                meta(b).remove(CAPABILITIES);
            }),
            (400, -32602),
        ),
        (
            "capabilities are a list",
            list().edit(|b| {
                meta(b).insert(CAPABILITIES.into(), json!([]));
            }),
            (400, -32602),
        ),
        (
            "unknown version",
            list().header("mcp-protocol-version", "1999-01-01").edit(|b| {
                meta(b).insert(VERSION.into(), json!("1999-01-01"));
            }),
            (400, -32022),
        ),
        (
            "unknown version in the header alone",
            list().header("mcp-protocol-version", "x").edit(|b| b["params"] = json!({})),
            (400, -32022),
        ),
        ("bad cursor", Ask::modern("tools/list", json!({"cursor": "zzz"})), (200, -32602)),
        ("cursor of wrong type", Ask::modern("tools/list", json!({"cursor": 3})), (200, -32602)),
        ("unknown tool", call("no-such-tool"), (200, -32602)),
        ("arguments are a list", call("echo").edit(|b| b["params"]["arguments"] = json!([])), (200, -32602)),
        ("arguments are text", call("echo").edit(|b| b["params"]["arguments"] = json!("{}")), (200, -32602)),
        ("responses are a list", call("echo").edit(|b| b["params"]["inputResponses"] = json!([])), (200, -32602)),
        ("name is missing", call("echo").edit(|b| b["params"]["name"] = json!(null)), (200, -32602)),
        (
            "progress token is an object",
            call("echo").edit(|b| {
                meta(b).insert("progressToken".into(), json!({}));
            }),
            (200, -32602),
        ),
        (
            "bad log level",
            call("echo").edit(|b| {
                meta(b).insert("io.modelcontextprotocol/logLevel".into(), json!("loud"));
            }),
            (200, -32602),
        ),
        ("unknown resource", Ask::modern("resources/read", json!({"uri": "probe://none"})), (200, -32602)),
        ("unknown prompt", Ask::modern("prompts/get", json!({"name": "none"})), (200, -32602)),
        (
            "bad reference",
            Ask::modern("completion/complete", json!({"ref": {"type": "x"}, "argument": {"name": "a", "value": ""}})),
            (200, -32602),
        ),
        (
            "completion context is a list",
            Ask::modern(
                "completion/complete",
                json!({
                    "ref": { "type": "ref/prompt", "name": "p" },
                    "argument": { "name": "a", "value": "" },
                    "context": [{}],
                }),
            ),
            (200, -32602),
        ),
        ("undeclared elicitation", call("asks"), (400, -32021)),
        ("panic", call("panics"), (500, -32603)),
        ("panic in admission", call("echo").header("authorization", "Bearer panics"), (500, -32603)),
        ("params is a list", list().edit(|b| b["params"] = json!([])), (200, -32602)),
    ];
    for (name, ask, expected) in cases {
        let answer = ask.send().await;
        assert_eq!(answer.refusal(), expected, "{name}: {answer:?}");
        assert!(answer.header("x-request-id").is_some(), "{name}");
    }
}

#[tokio::test]
async fn error_data_tells_what_to_do() {
    let unknown = Ask::modern("tools/list", json!({})).header("mcp-protocol-version", "1999-01-01").edit(|b| {
        meta(b).insert(VERSION.into(), json!("1999-01-01"));
    });
    let data = unknown.send().await.json()["error"]["data"].clone();
    assert_eq!(data["requested"], "1999-01-01");
    assert_eq!(data["supported"][0], "2026-07-28");

    let asks = Ask::modern("tools/call", json!({ "name": "asks" })).send().await;
    let data = asks.json()["error"]["data"].clone();
    assert_eq!(data, json!({ "requiredCapabilities": { "elicitation": {} } }));

    let panic = Ask::modern("tools/call", json!({ "name": "panics" })).send().await;
    let id = panic.header("x-request-id").unwrap();
    assert_eq!(panic.json()["error"]["data"]["requestId"], id);
    assert_eq!(panic.json()["id"], 7);

    let missing = Ask::modern("resources/read", json!({ "uri": "probe://none" })).send().await;
    assert_eq!(missing.json()["error"]["data"]["uri"], "probe://none");
}

#[tokio::test]
async fn every_result_names_its_type_and_the_server() {
    let requests = [
        ("server/discover", json!({})),
        ("tools/list", json!({})),
        ("tools/list", json!({ "cursor": "2" })),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({ "uri": "probe://one" })),
        ("tools/call", json!({ "name": "echo" })),
        (
            "completion/complete",
            json!({
                "ref": { "type": "ref/prompt", "name": "p" },
                "argument": { "name": "table", "value": "cust" },
                "context": { "arguments": { "schema": "shop" } },
            }),
        ),
    ];
    for (method, params) in requests {
        let result = Ask::modern(method, params).send().await.result();
        assert_eq!(result["resultType"], "complete", "{method}");
        let server = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        assert_eq!(*server, json!({ "name": "probe", "version": "1.2.3" }), "{method}");
        let cacheable = !matches!(method, "tools/call" | "completion/complete");
        assert_eq!(result.get("ttlMs").is_some_and(Value::is_u64), cacheable, "{method}");
        assert_eq!(result.get("cacheScope").is_some(), cacheable, "{method}");
        if cacheable {
            assert_eq!(result["cacheScope"], "private", "{method}");
        }
    }
}

#[tokio::test]
async fn discover_advertises_what_is_served() {
    let result = Ask::modern("server/discover", json!({})).send().await.result();
    let versions = json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]);
    assert_eq!(result["supportedVersions"], versions);
    assert_eq!(result["instructions"], "Ask nicely.");
    assert_eq!(result["ttlMs"], 5000);
    // The probe declares listChanged, which nothing here could deliver.
    assert_eq!(result["capabilities"]["tools"], json!({}));
}

#[tokio::test]
async fn undeclared_capabilities_are_unknown_methods() {
    let probe = Arc::new(Probe::tools_only());
    for method in [
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "completion/complete",
    ] {
        let ask = Ask::modern(method, json!({ "name": "x", "uri": "x" }));
        let answer = ask.send_to(&probe, Options::default()).await;
        assert_eq!(answer.refusal(), (404, -32601), "{method}");
    }
    let list = Ask::modern("tools/list", json!({})).send_to(&probe, Options::default()).await;
    list.result();
}

#[tokio::test]
async fn a_call_sees_its_caller_its_client_and_its_arguments() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let ask = Ask::modern(
        "tools/call",
        json!({
            "name": "echo",
            "arguments": { "sql": "SELECT 1", "big": 12345678901234567890_u64 },
            "inputResponses": { "q": { "action": "accept" } },
            "requestState": "opaque",
            "_meta": {
                "io.modelcontextprotocol/clientInfo": { "name": "line\nbreak", "version": "1" },
                "traceparent": trace,
            },
        }),
    );
    let result = ask.send().await.result();
    assert_eq!(
        result["structuredContent"],
        json!({
            "principal": "caller",
            "arguments": { "sql": "SELECT 1", "big": 12345678901234567890_u64 },
            "client": "line?break",
            "version": "2026-07-28",
            "traceparent": trace,
            "responses": { "q": { "action": "accept" } },
            "state": "opaque",
        })
    );
    assert_eq!(result["content"], json!([{ "type": "text", "text": "seen" }]));
    assert_eq!(result["_meta"]["own"], 1);
    assert!(result.get("isError").is_none());
}

#[tokio::test]
async fn tool_failures_are_results_and_name_the_argument() {
    let fails = Ask::modern("tools/call", json!({ "name": "fails" })).send().await.result();
    assert_eq!(fails["isError"], true);

    let cases = [
        (json!({ "max_rows": 5 }), None),
        (json!({ "max_rows": "5" }), Some("argument max_rows: invalid type")),
        (json!({ "max_rows": -1 }), Some("argument max_rows: invalid value")),
        (json!({}), Some("argument arguments: missing field `max_rows`")),
        (json!({ "max_rows": 5, "x": 1 }), Some("argument x: unknown field `x`")),
    ];
    for (arguments, expected) in cases {
        let ask = Ask::modern("tools/call", json!({ "name": "typed", "arguments": arguments }));
        let result = ask.send().await.result();
        let text = result["content"][0]["text"].as_str().unwrap();
        match expected {
            None => assert_eq!(text, "fits"),
            Some(expected) => assert!(text.starts_with(expected), "{arguments}: {text}"),
        }
        assert_eq!(result.get("isError").is_some(), expected.is_some(), "{arguments}");
    }
}

#[tokio::test]
async fn declared_questions_are_asked() {
    let ask = Ask::modern("tools/call", json!({ "name": "asks" })).edit(|b| {
        meta(b).insert(CAPABILITIES.into(), json!({ "elicitation": {} }));
    });
    let result = ask.send().await.result();
    assert_eq!(result["resultType"], "input_required");
    assert_eq!(result["requestState"], "sealed");
    let question = json!({ "method": "elicitation/create", "params": { "message": "Who?" } });
    assert_eq!(result["inputRequests"]["name"], question);
}

#[tokio::test]
async fn notifications_are_accepted_without_a_body() {
    let note = |method: &str| {
        Ask::json(&json!({ "jsonrpc": "2.0", "method": method, "params": { "requestId": 7 } }))
            .header("mcp-protocol-version", "2026-07-28")
    };
    for method in ["notifications/cancelled", "notifications/unheard-of"] {
        let answer: Answer = note(method).send().await;
        assert_eq!((answer.status.as_u16(), &*answer.text), (202, ""), "{method}");
    }
    let mismatch = note("notifications/cancelled").header("mcp-method", "tools/list").send().await;
    assert_eq!(mismatch.refusal(), (400, -32020));
}
