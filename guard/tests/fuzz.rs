//! Properties over arbitrary and mutated text: no panic, no refusal of the
//! guard's own making, and what passes passes again with the same facts.
#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use nla_guard::{ExplainOptions, Parser, ParserConfig, Rule, Rules, StatementKind};
use proptest::prelude::*;
use std::sync::LazyLock;

static PARSER: LazyLock<Parser> = LazyLock::new(|| Parser::start(ParserConfig::default()).unwrap());

fn corpus() -> Vec<&'static str> {
    [include_str!("corpus/harmless.sql"), include_str!("corpus/hostile.sql")]
        .into_iter()
        .flat_map(|text| text.split("\n\n").skip(1))
        .collect()
}

fn holds(sql: &str) -> Result<(), TestCaseError> {
    let rules = Rules { server_major: 18, allow_explain_analyze: true, ..Rules::default() };
    match PARSER.check(sql, &rules).unwrap() {
        Ok(checked) => {
            let again = PARSER.check(checked.sql(), &rules).unwrap();
            prop_assert_eq!(again.as_ref(), Ok(&checked));
            if checked.kind() == StatementKind::Rows {
                let explained =
                    checked.explained(ExplainOptions { analyze: true, ..ExplainOptions::default() }).unwrap();
                let judged = PARSER.check(explained.sql(), &rules).unwrap().unwrap();
                prop_assert_eq!(judged.kind(), StatementKind::Explain);
                prop_assert!(judged.is_analyze());
                prop_assert_eq!(judged.relations(), checked.relations());
                prop_assert_eq!(judged.functions(), checked.functions());
            }
        }
        Err(refusal) => {
            prop_assert_ne!(refusal.rule, Rule::Internal, "{} in {}", refusal, sql);
            prop_assert!(refusal.position.is_none_or(|position| sql.is_char_boundary(position.byte)));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text(sql in any::<String>()) {
        holds(&sql)?;
    }

    #[test]
    fn arbitrary_tokens(words in prop::collection::vec(prop::sample::select(TOKENS), 1..40)) {
        holds(&words.join(" "))?;
    }

    #[test]
    fn mutated_corpus(first in prop::sample::select(corpus()), second in prop::sample::select(corpus()), at in any::<prop::sample::Index>(), from in any::<prop::sample::Index>(), len in 0usize..12) {
        let first: Vec<char> = first.chars().collect();
        let second: Vec<char> = second.chars().collect();
        let at = at.index(first.len() + 1);
        let from = from.index(second.len() + 1);
        let cut = (at + len).min(first.len());
        let taken = (from + 2 * len).min(second.len());
        let mixed: String = first[..at].iter().chain(&second[from..taken]).chain(&first[cut..]).collect();
        holds(&mixed)?;
    }
}

const TOKENS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "(",
    ")",
    ",",
    "t",
    "a",
    ".",
    "*",
    "1",
    "'x'",
    "AS",
    "JOIN",
    "ON",
    "USING",
    "UNION",
    "ALL",
    "WITH",
    "RECURSIVE",
    "VALUES",
    "TABLE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "::",
    "int",
    "text",
    "[",
    "]",
    "+",
    "-",
    "||",
    "->>",
    "?",
    "NOT",
    "NULL",
    "IS",
    "IN",
    "EXISTS",
    "ARRAY",
    "ROW",
    "lower",
    "set_config",
    "pg_authid",
    "EXPLAIN",
    "ANALYZE",
    "SHOW",
    "ORDER",
    "BY",
    "GROUP",
    "HAVING",
    "LIMIT",
    "OVER",
    "PARTITION",
    "FILTER",
    "LATERAL",
    "UPDATE",
    "SET",
    "DELETE",
    "INSERT",
    "INTO",
    ";",
    "--\n",
    "/* */",
    "$$",
    "E'\\''",
    "U&\"\\0061\"",
    "JSON_VALUE",
    "JSON_ARRAY",
    "RETURNING",
    "COLLATE",
    "\"C\"",
    "BETWEEN",
    "AND",
    "LIKE",
    "ANY",
    "FOR",
    "DISTINCT",
    "GROUPING",
    "SETS",
    "=",
    "<",
    "interval",
    "date",
];

#[test]
fn explain_builds_one_statement() {
    let rules = Rules::default();
    let explain = |sql: &str, options| nla_guard::explain(sql, &rules, options);
    let plan = ExplainOptions::default();
    assert_eq!(explain("select 1; -- x", plan).unwrap().sql(), "EXPLAIN (FORMAT TEXT) select 1");
    assert_eq!(explain("delete from t", plan).unwrap().sql(), "EXPLAIN (FORMAT TEXT) delete from t");
    let json = ExplainOptions { format: nla_guard::ExplainFormat::Json, verbose: true, buffers: true, ..plan };
    assert_eq!(explain("(select 1)", json).unwrap().sql(), "EXPLAIN (FORMAT JSON, VERBOSE) (select 1)");
    let analyze = ExplainOptions { analyze: true, ..plan };
    assert_eq!(explain("select 1", analyze).unwrap_err().rule, Rule::ExplainAnalyze);
    for sql in [
        "explain select 1",
        "explain analyze select 1",
        "show work_mem",
        "create table x as select 1",
        "execute p",
        "vacuum",
    ] {
        assert_eq!(explain(sql, plan).unwrap_err().rule, Rule::ExplainStatement, "{sql}");
    }
    for sql in ["select 1; drop table t", "select set_config('a','b',true)", "select 1 into x", "select 1) select (2"] {
        assert!(explain(sql, plan).is_err(), "{sql}");
    }
    let running = Rules { allow_explain_analyze: true, ..Rules::default() };
    assert!(nla_guard::explain("select 1", &running, analyze).unwrap().is_analyze());
    assert_eq!(nla_guard::explain("delete from t", &running, analyze).unwrap_err().rule, Rule::StatementDelete);
    assert_eq!(
        nla_guard::explain("with x as (delete from t returning 1) table x", &running, analyze).unwrap_err().rule,
        Rule::StatementDelete
    );
    assert_eq!(
        nla_guard::check("select 1", &rules).unwrap().explained(analyze).unwrap_err().rule,
        Rule::ExplainAnalyze
    );
    assert_eq!(
        nla_guard::check("show work_mem", &rules).unwrap().explained(plan).unwrap_err().rule,
        Rule::ExplainStatement
    );
}
