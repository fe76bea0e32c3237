//! What PostgreSQL itself does not stop: code that never looks whether it was
//! cancelled. The edge answers in time all the same, and one token ties up no
//! more of the server than its pool has connections.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::bench::{Bench, GRACE, ask, beside_others, error, limits, result, rows};

const TIMEOUT: Duration = Duration::from_millis(500);
const POOL: i64 = 4;

/// Texts out of which libxml2 makes documents for which it needs the square of
/// their length: 13 s for 100,000 attributes, over 140 s for 200,000, and
/// neither timeout nor cancel nor terminate ends it.
const ATTRIBUTES: &str =
    "(SELECT '<a ' || string_agg('a' || g || '=\"1\"', ' ') || '/>' FROM generate_series(1, 60000) g)";
const ENTITIES: &str = "(SELECT '<!DOCTYPE a [' || string_agg('<!ENTITY e' || g || ' \"x\">', '') || ']><a/>' FROM generate_series(1, 60000) g)";
const DEFAULTS: &str = "(SELECT '<!DOCTYPE a [<!ATTLIST a ' || string_agg('b' || g || ' CDATA \"x\"', ' ') || '>]><a/>' FROM generate_series(1, 40000) g)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_text_that_was_computed_is_parsed_as_xml() {
    let _turn = beside_others().await;
    let bench = Bench::start().await;
    bench.admin.batch_execute("CREATE TYPE shop.with_xml AS (x xml); CREATE DOMAIN shop.markup AS xml").await.unwrap();
    bench.database("brief", limits(TIMEOUT)).await;
    let (_, client) = bench.token("brief").await;
    rows(&client, "SELECT 1").await;
    let ways = [
        "SELECT ({})::xml IS NULL",
        "SELECT CAST({} AS xml) IS NULL",
        "SELECT CAST(({})::varchar AS xml) IS NULL",
        "SELECT xml({}) IS NULL",
        "SELECT xmlparse(document {}) IS NULL",
        "SELECT xmlparse(content {}) IS NULL",
        "SELECT xml_is_well_formed({})",
        "SELECT xml_is_well_formed_document({})",
        "SELECT xml_is_well_formed_content({})",
        "SELECT ('{' || quote_ident({}) || '}')::xml[] IS NULL",
        "SELECT ('(' || quote_ident({}) || ')')::shop.with_xml IS NULL",
        "SELECT ({})::shop.markup IS NULL",
        "SELECT x IS NULL FROM json_to_record(json_build_object('x', {})) AS r(x xml)",
        "SELECT x IS NULL FROM jsonb_to_recordset(jsonb_build_array(jsonb_build_object('x', {}))) AS r(x xml)",
        "SELECT jsonb_populate_record(NULL::shop.with_xml, jsonb_build_object('x', {})) IS NULL",
        "SELECT xmlelement(name a, xmlattributes(1 AS b), ({})::xml) IS NULL",
    ];
    let mut found = Vec::new();
    for way in ways {
        for text in [ATTRIBUTES, ENTITIES, DEFAULTS] {
            let sql = way.replace("{}", text);
            let began = Instant::now();
            let result = result(&client, &sql).await;
            let answered = began.elapsed();
            assert!(answered < TIMEOUT + GRACE, "{sql}: {answered:?}");
            bench.until_running(0).await;
            if error(&result)["code"] != "statement_refused" && began.elapsed() > TIMEOUT + Duration::from_millis(1_500)
            {
                found.push(format!("{:.1} s: {sql}", began.elapsed().as_secs_f64()));
                break;
            }
        }
    }
    assert!(found.is_empty(), "these ran on after their time limit:\n{}", found.join("\n"));
    // What is written in the statement is short enough to be parsed at once.
    for (sql, expected) in [
        ("SELECT '<a b=\"1\"/>'::xml", "<a b=\"1\"/>"),
        ("SELECT xml '<a/>'", "<a/>"),
        ("SELECT xmlparse(document '<a>1</a>')", "<a>1</a>"),
        ("SELECT xmlelement(name a, xmlattributes(name AS b)) FROM shop.tenants WHERE id = 1", "<a b="),
    ] {
        let rows = rows(&client, sql).await;
        assert!(rows[0][0].as_str().unwrap().starts_with(expected), "{sql}: {rows}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_cancelled_stays_within_its_pool() {
    let _turn = beside_others().await;
    let bench = Bench::start().await;
    bench.database("brief", limits(TIMEOUT)).await;
    let (id, greedy) = bench.token("brief").await;
    let (_, other) = bench.token("brief").await;
    rows(&greedy, "SELECT 1").await;
    // Some seconds each, far beyond every limit: translate() compares without
    // looking up, and there are many like it.
    let long = "SELECT length(translate(repeat('x', 1500), repeat('a', 1000000), 'b'))";
    let mut most = 0;
    for _ in 0..3 {
        let mut calls = JoinSet::new();
        for _ in 0..POOL {
            let client = greedy.clone();
            calls.spawn(async move { ask(&client, long).await });
        }
        while let Some(answer) = calls.join_next().await {
            let answer = answer.unwrap();
            let error = error(&answer.body["result"]).clone();
            assert!([json!("timed_out"), json!("overloaded")].contains(&error["code"]), "{}", answer.body);
            most = most.max(bench.running().await);
        }
        assert_eq!(rows(&other, "SELECT 41 + 1").await, json!([[42]]), "another token");
    }
    println!("{most} statements of one token ran on the server at once");
    let timed_out = bench.events(&id).await.iter().filter(|event| event.reason == "timed_out").count();
    assert!(timed_out > 0);
    assert!(most <= POOL, "{most} statements of one token ran at once, and its pool has {POOL}");
    bench.until_running(0).await;
    assert_eq!(rows(&greedy, "SELECT 41 + 1").await, json!([[42]]));
}
