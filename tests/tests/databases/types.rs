//! Every type, exactly as PostgreSQL writes it: what the edge answers is
//! compared with what an independent session of the same server reads.

use nla_proto::v1;
use serde_json::{Value, json};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::bench::{Bench, ask};

/// In a schema of its own that the reader may use.
const OWN_TYPES: &str = "
    CREATE SCHEMA kinds; GRANT USAGE ON SCHEMA kinds TO nla_reader; ALTER DEFAULT PRIVILEGES IN SCHEMA kinds GRANT SELECT ON TABLES TO nla_reader; SET search_path = kinds;
    CREATE TYPE mood AS ENUM ('sad', 'so-so', 'very glad', 'ünïcode');
    CREATE TYPE pair AS (a int, b text, c numeric[]);
    CREATE TYPE nested AS (p pair, m mood, x jsonb);
    CREATE DOMAIN small AS int CHECK (value < 100);
    CREATE DOMAIN smaller AS small CHECK (value < 10);
    CREATE DOMAIN exact AS numeric(30, 10);
    CREATE DOMAIN code AS text CHECK (value ~ '^[A-Z]+$');
    CREATE DOMAIN pairs AS pair[];
    CREATE TYPE span AS RANGE (subtype = float8);
    CREATE TABLE everything (id int, c char(5), v varchar(5), n name, i \"char\", big numeric, m mood, t timestamptz);
    INSERT INTO everything VALUES (1, 'a', 'a ', 'a', 'a', 1e40, 'sad', now());";

/// One on each line.
const EXPRESSIONS: &str = include_str!("types.sql");

/// Extensions and their types.
const EXTENSIONS: [(&str, &[&str]); 9] = [
    ("citext", &["'MiXed'::kinds.citext", "ARRAY['A', NULL]::kinds.citext[]"]),
    ("hstore", &["'a=>1, \"b c\"=>NULL, d=>\"q\\\"q\"'::kinds.hstore"]),
    (
        "ltree",
        &["'Top.Science.Astronomy'::kinds.ltree", "'*.Astronomy.*'::kinds.lquery", "'Europe & Asia'::kinds.ltxtquery"],
    ),
    ("cube", &["'(1,2,3),(4.5,5,6)'::kinds.cube", "'0.1'::kinds.cube"]),
    ("isn", &["'978-0-393-04002-9'::kinds.isbn13", "'0-393-04002-X'::kinds.isbn"]),
    ("seg", &["'6.25 .. 6.50'::kinds.seg", "'<5'::kinds.seg"]),
    ("intarray", &["'1&(2|3)'::kinds.query_int"]),
    ("pg_trgm", &["kinds.similarity('word', 'two words')"]),
    ("uuid-ossp", &["kinds.uuid_nil()", "kinds.uuid_ns_dns()"]),
];

/// The columns as the text form holds them, of its first row.
fn cells(result: &Value) -> Vec<Option<String>> {
    let text = result["content"][0]["text"].as_str().unwrap();
    let row = text.lines().nth(1).unwrap_or_else(|| panic!("no row: {text}"));
    row.split('\t').map(unescaped).collect()
}

fn unescaped(cell: &str) -> Option<String> {
    if cell == "\\N" {
        return None;
    }
    let (mut out, mut rest) = (String::new(), cell.chars());
    while let Some(next) = rest.next() {
        match (next, next == '\\') {
            (_, true) => match rest.next() {
                Some('t') => out.push('\t'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('\\') => out.push('\\'),
                other => panic!("unknown escape {other:?} in {cell}"),
            },
            (plain, false) => out.push(plain),
        }
    }
    Some(out)
}

/// What the value must be in JSON, by the text that PostgreSQL writes.
fn fits(json: &Value, text: Option<&str>, type_name: &str) -> bool {
    let Some(text) = text else { return json.is_null() };
    match (json, type_name) {
        (Value::String(json), "json" | "jsonb") => {
            serde_json::from_str::<Value>(text).is_ok_and(|value| value == json.as_str()) || json == text
        }
        (json, "json" | "jsonb") => serde_json::from_str::<Value>(text).is_ok_and(|value| value == *json),
        (Value::Bool(json), "bool") => text == if *json { "t" } else { "f" },
        (Value::Number(json), _) => match json.as_i64() {
            Some(whole) if !json.is_f64() => text == whole.to_string() && whole.unsigned_abs() < 1 << 53,
            // Read back, it is the same number, sign of zero included.
            _ => {
                let (json, text) = (json.as_f64().unwrap(), text.parse::<f64>().unwrap());
                json.to_bits() == text.to_bits()
            }
        },
        (Value::String(json), _) => json == text,
        _ => false,
    }
}

/// As another session of the same server sees it: the value's own text form.
async fn independent(admin: &Client, sql: &str) -> Result<Vec<Option<String>>, tokio_postgres::Error> {
    let answer = admin.simple_query(sql).await?;
    Ok(answer
        .iter()
        .find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
            _ => None,
        })
        .unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_exact() {
    let bench = Bench::start().await;
    bench.admin.batch_execute(OWN_TYPES).await.unwrap();
    let lines = EXPRESSIONS.lines().filter(|line| !line.is_empty() && !line.starts_with("--"));
    let mut expressions: Vec<&str> = lines.collect();
    let mut missing = Vec::new();
    for (extension, examples) in EXTENSIONS {
        // Without PostgreSQL's contrib package they are not there.
        match bench.admin.batch_execute(&format!("CREATE EXTENSION \"{extension}\" SCHEMA kinds")).await {
            Ok(()) => expressions.extend(examples),
            Err(error) => missing.push(format!("{extension}: {error}")),
        }
    }
    assert!(missing.is_empty() || missing.len() == EXTENSIONS.len(), "{missing:?}");
    bench.admin.batch_execute("RESET search_path").await.unwrap();
    // None of these may change an answer.
    bench
        .admin
        .batch_execute(
            "ALTER ROLE nla_reader SET DateStyle = 'SQL, DMY'; ALTER ROLE nla_reader SET IntervalStyle = 'iso_8601';
             ALTER ROLE nla_reader SET extra_float_digits = -10; ALTER ROLE nla_reader SET bytea_output = 'escape';
             ALTER ROLE nla_reader SET TimeZone = 'Asia/Tokyo'; ALTER ROLE nla_reader SET standard_conforming_strings = off;
             ALTER ROLE nla_reader SET xmlbinary = 'hex'; ALTER ROLE nla_reader SET client_encoding = 'LATIN1';
             ALTER ROLE nla_reader SET lc_monetary = 'C'; ALTER ROLE nla_reader SET default_transaction_isolation = 'serializable'",
        )
        .await
        .unwrap();
    let client = bench.define(&[bench.case("exact", |_| ())]).await;
    let mut wrong = Vec::new();
    for expression in &expressions {
        let sql = format!("SELECT {expression} AS v, ({expression}) IS NULL AS n");
        let expected = match independent(&bench.admin, &sql).await {
            Ok(expected) => expected,
            Err(error) => panic!("{expression}: {:?}", error.as_db_error()),
        };
        let result = ask(&client, "exact", &sql).await;
        if result["isError"] == json!(true) {
            wrong.push(format!("{expression}: {}", result["content"][0]["text"]));
            continue;
        }
        let content = &result["structuredContent"];
        let type_name = content["columns"][0]["type"].as_str().unwrap();
        let json = &content["rows"][0][0];
        if cells(&result) != expected || !fits(json, expected[0].as_deref(), type_name) {
            wrong.push(format!("{expression} ({type_name}): {expected:?}, but {json} and {:?}", cells(&result)));
        }
    }
    println!("{} expressions, {} extensions missing", expressions.len(), missing.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shapes_of_answers() {
    let bench = Bench::start().await;
    bench.admin.batch_execute(OWN_TYPES.split("CREATE TYPE nested").next().unwrap()).await.unwrap();
    let cases = [bench.case("shapes", |database| {
        database.limits = Some(v1::DatabaseLimits { max_rows: 5, ..Default::default() });
    })];
    let client = bench.define(&cases).await;
    let column = |name: &str, type_name: &str| json!({ "name": name, "type": type_name });
    let table = [
        ("SELECT", json!([]), json!([[]])),
        ("SELECT FROM generate_series(1, 3)", json!([]), json!([[], [], []])),
        ("SELECT WHERE false", json!([]), json!([])),
        (
            "SELECT 1 AS a, 'x' AS a, NULL AS a",
            json!([column("a", "int4"), column("a", "text"), column("a", "text")]),
            json!([[1, "x", null]]),
        ),
        (
            "SELECT 1 AS \"\u{e9} \"\"q\"\"\", '' AS \"NULL\"",
            json!([column("\u{e9} \"q\"", "int4"), column("NULL", "text")]),
            json!([[1, ""]]),
        ),
        (
            "VALUES (1, NULL), (NULL, '')",
            json!([column("column1", "int4"), column("column2", "text")]),
            json!([[1, null], [null, ""]]),
        ),
        ("SELECT 'sad'::kinds.mood AS m, ARRAY['sad']::kinds.mood[] AS n", Value::Null, json!([["sad", "{sad}"]])),
    ];
    for (sql, columns, rows) in table {
        let result = ask(&client, "shapes", sql).await;
        let content = &result["structuredContent"];
        assert_eq!(content["rows"], rows, "{sql}: {result}");
        assert!(columns.is_null() || content["columns"] == columns, "{sql}: {result}");
        assert_eq!(
            (&content["row_count"], &content["truncated"]),
            (&json!(rows.as_array().unwrap().len()), &json!(false))
        );
    }
    let wide = (1..=1_600).map(|n| format!("{n} AS c{n}")).collect::<Vec<_>>().join(",");
    let result = ask(&client, "shapes", &format!("SELECT {wide}")).await;
    assert_eq!(result["structuredContent"]["rows"][0][1_599], json!(1_600), "the most columns that there can be");
}
