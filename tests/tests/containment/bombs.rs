//! Statements made to exhaust the server: each ends by its time limit or by an
//! error, the next call is answered, and nothing of it stays on the server.

use std::time::{Duration, Instant};

use serde_json::json;

use super::bench::{Bench, ENDLESS, GRACE, beside_others, error, limits, result, rows};

const TIMEOUT: Duration = Duration::from_millis(500);

/// Those that must not be answered at all, whatever the machine.
const HOPELESS: [&str; 14] = [
    ENDLESS,
    "SELECT max(n) FROM generate_series(1, 100000000000) n",
    "SELECT (SELECT count(*) FROM generate_series(1, 3000000000) m WHERE m > n) FROM generate_series(1, 3) n",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION SELECT n + 1 FROM t) SELECT count(*) FROM t",
    "WITH RECURSIVE t(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM t) SELECT max(length(s)) FROM t",
    "SELECT count(*) FROM (SELECT md5(n::text) m FROM generate_series(1, 100000000) n ORDER BY 1) s",
    "SELECT count(DISTINCT md5(n::text)) FROM generate_series(1, 100000000) n",
    "SELECT length(string_agg(repeat('x', 100000), '')) FROM generate_series(1, 1000000)",
    "SELECT cardinality(array_agg(n)) FROM generate_series(1, 2000000000) n",
    "SELECT jsonb_agg(jsonb_build_object('n', n, 'm', md5(n::text))) FROM generate_series(1, 100000000) n",
    "SELECT repeat(repeat('x', 100000), 100000)",
    "SELECT lpad('x', 2000000000, 'y')",
    "SELECT repeat('[', 10000000)::json",
];

/// Those that PostgreSQL may be quick enough for.
const HEAVY: [&str; 10] = [
    "SELECT repeat('a', 5000) ~ '^(a+)+b$'",
    "SELECT repeat('a', 2000) ~ '^(a*)*\\1$'",
    "SELECT repeat('ab', 3000) ~ '(.*)(.*)(.*)(.*)\\1\\2\\3\\4x$'",
    "SELECT regexp_replace(repeat('a', 20000), '(a*)*b', 'x', 'g')",
    "SELECT repeat('a', 20000) SIMILAR TO '(a|aa)+b'",
    "SELECT repeat('a', 3000) LIKE repeat('%a', 500) || '%b'",
    "SELECT array_fill(0, ARRAY[20000000])",
    "SELECT length(array_fill('x'::text, ARRAY[3000000])::text)",
    "SELECT 9.99::numeric ^ 99999, factorial(30000)",
    "SELECT to_tsvector(repeat('a b c d e f g ', 100000)) @@ to_tsquery('a & g')",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_end_and_leave_nothing() {
    let _turn = beside_others().await;
    let bench = Bench::start().await;
    bench.database("brief", limits(TIMEOUT)).await;
    let (_, client) = bench.token("brief").await;
    rows(&client, "SELECT 1").await;

    let hopeless = HOPELESS.iter().map(|sql| (*sql, true));
    let heavy = HEAVY.iter().map(|sql| (*sql, false));
    for (sql, hopeless) in hopeless.chain(heavy) {
        let began = Instant::now();
        let result = result(&client, sql).await;
        let took = began.elapsed();
        let error = error(&result);
        println!("{:6.0} ms {} {}: {sql}", took.as_secs_f64() * 1_000.0, error["code"], error["sqlstate"]);
        assert!(took < TIMEOUT + GRACE, "{sql}: {took:?}");
        assert!(!hopeless || result["isError"] == json!(true), "{sql}: {result}");
        if result["isError"] == json!(true) {
            // The time limit, a limit of PostgreSQL (54...: program limit, 53...: resources), or a refusal.
            let code = error["code"].as_str().unwrap();
            let sqlstate = error["sqlstate"].as_str().unwrap_or_default();
            let expected = ["timed_out", "statement_refused"].contains(&code)
                || ["54", "53", "22"].contains(&sqlstate.get(..2).unwrap_or_default());
            assert!(expected, "{sql}: {error}");
        }
        bench.until_running(0).await;
        assert_eq!(rows(&client, "SELECT 41 + 1").await, json!([[42]]), "after {sql}");
    }
    // Those whose files are being removed are gone in a moment.
    nla_sandbox::system::wait_for("the end of temporary files", || async {
        bench.count("SELECT count(*) FROM pg_ls_tmpdir()").await == 0
    })
    .await
    .unwrap();
    assert!(bench.sessions().await <= 4, "more sessions than the pool has");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_no_way_to_run_them() {
    let _turn = beside_others().await;
    let bench = Bench::start().await;
    bench.database("brief", limits(TIMEOUT)).await;
    let (_, client) = bench.token("brief").await;
    // Planning computes constants.
    for sql in [
        "SELECT repeat(repeat('x', 10000), 10000)",
        "SELECT * FROM shop.orders WHERE repeat('a', 20000) ~ '^(a+)+b$'",
        "SELECT lpad('x', 500000000, 'y')",
    ] {
        let began = Instant::now();
        for analyze in [false, true] {
            let arguments = json!({ "sql": sql, "analyze": analyze });
            let result = client.call("explain_query", arguments).await.unwrap();
            assert!(result.to_string().len() < 1 << 20, "{sql}");
        }
        assert!(began.elapsed() < 2 * (TIMEOUT + GRACE), "{sql}: {:?}", began.elapsed());
        bench.until_running(0).await;
    }
    assert_eq!(rows(&client, "SELECT 41 + 1").await, json!([[42]]));
}
