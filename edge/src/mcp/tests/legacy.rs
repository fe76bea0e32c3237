//! 2025-11-25, 2025-06-18 and 2025-03-26, without sessions.

use http::StatusCode;
use serde_json::{Value, json};

use super::Ask;

const VERSIONS: [&str; 3] = ["2025-11-25", "2025-06-18", "2025-03-26"];

fn initialize(version: &str) -> Ask {
    Ask::json(&json!({
        "jsonrpc": "2.0", "id": "first", "method": "initialize",
        "params": {
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": { "name": "old", "version": "0" },
        },
    }))
}

#[tokio::test]
async fn initialize_settles_on_a_version_that_is_served() {
    let cases = [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("nonsense", "2025-11-25"),
    ];
    for (asked, settled) in cases {
        let answer = initialize(asked).send().await;
        let result = answer.result();
        assert_eq!(result["protocolVersion"], settled, "{asked}");
        assert_eq!(result["serverInfo"]["name"], "probe");
        assert_eq!(result["instructions"], "Ask nicely.");
        assert!(result["capabilities"]["tools"].is_object());
        assert!(result.get("resultType").is_none(), "{result}");
        assert_eq!(answer.json()["id"], "first");
        assert_eq!(answer.header("mcp-session-id"), None);
    }
    let with_header = initialize("2026-07-28").header("mcp-protocol-version", "2026-07-28");
    assert_eq!(with_header.send().await.result()["protocolVersion"], "2025-11-25");
    let no_version = initialize("x").edit(|b| b["params"] = json!({}));
    assert_eq!(no_version.send().await.refusal(), (200, -32602));
}

#[tokio::test]
async fn calls_need_no_headers_and_get_plain_results() {
    for version in VERSIONS {
        let ask = |method: &str, params: Value| Ask::legacy(version, method, params);
        let result = ask("tools/call", json!({ "name": "echo" })).send().await.result();
        assert_eq!(result["structuredContent"]["version"], version);
        assert_eq!(result["_meta"], json!({ "own": 1 }));
        assert!(result.get("resultType").is_none());

        let list = ask("tools/list", json!({})).send().await.result();
        assert!(list.get("ttlMs").is_none() && list.get("cacheScope").is_none());
        assert_eq!(list["nextCursor"], "2");

        assert_eq!(ask("ping", json!({})).send().await.result(), json!({}));
        let set_level = ask("logging/setLevel", json!({ "level": "info" }));
        assert_eq!(set_level.send().await.result(), json!({}));
    }
}

#[tokio::test]
async fn each_wrong_request_gets_its_status_and_code() {
    for version in VERSIONS {
        let ask = |method: &str, params: Value| Ask::legacy(version, method, params);
        let cases: Vec<(&str, Ask, (u16, i64))> = vec![
            ("unknown method", ask("no/such", json!({})), (200, -32601)),
            ("modern method", ask("server/discover", json!({})), (200, -32601)),
            ("unknown tool", ask("tools/call", json!({ "name": "none" })), (200, -32602)),
            ("bad level", ask("logging/setLevel", json!({ "level": 3 })), (200, -32602)),
            ("undeclared subscribe", ask("resources/subscribe", json!({ "uri": "a" })), (200, -32601)),
            ("asks back", ask("tools/call", json!({ "name": "asks" })), (200, -32602)),
            ("panic", ask("tools/call", json!({ "name": "panics" })), (500, -32603)),
            ("unknown version", ask("ping", json!({})).header("mcp-protocol-version", "2024-11-05"), (400, -32022)),
        ];
        for (name, ask, expected) in cases {
            assert_eq!(ask.send().await.refusal(), expected, "{version} {name}");
        }
    }
}

#[tokio::test]
async fn notifications_are_accepted() {
    for version in VERSIONS {
        for method in ["notifications/initialized", "notifications/cancelled"] {
            let mut note = Ask::legacy(version, method, json!({}));
            note = note.edit(|b| {
                b.as_object_mut().unwrap().remove("id");
            });
            let answer = note.send().await;
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{version} {method}");
            assert_eq!(answer.text, "");
        }
    }
}
