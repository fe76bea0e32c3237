//! What a model reads before it writes SQL: databases, schema, plans, resources,
//! prompts and completion; and that answers keep to their published schemas.

use std::collections::HashMap;

use jsonschema::Validator;
use nla_sandbox::{mcp::McpClient, system::Sandbox};
use serde_json::{Value, json};

use super::calls::{error, text, token, watch};

async fn result(client: &McpClient, method: &str, params: Value) -> Value {
    let answer = client.request(method, params).await.unwrap();
    assert!(answer.body["result"].is_object(), "{method}: {}", answer.body);
    answer.body["result"].clone()
}

struct Tools {
    client: McpClient,
    schemas: HashMap<String, Validator>,
}

impl Tools {
    async fn of(client: McpClient) -> Self {
        let listed = result(&client, "tools/list", json!({})).await;
        let schema = |tool: &Value| {
            let schema = jsonschema::draft202012::new(&tool["outputSchema"]).unwrap();
            (tool["name"].as_str().unwrap().to_owned(), schema)
        };
        let schemas = listed["tools"].as_array().unwrap().iter().map(schema).collect();
        Self { client, schemas }
    }

    /// Structured content that was held against the tool's output schema.
    async fn call(&self, tool: &str, arguments: Value) -> Value {
        let result = self.client.call(tool, arguments.clone()).await.unwrap();
        assert_ne!(result["isError"], json!(true), "{tool} {arguments}: {result}");
        let content = &result["structuredContent"];
        let faults: Vec<String> = self.schemas[tool].iter_errors(content).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{tool} {arguments}: {faults:?}");
        assert!(!text(&result).is_empty());
        content.clone()
    }
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|entry| entry["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {list}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_describe_a_database_and_keep_to_their_schemas() {
    let sandbox = Sandbox::with_edges(1).await.unwrap();
    let (_, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    let tools = Tools::of(sandbox.client(0, &secret).unwrap()).await;
    assert_eq!(tools.schemas.len(), 4);

    let listed = tools.call("list_databases", json!({})).await;
    assert_eq!(named(&listed["databases"], "shop")["max_rows"], 1_000);

    let all = tools.call("get_schema", json!({})).await;
    let tables = all["tables"].as_array().unwrap();
    let names: Vec<&str> = tables.iter().map(|table| table["name"].as_str().unwrap()).collect();
    assert_eq!(tables.len(), 7, "{names:?}");
    let payments = named(&all["tables"], "payments");
    assert_eq!((&payments["kind"], &payments["partitions"]), (&json!("partitioned table"), &json!(18)));
    assert_eq!(named(&all["tables"], "monthly_revenue")["kind"], "view");

    let one = tools.call("get_schema", json!({ "table": "shop.customers" })).await;
    assert_eq!(one["tables"].as_array().unwrap().len(), 1);
    let customers = &one["tables"][0];
    assert_eq!(customers["comment"], "People who buy; holds personal data");
    let columns = &customers["columns"];
    assert_eq!(named(columns, "id")["primary_key"], true);
    assert_eq!(named(columns, "phone")["nullable"], true);
    assert!(named(columns, "email")["comment"].as_str().unwrap().starts_with("Personal data"));
    assert!(named(columns, "tenant_id")["references"].as_str().unwrap().starts_with("shop.tenants("));
    let orders = tools.call("get_schema", json!({ "schema": "shop", "table": "orders" })).await;
    assert!(named(&orders["tables"][0]["columns"], "status")["values"].as_str().unwrap().contains("refunded"));
    let missing = tools.client.call("get_schema", json!({ "table": "shop.nothing" })).await.unwrap();
    assert_eq!(error(&missing)["code"], "not_found");

    for (analyze, shown) in [(false, false), (true, true)] {
        let arguments = json!({ "sql": "SELECT * FROM shop.orders WHERE id = 7", "analyze": analyze });
        let plan = tools.call("explain_query", arguments).await["plan"].as_str().unwrap().to_owned();
        assert!(plan.contains("orders_pkey"), "{plan}");
        assert_eq!(plan.contains("actual time"), shown, "{plan}");
    }
    for sql in ["SELECT 1 AS a, 2 AS a", "TABLE shop.tenants", "SHOW work_mem", "SELECT FROM shop.orders LIMIT 2"] {
        tools.call("query_database", json!({ "sql": sql })).await;
    }
    tools.call("query_database", json!({ "sql": "TABLE shop.customers", "max_rows": 3 })).await;

    // A summary first when there are many.
    let many = "CREATE SCHEMA many; GRANT USAGE ON SCHEMA many TO nla_reader;
        DO $$ BEGIN FOR n IN 1..40 LOOP EXECUTE format('CREATE TABLE many.t_%s (id int)', n); END LOOP; END $$;
        GRANT SELECT ON ALL TABLES IN SCHEMA many TO nla_reader";
    watch(&sandbox).await.batch_execute(many).await.unwrap();
    let summary = tools.call("get_schema", json!({})).await;
    assert_eq!(summary["tables"].as_array().unwrap().len(), 47);
    assert!(summary["tables"].as_array().unwrap().iter().all(|table| table.get("columns").is_none()), "{summary}");
    assert!(summary["note"].as_str().unwrap().contains("ask for one schema"));
    let one = tools.call("get_schema", json!({ "schema": "analytics" })).await;
    assert!(!one["tables"][0]["columns"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_prompts_and_completion() {
    let sandbox = Sandbox::with_edges(1).await.unwrap();
    let (_, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    let client = sandbox.client(0, &secret).unwrap();

    let resources = result(&client, "resources/list", json!({})).await;
    assert_eq!(resources["resources"][0]["uri"], "nla://shop/schema");
    for (uri, shown) in [("nla://shop/schema", "shop.order_items"), ("nla://shop/shop/orders", "placed_at")] {
        let read = result(&client, "resources/read", json!({ "uri": uri })).await;
        assert!(read["contents"][0]["text"].as_str().unwrap().contains(shown), "{read}");
    }
    for uri in ["nla://shop/shop/nothing", "nla://other/schema", "file:///etc/passwd"] {
        let answer = client.request("resources/read", json!({ "uri": uri })).await.unwrap();
        assert_eq!(answer.body["error"]["code"], -32_602, "{uri}: {}", answer.body);
    }

    let prompts = result(&client, "prompts/list", json!({})).await;
    named(&prompts["prompts"], "explore-database");
    named(&prompts["prompts"], "diagnose-query");
    let arguments = json!({ "sql": "SELECT 42" });
    let got = result(&client, "prompts/get", json!({ "name": "diagnose-query", "arguments": arguments })).await;
    assert!(got["messages"][0]["content"]["text"].as_str().unwrap().contains("SELECT 42"), "{got}");

    let prompt = json!({ "type": "ref/prompt", "name": "explore-database" });
    let table = json!({ "type": "ref/resource", "uri": "nla://{database}/{schema}/{table}" });
    for (reference, argument, typed, filled, expected) in [
        (&prompt, "database", "sh", json!({}), json!(["shop"])),
        (&prompt, "database", "x", json!({}), json!([])),
        (&table, "schema", "an", json!({ "database": "shop" }), json!(["analytics"])),
        (&table, "table", "order", json!({ "database": "shop", "schema": "shop" }), json!(["order_items", "orders"])),
    ] {
        let params = json!({
            "ref": reference,
            "argument": { "name": argument, "value": typed },
            "context": { "arguments": filled },
        });
        let found = result(&client, "completion/complete", params).await;
        assert_eq!(found["completion"]["values"], expected, "{argument} {typed}");
    }
}
