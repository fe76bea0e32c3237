//! A query through each edge: the right rows in both forms, and its event.

use nla_proto::v1;
use nla_sandbox::system::Sandbox;
use serde_json::json;

use super::calls::{event, events, query, request_id, text, token};

const ORDERS: &str = "SELECT t.slug, count(*) AS orders FROM shop.orders o \
                      JOIN shop.tenants t ON t.id = o.tenant_id GROUP BY 1 ORDER BY 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_edge_answers_and_each_answer_is_recorded() {
    let sandbox = Sandbox::start().await.unwrap();
    let (id, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    for edge in 0..2 {
        let client = sandbox.client(edge, &secret).unwrap();
        let answer = query(&client, ORDERS).await;
        assert_eq!(answer.status, 200);
        let result = &answer.body["result"];
        assert_eq!(result["structuredContent"]["rows"], json!([["alder-oak", 7_500], ["bluefin", 7_500]]), "{result}");
        assert_eq!(text(result), "slug\torders\nalder-oak\t7500\nbluefin\t7500\n-- 2 rows");

        let mut event = event(&sandbox, &request_id(&answer)).await;
        event.relations.sort();
        assert_eq!(event.relations, ["shop.orders", "shop.tenants"]);
        assert_eq!(event.edge, sandbox.edges[edge].id());
        let facts = [event.token, event.owner, event.role, event.database, event.action, event.client_address];
        assert_eq!(facts, [&id, "tests@example.com", "analyst", "shop", "query_database", "127.0.0.1"]);
        assert!(event.client_name.starts_with("nla-sandbox"), "{}", event.client_name);
        assert_eq!(event.outcome, i32::from(v1::Outcome::Succeeded));
        assert_eq!((event.rows, event.truncated, event.reason.as_str()), (2, false, ""));
        assert!(event.bytes > 0 && event.duration.is_some() && event.database_duration.is_some());
        let sql = event.sql.unwrap();
        assert_eq!((sql.form, sql.text.as_str()), (i32::from(v1::SqlAudit::Full), ORDERS));
    }
    assert_eq!(events(&sandbox, &id).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_unambiguous_in_both_forms() {
    let sandbox = Sandbox::with_edges(1).await.unwrap();
    let (_, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    let client = sandbox.client(0, &secret).unwrap();
    let cases = [
        (
            r"SELECT NULL::text AS n, ''::text AS e, E'a\tb\nc\\d' AS t, '\N' AS looks_null",
            json!([[null, "", "a\tb\nc\\d", "\\N"]]),
            "n\te\tt\tlooks_null\n\\N\t\ta\\tb\\nc\\\\d\t\\\\N\n-- 1 row",
        ),
        (
            "SELECT true AS bool, 9007199254740993::int8, 1.10::numeric, '{\"a\":[1,null]}'::jsonb, 'NaN'::float8, ARRAY['x','y z']",
            json!([[true, "9007199254740993", "1.10", { "a": [1, null] }, "NaN", "{x,\"y z\"}"]]),
            "bool\tint8\tnumeric\tjsonb\tfloat8\tarray\nt\t9007199254740993\t1.10\t{\"a\": [1, null]}\tNaN\t{x,\"y z\"}\n-- 1 row",
        ),
        (
            "SELECT note FROM shop.customers WHERE id IN (1, 40, 41) ORDER BY id",
            json!([[null], ["Called on Monday.\nWants delivery after 17:00.\tRing twice."], [""]]),
            "note\n\\N\nCalled on Monday.\\nWants delivery after 17:00.\\tRing twice.\n\n-- 3 rows",
        ),
        ("SELECT 1 AS one WHERE false", json!([]), "one\n-- 0 rows"),
    ];
    for (sql, rows, shown) in cases {
        let result = query(&client, sql).await.body["result"].clone();
        assert_eq!(result["structuredContent"]["rows"], rows, "{sql}: {result}");
        assert_eq!(text(&result), shown, "{sql}");
    }
}
