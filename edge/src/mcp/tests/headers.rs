//! Headers: those that repeat the body, and what HTTP itself asks for.

use http::{HeaderValue, Method};
use rmcp::model::{JsonObject, Tool};
use serde_json::{Value, json};

use super::Ask;
use crate::mcp::headers::ParamHeader;
use crate::mcp::options::Options;

fn echo() -> Ask {
    Ask::modern("tools/call", json!({ "name": "echo" }))
}

#[tokio::test]
async fn headers_and_body_must_agree() {
    let uni = || Ask::modern("resources/read", json!({ "uri": "probe://ünö" }));
    let cases: Vec<(&str, Ask, bool)> = vec![
        ("all in place", echo(), true),
        ("no version", echo().without("mcp-protocol-version"), false),
        ("other version", echo().header("mcp-protocol-version", "2025-11-25"), false),
        ("no method", echo().without("mcp-method"), false),
        ("other method", echo().header("mcp-method", "tools/list"), false),
        ("method in capitals", echo().header("mcp-method", "TOOLS/CALL"), false),
        ("no name", echo().without("mcp-name"), false),
        ("other name", echo().header("mcp-name", "panics"), false),
        ("name in capitals", echo().header("mcp-name", "ECHO"), false),
        ("blanks around the name", echo().header("mcp-name", "  echo\t"), true),
        ("name in base64", echo().header("mcp-name", "=?base64?ZWNobw==?="), true),
        ("other name in base64", echo().header("mcp-name", "=?base64?cGFuaWNz?="), false),
        ("base64 without padding", echo().header("mcp-name", "=?base64?ZWNobw?="), false),
        ("base64 with other letters", echo().header("mcp-name", "=?base64?ZW!obw==?="), false),
        ("base64 of no UTF-8", echo().header("mcp-name", "=?base64?/////w==?="), false),
        ("base64 without its end", echo().header("mcp-name", "=?base64?ZWNobw=="), false),
        ("bytes outside ASCII", uni().header("mcp-name", "probe://ünö"), false),
        ("the same in base64", uni().header("mcp-name", "=?base64?cHJvYmU6Ly/DvG7Dtg==?="), true),
        ("no name where none is due", Ask::modern("tools/list", json!({})), true),
    ];
    for (name, ask, fits) in cases {
        let answer = ask.send().await;
        if fits {
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
        } else {
            assert_eq!(answer.refusal(), (400, -32020), "{name}");
        }
    }
    let mut repeated = echo();
    let other = HeaderValue::from_static("panics");
    repeated.headers.append("mcp-name", other);
    assert_eq!(repeated.send().await.refusal(), (400, -32020), "repeated");
}

#[tokio::test]
async fn annotated_arguments_are_repeated_in_headers() {
    let ask = |arguments: Value| Ask::modern("tools/call", json!({ "name": "annotated", "arguments": arguments }));
    let region = || ask(json!({ "region": "eu" }));
    let count = || ask(json!({ "count": 42 }));
    let cases: Vec<(&str, Ask, bool)> = vec![
        ("nothing to repeat", ask(json!({})), true),
        ("null is absent", ask(json!({ "region": null })), true),
        ("missing", region(), false),
        ("same", region().header("mcp-param-region", "eu"), true),
        ("other", region().header("mcp-param-region", "us"), false),
        ("other case", region().header("mcp-param-region", "EU"), false),
        ("base64", region().header("mcp-param-region", "=?base64?ZXU=?="), true),
        ("bad base64", region().header("mcp-param-region", "=?base64?ZXU?="), false),
        ("header alone", ask(json!({})).header("mcp-param-region", "eu"), false),
        ("integer", count().header("mcp-param-count", "42"), true),
        ("integer with a point", count().header("mcp-param-count", "42.0"), true),
        ("other integer", count().header("mcp-param-count", "43"), false),
        ("no number", count().header("mcp-param-count", "NaN"), false),
        ("boolean", ask(json!({ "dry": true })).header("mcp-param-dry", "true"), true),
        ("other boolean", ask(json!({ "dry": true })).header("mcp-param-dry", "false"), false),
        ("nested", ask(json!({ "deep": { "er": "x" } })).header("mcp-param-deeper", "x"), true),
        ("nested, missing", ask(json!({ "deep": { "er": "x" } })), false),
        ("of a wrong type", ask(json!({ "region": ["eu"] })).header("mcp-param-region", "eu"), false),
    ];
    for (name, ask, fits) in cases {
        let answer = ask.send().await;
        if fits {
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
        } else {
            assert_eq!(answer.refusal(), (400, -32020), "{name}");
        }
    }
}

