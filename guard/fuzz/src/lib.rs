//! What must hold for every text that the guard is given: it answers in time and
//! never fails, what it accepts is accepted again as the same, and no function
//! that it refuses is called by what it accepts. `main` calls it for each text
//! that libFuzzer makes.
//! Invariant: a property that does not hold panics with the text.

mod calls;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use nla_guard::{Catalog, CheckedSql, ExplainOptions, Parser, ParserConfig, Refusal, Rule, Rules, StatementKind};
use rustix::time::{ClockId, clock_gettime};

/// A verdict takes a millisecond, thirty at worst.
const BOUND: Duration = Duration::from_secs(2);

/// A thread of its own for each text would be half of the time.
static PARSER: LazyLock<Parser> =
    LazyLock::new(|| Parser::start(ParserConfig { threads: 1, queue: 4 }).expect("a thread can be started"));

/// What a database holds whose own functions, casts, domains, views and policies
/// write; `guard/tools/dump-facts.sh` makes it.
static FACTS: &[u8] = include_bytes!("../facts.json");

/// The strictest rules of the oldest server, the widest of the newest, and those
/// for a database that the guard knows.
static RULES: LazyLock<[Rules; 3]> = LazyLock::new(|| {
    let catalog = Catalog::from_json(FACTS).expect("facts.json is stale: run guard/tools/dump-facts.sh");
    [
        Rules::default(),
        Rules { server_major: 18, allow_explain_analyze: true, max_sql_bytes: 65536, ..Rules::default() },
        Rules { catalog: Some(Arc::new(catalog)), ..Rules::default() },
    ]
});

/// Judges a text in every way.
///
/// # Panics
/// When a property does not hold.
pub fn holds(sql: &str) {
    for rules in &*RULES {
        if let Some(checked) = judged(sql, rules) {
            accepted(&checked, rules);
        }
        planned(sql, rules);
    }
}

/// The verdict, in time and with a position inside the text.
fn judged(sql: &str, rules: &Rules) -> Option<CheckedSql> {
    let start = worked();
    let verdict = PARSER.check(sql, rules).expect("one text at a time");
    in_time(sql, start);
    verdict.map_err(|refusal| refused(sql, &refusal)).ok()
}

/// What this process has computed so far: on a busy machine a text may wait for
/// seconds, and that is not its fault.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn in_time(sql: &str, start: Duration) {
    let taken = worked().saturating_sub(start);
    assert!(taken < BOUND, "{taken:?} for {sql:?}");
}

fn refused(sql: &str, refusal: &Refusal) {
    assert_ne!(refusal.rule, Rule::Internal, "{refusal} in {sql:?}");
    assert!(
        refusal.position.is_none_or(|position| sql.is_char_boundary(position.byte)),
        "{refusal:?} points beside a character of {sql:?}"
    );
}

fn accepted(checked: &CheckedSql, rules: &Rules) {
    let sql = checked.sql();
    let again = judged(sql, rules);
    assert_eq!(again.as_ref(), Some(checked), "accepted once only: {sql:?}");
    let statements = pg_query::parse(sql, 0).expect("it was parsed before").protobuf.stmts.len();
    assert_eq!(statements, 1, "{sql:?}");
    assert_eq!(calls::refused(sql, checked), None, "a refused function is called by {sql:?}");
    if checked.kind() == StatementKind::Rows {
        let options = ExplainOptions { analyze: rules.allow_explain_analyze, ..ExplainOptions::default() };
        let explained = checked.explained(options).expect("rows can be explained");
        let Some(judged) = judged(explained.sql(), rules) else {
            // The words of EXPLAIN make a text that is just short enough too long.
            assert!(explained.sql().len() > rules.max_sql_bytes, "not accepted under EXPLAIN: {sql:?}");
            return;
        };
        assert_eq!(judged.kind(), StatementKind::Explain, "{sql:?}");
        assert_eq!(judged.is_analyze(), options.analyze, "{sql:?}");
        assert_eq!(judged.relations(), checked.relations(), "{sql:?}");
        assert_eq!(judged.functions(), checked.functions(), "{sql:?}");
    }
}

/// What may be planned only: one EXPLAIN of one statement.
fn planned(sql: &str, rules: &Rules) {
    let start = worked();
    let verdict = nla_guard::explain(sql, rules, ExplainOptions::default());
    in_time(sql, start);
    match verdict {
        Ok(explained) => {
            assert_eq!(explained.kind(), StatementKind::Explain, "{sql:?}");
            assert!(!explained.is_analyze(), "{sql:?}");
            let statements = pg_query::parse(explained.sql(), 0).expect("it was parsed before").protobuf.stmts.len();
            assert_eq!(statements, 1, "{:?}", explained.sql());
        }
        Err(refusal) => refused(sql, &refusal),
    }
}
