//! Deep, long and strange texts: an answer in bounded time, no stack overflow,
//! and what people and models really write passes.
#![expect(clippy::print_stderr, reason = "GUARD_TIMES=1 shows the times")]

use std::fmt::Write;
use std::time::{Duration, Instant};

use nla_guard::{HARD_MAX_SQL_BYTES, Rules, check, explain};

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

/// Prefix, opener, core, closer, suffix: nested `n` times.
const NESTED: &[(&str, &str, &str, &str, &str, &str)] = &[
    ("parentheses", "SELECT ", "(", "1", ")", ""),
    ("sub-selects", "", "SELECT (", "SELECT 1", ")", ""),
    ("sub-selects in FROM", "", "SELECT * FROM (", "SELECT 1", ")", ""),
    ("calls", "SELECT ", "abs(", "1", ")", ""),
    ("functional casts", "SELECT ", "cast(", "1", " as int)", ""),
    ("casts", "SELECT 1", "", "", "::int", ""),
    ("unary minus", "SELECT ", "- ", "1", "", ""),
    ("unary minus without blanks", "SELECT ", "-", "1", "", ""),
    ("unary plus", "SELECT ", "+", "1", "", ""),
    ("NOT", "SELECT ", "NOT ", "true", "", ""),
    ("additions", "SELECT 1", "", "", "+1", ""),
    ("concatenations", "SELECT 'a'", "", "", "||'a'", ""),
    ("AND", "SELECT true", "", "", " AND true", ""),
    ("comparisons", "SELECT 1", "", "", " IS NULL", ""),
    ("COLLATE", "SELECT 'a'", "", "", " COLLATE x", ""),
    ("AT TIME ZONE", "SELECT now()", "", "", " AT TIME ZONE 'x'", ""),
    ("CASE", "SELECT ", "CASE WHEN true THEN ", "1", " END", ""),
    ("CASE ELSE", "SELECT ", "CASE WHEN true THEN 1 ELSE ", "1", " END", ""),
    ("CASE arms", "SELECT CASE", "", "", " WHEN true THEN 1", " END"),
    ("UNION", "SELECT 1", "", "", " UNION SELECT 1", ""),
    ("UNION to the right", "", "(SELECT 1 UNION ", "SELECT 1", ")", ""),
    ("joins", "SELECT * FROM a", "", "", " NATURAL JOIN a", ""),
    ("joins in parentheses", "SELECT * FROM ", "(a NATURAL JOIN ", "a", ")", ""),
    ("WITH", "", "WITH a AS (", "SELECT 1", ") SELECT 1", ""),
    ("arrays", "SELECT ARRAY", "[", "1", "]", ""),
    ("subscripts", "SELECT a", "", "", "[1]", ""),
    ("subscripts inside", "SELECT ", "a[", "1", "]", ""),
    ("attributes", "SELECT (a)", "", "", ".b", ""),
    ("rows", "SELECT ", "ROW(", "1", ")", ""),
    ("nested comments", "SELECT ", "/* ", "", " */", "1"),
    ("nested comments without blanks", "SELECT ", "/*", "", "*/", "1"),
    ("comments", "SELECT ", "", "", "/* x */", "1"),
    ("comments without blanks", "SELECT ", "", "", "/**/", "1"),
    ("line comments", "SELECT 1", "", "", "--\n", ""),
    ("dashes", "SELECT 1", "", "", "-- ", ""),
    ("pluses", "SELECT 1 ", "", "", "+", " 1"),
    ("strange operators", "SELECT 1 ", "", "", "@-", " 1"),
    ("quotes", "SELECT '", "", "", "''", "'"),
    ("continued literals", "SELECT 'a'", "", "", "\n'a'", ""),
    ("literals", "SELECT 'a'", "", "", " 'a'", ""),
    ("dollars", "SELECT $a$", "", "", "$b", "$a$"),
    ("dollars open", "SELECT ", "", "", "$a", ""),
    ("backslashes", "SELECT E'", "", "", "\\\\", "'"),
    ("unicode escapes", "SELECT U&'", "", "", "\\0061", "'"),
    ("semicolons", "SELECT 1", "", "", ";", ""),
    ("statements", "SELECT 1", "", "", ";SELECT 1", ""),
    ("list", "SELECT 1", "", "", ",1", ""),
    ("IN list", "SELECT 1 IN (1", "", "", ",1", ")"),
    ("VALUES", "VALUES (1)", "", "", ",(1)", ""),
    ("tables", "SELECT * FROM a", "", "", ",a", ""),
    ("columns", "SELECT a", "", "", ".a", ""),
    ("digits", "SELECT 1", "", "", "1", ""),
    ("identifier", "SELECT a", "", "", "a", ""),
    ("blanks", "SELECT 1", "", "", " ", ""),
    ("open brackets", "SELECT ", "([", "", "", ""),
    ("JSON constructors", "SELECT ", "JSON_ARRAY(", "1", ")", ""),
    ("EXPLAIN", "", "EXPLAIN ", "SELECT 1", "", ""),
    (
        "multi-column SET",
        "EXPLAIN UPDATE t SET ",
        "(a,b)=(SELECT (WITH x AS (UPDATE t SET ",
        "a=1",
        " RETURNING 1) SELECT 1),1)",
        "",
    ),
    ("wide multi-column SET", "UPDATE t SET (a", "", "", ",a", ")=(SELECT 1)"),
    ("grouping sets", "SELECT 1 GROUP BY ", "GROUPING SETS (", "a", ")", ""),
    ("type modifiers", "SELECT 1::", "a(1::", "a", ")", ""),
    ("array bounds", "SELECT a::int", "", "", "[]", ""),
];

fn nested(n: usize, case: &(&str, &str, &str, &str, &str, &str)) -> String {
    let (_, prefix, open, core, close, suffix) = case;
    format!("{prefix}{}{core}{}{suffix}", open.repeat(n), close.repeat(n))
}

#[test]
fn a_hundred_thousand_of_anything_is_refused_at_once() {
    for case in NESTED {
        let sql = nested(100_000, case);
        assert_eq!(timed(case.0, &sql, &Rules::default()), Err("guard.text.size".into()));
    }
}

/// The worst that fits: as many as the size limit admits, and as many as the
/// other limits admit just so.
#[test]
fn whatever_fits_the_size_limit_is_answered_in_bounded_time() {
    for limit in [Rules::default().max_sql_bytes, HARD_MAX_SQL_BYTES] {
        let rules = Rules { max_sql_bytes: limit, server_major: 18, ..Rules::default() };
        for case in NESTED {
            let each = nested(1, case).len() - nested(0, case).len();
            let most = (limit - nested(0, case).len()) / each;
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
