//! Every type comes out exactly.

use nla_domain::database::DatabaseLimits;
use serde_json::{Value, json};

use super::bench::Bench;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_is_exact() {
    let bench = Bench::start(DatabaseLimits::default()).await;
    bench
        .admin
        .batch_execute(
            "CREATE TYPE public.mood AS ENUM ('sad', 'glad');
             CREATE TYPE public.pair AS (a int, b text);
             CREATE DOMAIN public.small AS int CHECK (value < 100);
             CREATE DOMAIN public.exact AS numeric(30, 10);
             -- None of these may change an answer.
             ALTER ROLE reader SET DateStyle = 'SQL, DMY';
             ALTER ROLE reader SET IntervalStyle = 'sql_standard';
             ALTER ROLE reader SET extra_float_digits = -10;
             ALTER ROLE reader SET bytea_output = 'escape';
             ALTER ROLE reader SET TimeZone = 'Asia/Tokyo';
             ALTER ROLE reader SET standard_conforming_strings = off;
             ALTER ROLE reader SET search_path = public, pg_catalog;
             CREATE FUNCTION public.upper(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'shadowed' $$;",
        )
        .await
        .unwrap();
    let cases: Vec<(&str, Value)> = vec![
        ("NULL::text", Value::Null),
        ("''", json!("")),
        ("true", json!(true)),
        ("1::int2", json!(1)),
        ("(-2147483648)::int4", json!(-2147483648_i64)),
        ("9007199254740991", json!(9007199254740991_i64)),
        ("9007199254740992", json!("9007199254740992")),
        ("9223372036854775807", json!("9223372036854775807")),
        ("4294967295::oid", json!(4294967295_u32)),
        ("0.1::float8", json!(0.1)),
        ("0.1::float8 + 0.2::float8", json!(0.1 + 0.2)),
        ("1e300::float8", json!(1e300)),
        ("5e-324::float8", json!(5e-324)),
        ("0.1::float4", json!(0.1)),
        ("'NaN'::float8", json!("NaN")),
        ("'-Infinity'::float4", json!("-Infinity")),
        ("1.10", json!("1.10")),
        ("123456789012345678901234567890.123456789", json!("123456789012345678901234567890.123456789")),
        ("'NaN'::numeric", json!("NaN")),
        ("5::public.small", json!(5)),
        ("1.5::public.exact", json!("1.5000000000")),
        ("'glad'::public.mood", json!("glad")),
        ("ROW(1, 'a b')::public.pair", json!("(1,\"a b\")")),
        ("ARRAY[1, NULL, 3]", json!("{1,NULL,3}")),
        ("'[0:1]={1,2}'::int[]", json!("[0:1]={1,2}")),
        ("ARRAY['a,b', 'c\"d']", json!("{\"a,b\",\"c\\\"d\"}")),
        ("'\\x00ff'::bytea", json!("\\x00ff")),
        ("'a\\nb'", json!("a\\nb")),
        ("E'tab\\there'", json!("tab\there")),
        ("'{\"a\": [1, 2.50]}'::jsonb", json!({"a": [1, 2.50]})),
        ("'{\"b\":1,\"b\":2}'::json", json!({"b": 2})),
        ("'null'::json", Value::Null),
        ("DATE '2026-11-23'", json!("2026-11-23")),
        ("DATE '0044-03-15 BC'", json!("0044-03-15 BC")),
        ("DATE '294276-01-01'", json!("294276-01-01")),
        ("'infinity'::timestamp", json!("infinity")),
        ("TIMESTAMP '2026-11-23 12:00:00.123456'", json!("2026-11-23 12:00:00.123456")),
        ("TIMESTAMPTZ '2026-11-23 12:00:00+09'", json!("2026-11-23 03:00:00+00")),
        ("TIME '24:00'", json!("24:00:00")),
        ("INTERVAL '1 year 2 days -3 hours'", json!("1 year 2 days -03:00:00")),
        ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
        ("'192.168.0.0/24'::cidr", json!("192.168.0.0/24")),
        ("'08:00:2b:01:02:03'::macaddr", json!("08:00:2b:01:02:03")),
        ("B'1010'", json!("1010")),
        ("int4range(1, 5)", json!("[1,5)")),
        ("'{[1,3),[5,7)}'::int4multirange", json!("{[1,3),[5,7)}")),
        ("point(1, 2)", json!("(1,2)")),
        ("'a & b'::tsquery", json!("'a' & 'b'")),
        ("'<a>é</a>'::xml", json!("<a>é</a>")),
        ("'12.34'::money::numeric", json!("12.34")),
        ("'emoji 🐘'", json!("emoji 🐘")),
        ("upper('x')", json!("X")),
    ];
    for (expression, expected) in cases {
        let answer = bench.query(&format!("SELECT {expression} AS v")).await;
        assert_eq!(answer["rows"][0][0], expected, "{expression}: {answer}");
    }

    let answer = bench.query("SELECT 1 AS a, 'x' AS a, ARRAY[1.5] AS b, 'sad'::public.mood AS m -- end").await;
    assert_eq!(
        answer["columns"],
        json!([
            {"name": "a", "type": "int4"}, {"name": "a", "type": "text"},
            {"name": "b", "type": "numeric[]"}, {"name": "m", "type": "mood"},
        ])
    );
    for (sql, rows) in [
        ("SELECT", json!([[]])),
        ("SELECT 1 WHERE false", json!([])),
        ("VALUES (1), (2)", json!([[1], [2]])),
        ("WITH t AS (SELECT 1 AS x) TABLE t", json!([[1]])),
        ("SHOW timezone", json!([["UTC"]])),
        ("SELECT 'update; drop table x' AS \"delete\" ;", json!([["update; drop table x"]])),
    ] {
        assert_eq!(bench.query(sql).await["rows"], rows, "{sql}");
    }
}
