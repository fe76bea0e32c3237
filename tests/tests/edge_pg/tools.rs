//! The tools over a small schema: descriptions, refusals, errors, resources,
//! completion, and that every answer fits its published schema.

use nla_domain::database::DatabaseLimits;
use nla_edge::mcp::{
    call::{CompletionCall, ResourceRead},
    handler::Handler,
    outcome::Outcome,
};
use rmcp::model::{ArgumentInfo, Reference, ResourceContents};
use serde_json::{Value, json};

use super::bench::{Bench, context, parts, structured, text};

async fn bench() -> Bench {
    let bench = Bench::start(DatabaseLimits::default()).await;
    bench
        .admin
        .batch_execute(
            "CREATE TYPE app.state AS ENUM ('open', 'paid');
             CREATE TABLE app.customers (id bigint PRIMARY KEY, name text NOT NULL, secret text);
             COMMENT ON TABLE app.customers IS 'People who buy';
             CREATE TABLE app.orders (id bigint PRIMARY KEY, customer bigint REFERENCES app.customers (id), state app.state);
             CREATE TABLE app.events (at date, what text) PARTITION BY RANGE (at);
             CREATE TABLE app.events_1 PARTITION OF app.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
             CREATE TABLE app.events_2 PARTITION OF app.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
             CREATE TABLE app.hidden (a int);
             GRANT SELECT ON app.orders, app.events, app.events_1 TO reader;
             GRANT SELECT (id, name) ON app.customers TO reader;
             INSERT INTO app.customers VALUES (1, 'Ada', 'x');",
        )
        .await
        .unwrap();
    bench
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_shows_what_may_be_read() {
    let bench = bench().await;
    let schema = bench.call("get_schema", json!({})).await;
    let shown = text(&schema);
    for part in [
        "app.customers (table) -- People who buy",
        "  id bigint primary key",
        "  name text not null",
        "customer bigint references app.customers(id)",
        "state app.state one of 'open', 'paid'",
        "app.events (partitioned table in 2 partitions)",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    for part in ["hidden", "secret", "events_1", "pg_catalog"] {
        assert!(!shown.contains(part), "{part}\n{shown}");
    }
    let one = structured(&bench.call("get_schema", json!({"table": "app.orders"})).await);
    assert_eq!(one["tables"].as_array().unwrap().len(), 1);
    let none = bench.call("get_schema", json!({"table": "hidden"})).await;
    assert!(none.is_error && text(&none).starts_with("not_found: "), "{}", text(&none));

    bench
        .admin
        .batch_execute(
            "DO $$ BEGIN FOR i IN 1..40 LOOP EXECUTE format('CREATE TABLE app.many_%s (a int)', i);
             EXECUTE format('GRANT SELECT ON app.many_%s TO reader', i); END LOOP; END $$",
        )
        .await
        .unwrap();
    let summary = structured(&bench.call("get_schema", json!({"schema": "app"})).await);
    assert_eq!(summary["tables"].as_array().unwrap().len(), 43);
    assert!(summary["tables"][0].get("columns").is_none() && summary["note"].is_string(), "{summary}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_and_errors_help_the_model() {
    let bench = bench().await;
    let cases = [
        ("DELETE FROM app.orders", "guard.statement.delete: "),
        ("SELECT 1; SELECT 2", "guard.statement.many: "),
        ("SELECT pg_read_file('/etc/passwd')", "guard.function."),
        ("SELECT * FROM app.nothing", "guard.relation.unknown: "),
        (
            "/* é */  SELECT nothing FROM app.orders",
            "database_error 42703: column \"nothing\" does not exist (at character 17",
        ),
        ("SELECT 1/0", "database_error 22012: division by zero"),
        ("SELECT * FROM app.hidden", "database_error 42501: permission denied"),
        ("SELECT id/(id-1) FROM app.customers", "database_error 22012: "),
    ];
    for (sql, expected) in cases {
        let refused = bench.refused(sql).await;
        assert!(refused.starts_with(expected), "{sql}: {refused}");
    }
    let result = bench.call("query_database", json!({"sql": "DROP TABLE app.orders"})).await;
    let meta = &result.meta.as_ref().unwrap()["nla/error"];
    assert_eq!((&meta["code"], &meta["rule"]), (&json!("statement_refused"), &json!("guard.statement.ddl")));
    assert!(meta["hint"].is_string(), "{meta}");
    let bad = bench.call("query_database", json!({"sql": "SELECT 1", "max_row": 5})).await;
    assert!(text(&bad).contains("max_row"), "{}", text(&bad));
    let other = bench.call("query_database", json!({"sql": "SELECT 1", "database": "other"})).await;
    assert!(text(&other).starts_with("policy.database: "), "{}", text(&other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_fit_their_schemas_and_are_recorded() {
    let bench = bench().await;
    let admitted = bench.handler.admit(&bench.parts()).await.unwrap();
    let tools = bench.handler.list_tools(&admitted, None, context()).await.unwrap();
    drop(admitted);
    let calls = [
        ("list_databases", json!({})),
        ("get_schema", json!({})),
        ("get_schema", json!({"database": "shop", "schema": "app"})),
        ("query_database", json!({"sql": "SELECT * FROM app.orders"})),
        (
            "query_database",
            json!({"sql": "SELECT 1, NULL, '{\"a\":1}'::json FROM generate_series(1, 9)", "max_rows": 2}),
        ),
        ("explain_query", json!({"sql": "SELECT * FROM app.orders"})),
        ("explain_query", json!({"sql": "SELECT count(*) FROM app.orders", "analyze": true})),
        ("explain_query", json!({"sql": "DELETE FROM pg_catalog.pg_class WHERE false"})),
    ];
    for (name, arguments) in calls {
        let before = bench.audit.waiting();
        let result = bench.call(name, arguments.clone()).await;
        assert_eq!(bench.audit.waiting(), before + 1, "{name} {arguments}");
        if name == "explain_query" && result.is_error {
            // The reader may not delete there: PostgreSQL says so for a plan, too.
            assert!(text(&result).starts_with("database_error 42501"), "{}", text(&result));
            continue;
        }
        assert!(!result.is_error, "{name} {arguments}: {}", text(&result));
        let tool = tools.items.iter().find(|tool| tool.name == name).unwrap();
        let schema = Value::Object((**tool.output_schema.as_ref().unwrap()).clone());
        let answer = structured(&result);
        if let Err(error) = jsonschema::validate(&schema, &answer) {
            panic!("{name} {arguments}: {error}\n{answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_and_completion() {
    let bench = bench().await;
    let admitted = async || bench.handler.admit(&bench.parts()).await.unwrap();
    let listed = bench.handler.list_resources(&admitted().await, None, context()).await.unwrap();
    assert_eq!(listed.items.iter().map(|resource| resource.uri.as_str()).collect::<Vec<_>>(), ["nla://shop/schema"]);
    for (uri, part) in [("nla://shop/schema", "app.orders"), ("nla://shop/app/orders", "state app.state")] {
        let read = ResourceRead { uri: uri.into(), retry: Default::default(), context: context() };
        let Outcome::Done(result) = bench.handler.read_resource(&admitted().await, read).await else { panic!("{uri}") };
        let ResourceContents::TextResourceContents { text, .. } = &result.contents[0] else { panic!() };
        assert!(text.contains(part), "{uri}: {text}");
    }
    for uri in ["nla://other/schema", "nla://shop/app/hidden", "file:///etc/passwd"] {
        let read = ResourceRead { uri: uri.into(), retry: Default::default(), context: context() };
        let Outcome::Failed(error) = bench.handler.read_resource(&admitted().await, read).await else {
            panic!("{uri}")
        };
        assert_eq!(error.code, -32602, "{uri}");
    }
    for (argument, typed, expected) in [
        ("database", "s", vec!["shop"]),
        ("schema", "", vec!["app"]),
        ("table", "or", vec!["orders"]),
        ("table", "h", vec![]),
    ] {
        let asked = CompletionCall {
            reference: Reference::for_resource("nla://{database}/{schema}/{table}"),
            argument: ArgumentInfo::new(argument, typed),
            filled: json!({"database": "shop"}).as_object().unwrap().clone(),
            context: context(),
        };
        let found = bench.handler.complete(&admitted().await, asked).await.unwrap();
        assert_eq!(found.values, expected, "{argument} {typed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_without_a_good_token_are_turned_away() {
    let bench = Bench::start(DatabaseLimits::default()).await;
    let good = bench.token.expose();
    let stranger = nla_domain::token::TokenText::generate().unwrap();
    let malformed = good[..good.len() - 1].to_owned();
    let cases = [
        (String::new(), r#"Bearer realm="nla""#),
        ("Basic abc".to_owned(), r#"Bearer realm="nla""#),
        ("Bearer".to_owned(), "invalid_token"),
        (format!("Bearer {malformed}"), "invalid_token"),
        (format!("Bearer {}", stranger.expose()), "invalid_token"),
    ];
    for (authorization, challenge) in cases {
        let refused = bench.handler.admit(&parts(&authorization)).await.unwrap_err();
        assert_eq!(refused.status, 401);
        let header = refused.headers["www-authenticate"].to_str().unwrap();
        assert!(header.contains(challenge), "{header}");
        assert_eq!(header.contains("error="), challenge == "invalid_token", "{header}");
    }
    assert_eq!(bench.audit.waiting(), 5);
    for _ in 0..100 {
        let _ = bench.handler.admit(&parts("")).await.unwrap_err();
    }
    assert_eq!(bench.audit.waiting(), 10, "a flood is counted, not recorded one by one");
    assert!(bench.handler.admit(&parts(&format!("bearer {good}"))).await.is_ok());
}