#[test]
fn bad_annotations_are_found_before_clients_drop_the_tool() {
    let property = |kind: &str, header: Value| json!({ "type": kind, "x-mcp-header": header });
    let cases = [
        (json!({ "a": property("string", json!("A")) }), true),
        (json!({ "a": property("number", json!("A")) }), false),
        (json!({ "a": property("object", json!("A")) }), false),
        (json!({ "a": { "x-mcp-header": "A" } }), false),
        (json!({ "a": property("string", json!("A B")) }), false),
        (json!({ "a": property("string", json!("")) }), false),
        (json!({ "a": property("string", json!(1)) }), false),
        (json!({ "a": property("string", json!("X")), "b": property("string", json!("x")) }), false),
        // Reached through `items`: not looked at, so never expected either.
        (json!({ "a": { "type": "array", "items": property("number", json!("A")) } }), true),
    ];
    for (properties, fits) in cases {
        let schema: JsonObject = serde_json::from_value(json!({ "type": "object", "properties": properties })).unwrap();
        let found = ParamHeader::of_tool(&Tool::new("t", "", schema));
        assert_eq!(found.is_ok(), fits, "{properties}: {found:?}");
    }
}

#[tokio::test]
async fn http_itself_is_checked_first() {
    let method = |method: Method| Ask { http_method: method, ..echo() };
    let cases: Vec<(&str, Ask, u16)> = vec![
        ("GET", method(Method::GET), 405),
        ("DELETE", method(Method::DELETE), 405),
        ("PUT", method(Method::PUT), 405),
        ("no bearer", echo().without("authorization"), 401),
        ("wrong bearer", echo().header("authorization", "Bearer bad"), 401),
        ("allowed origin", echo().header("origin", "https://app.example"), 200),
        ("allowed origin in capitals", echo().header("origin", "HTTPS://APP.EXAMPLE"), 200),
        ("other origin", echo().header("origin", "https://evil.example"), 403),
        ("other port", echo().header("origin", "https://app.example:444"), 403),
        ("longer origin", echo().header("origin", "https://app.example.evil.example"), 403),
        ("null origin", echo().header("origin", "null"), 403),
        ("no type", echo().without("content-type"), 415),
        ("text", echo().header("content-type", "text/plain"), 415),
        ("form", echo().header("content-type", "application/x-www-form-urlencoded"), 415),
        ("charset", echo().header("content-type", "Application/JSON; charset=utf-8"), 200),
        ("no accept", echo().without("accept"), 200),
        ("anything", echo().header("accept", "*/*"), 200),
        ("JSON only", echo().header("accept", "application/json;q=0.9"), 200),
        ("events only", echo().header("accept", "text/event-stream"), 200),
        ("pictures", echo().header("accept", "image/png, text/html"), 406),
    ];
    for (name, ask, status) in cases {
        let options = Options { allowed_origins: vec!["https://app.example".into()], ..Options::default() };
        let probe = std::sync::Arc::new(super::Probe::new());
        let answer = ask.send_to(&probe, options).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert!(answer.header("x-request-id").is_some(), "{name}");
        match status {
            200 => {}
            401 => {
                assert_eq!(answer.refusal(), (401, 401));
                assert!(answer.header("www-authenticate").is_some());
            }
            405 => assert_eq!(answer.header("allow"), Some("POST"), "{name}"),
            _ => assert_eq!(answer.refusal(), (status, -32600), "{name}"),
        }
    }
}

#[tokio::test]
async fn two_origins_are_none() {
    let mut ask = echo().header("origin", "https://app.example");
    ask.headers.append("origin", HeaderValue::from_static("https://app.example"));
    let options = Options { allowed_origins: vec!["https://app.example".into()], ..Options::default() };
    let answer = ask.send_to(&std::sync::Arc::new(super::Probe::new()), options).await;
    assert_eq!(answer.refusal(), (403, -32600));
}
