//! An administrator who looks at PostgreSQL finds the call of each statement.

use nla_sandbox::mcp::McpClient;
use serde_json::json;

use super::bench::{Bench, ENDLESS, OURS, beside_others};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_statement_names_edge_token_and_request() {
    let _turn = beside_others().await;
    let bench = Bench::start().await;
    let (id, client) = bench.token("analyst").await;
    let run = |client: McpClient, tool: &'static str| {
        tokio::spawn(async move { client.call(tool, json!({ "sql": ENDLESS, "analyze": true })).await })
    };
    let mut seen = Vec::new();
    for tool in ["query", "explain_query"] {
        let running = match tool {
            "query" => {
                let client = client.clone();
                tokio::spawn(async move { client.call("query_database", json!({ "sql": ENDLESS })).await })
            }
            tool => run(client.clone(), tool),
        };
        seen.push(bench.endless().await.1);
        running.abort();
        bench.until_running(0).await;
    }
    // Between calls a session keeps no call's name.
    let idle = format!("SELECT count(*) FROM pg_stat_activity WHERE {OURS} AND application_name <> 'nla/edge-1'");
    assert_eq!(bench.count(&idle).await, 0);

    nla_sandbox::system::wait_for("the events", || async { bench.events(&id).await.len() == 2 }).await.unwrap();
    let mut events = bench.events(&id).await;
    events.reverse();
    for (name, event) in seen.iter().zip(events) {
        let request = name.strip_prefix(&format!("nla/edge-1/{id}/")).unwrap_or_else(|| panic!("{name}, token {id}"));
        // All of it, or all that PostgreSQL has room for.
        assert!(request.len() == 32 || name.len() == 63, "{name}");
        assert!(event.request_id.replace('-', "").starts_with(request), "{name}: {}", event.request_id);
        assert_eq!((event.reason.as_str(), event.edge.as_str()), ("cancelled", "edge-1"));
    }
}
