//! Deep, long and strange texts: an answer in bounded time, no stack overflow,
//! and what people and models really write passes.
#![expect(clippy::print_stderr, reason = "GUARD_TIMES=1 shows the times")]

use std::fmt::Write;
use std::time::{Duration, Instant};

use nla_guard::{HARD_MAX_SQL_BYTES, Rules, check, explain};

use constructs::{NESTED, most, nested};

mod constructs;

/// Far above what is measured (tens of milliseconds at worst), far below what a
/// quadratic or exponential text would take, also on a busy machine.
const BOUND: Duration = Duration::from_secs(5);

fn timed(name: &str, sql: &str, rules: &Rules) -> Result<(), String> {
    let start = Instant::now();
    let verdict = check(sql, rules).map(drop).map_err(|refusal| refusal.code().to_owned());
    let taken = start.elapsed();
    if std::env::var_os("GUARD_TIMES").is_some() {
        eprintln!("{name:32} {:>7} bytes {:>9.3} ms {verdict:?}", sql.len(), taken.as_secs_f64() * 1e3);
    }
    assert!(taken < BOUND, "{name}: {taken:?}");
    verdict
}

#[test]
fn a_hundred_thousand_of_anything_is_refused_at_once() {
    for case in NESTED {
        let sql = nested(100_000, case);
        assert_eq!(timed(case.0, &sql, &Rules::default()), Err("guard.text.size".into()));
    }
}

/// Constructs that are no SQL, or no longer when they stand twice.
const NO_SQL: &[&str] = &[
    "literals",
    "dollars open",
    "open brackets",
    "EXPLAIN",
    "BETWEEN",
    "IS DISTINCT FROM",
    "LIKE",
    "SIMILAR TO",
    "comparisons chained",
    "dollar tags",
    "comments that never end",
];

#[test]
fn the_constructs_are_sql() {
    let rules = Rules { server_major: 18, ..Rules::default() };
    let mut wrong = Vec::new();
    for case in NESTED {
        let syntax = timed(case.0, &nested(2, case), &rules) == Err("guard.text.syntax".into());
        if syntax != NO_SQL.contains(&case.0) {
            wrong.push(nested(2, case));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The worst that fits: as many as the size limit admits, and as many as the
/// other limits admit just so.
#[test]
fn whatever_fits_the_size_limit_is_answered_in_bounded_time() {
    for limit in [Rules::default().max_sql_bytes, HARD_MAX_SQL_BYTES] {
        let rules = Rules { max_sql_bytes: limit, server_major: 18, ..Rules::default() };
        for case in NESTED {
            let most = most(limit, case);
            for n in [most, most.min(4000), most.min(1200), most.min(250)] {
                let _ = timed(case.0, &nested(n, case), &rules);
            }
        }
    }
}

#[test]
fn long_queries_of_the_usual_kind_pass() {
    let rules = Rules::default();
    let mut joins = String::from("SELECT * FROM t0");
    for i in 1..=200 {
        write!(joins, " JOIN t{i} ON t{i}.id = t0.id").unwrap();
    }
    let repeat = |first: &str, more: &str, n: usize| format!("{first}{}", more.repeat(n));
    let mut subselects = String::from("SELECT 1 AS x");
    for i in 0..30 {
        subselects = format!("SELECT x FROM ({subselects}) s{i} WHERE x IN (SELECT x FROM t)");
    }
    let ctes: Vec<String> = (0..100).map(|i| format!("c{i} AS (SELECT {i} AS n)")).collect();
    let cases = [
        ("joins", joins),
        ("AND", repeat("SELECT 1 WHERE a = 1", " AND a = 1", 300)),
        ("OR", repeat("SELECT 1 WHERE a = 1", " OR b = 'x'", 300)),
        ("concatenations", repeat("SELECT a", " || a", 300)),
        ("additions", repeat("SELECT 1", " + 1", 300)),
        ("UNION", repeat("SELECT 1", " UNION ALL SELECT 1", 100)),
        ("sub-selects", subselects),
        ("CASE arms", format!("{} END", repeat("SELECT CASE", " WHEN a = 1 THEN 2", 300))),
        ("IN list", format!("SELECT 1 WHERE a IN ({}1)", "12345, ".repeat(3000))),
        ("VALUES", format!("VALUES {}(1, 'a')", "(1, 'a'), ".repeat(1000))),
        ("WITH", format!("WITH {} SELECT * FROM c99", ctes.join(", "))),
        ("columns", format!("SELECT {} a FROM t", "column_name_of_some_length, ".repeat(1000))),
    ];
    for (name, sql) in cases {
        assert_eq!(timed(name, &sql, &rules), Ok(()), "{name}");
    }
}

#[test]
fn explained_text_is_bounded_as_well() {
    for case in NESTED {
        let sql = nested(2000, case);
        let start = Instant::now();
        let _ = explain(&sql, &Rules::default(), nla_guard::ExplainOptions::default());
        assert!(start.elapsed() < BOUND, "{}", case.0);
    }
}
