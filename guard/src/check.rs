//! The entrance: text + rules -> verdict. `check` may be called from anywhere;
//! `judge` is what the threads of `parser` call.
//! Invariant: no panic of the parser leaves this crate, and no parse runs on a
//! stack that the caller provided.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::checked::CheckedSql;
use crate::fingerprint;
use crate::parse::parse;
use crate::parser::STACK_BYTES;
use crate::refusal::{Refusal, Rule};
use crate::rules::Rules;
use crate::walk::{Mode, walk};

/// Judges one statement on a thread of its own.
///
/// For tools and tests: a server uses [`crate::Parser`], whose threads are
/// bounded and started once.
///
/// # Errors
/// The refusal, which says what to do instead.
pub fn check(sql: &str, rules: &Rules) -> Result<CheckedSql, Refusal> {
    on_large_stack(|| judge(sql, rules))
}

/// Judges one statement on the current thread, for benchmarks: a thread's start
/// would be half of what they measure. The caller's thread must have a stack of
/// 64 MiB.
#[doc(hidden)]
pub fn check_here(sql: &str, rules: &Rules) -> Result<CheckedSql, Refusal> {
    judge(sql, rules)
}

/// Judges one statement on the current thread, which must have `STACK_BYTES`.
pub(crate) fn judge(sql: &str, rules: &Rules) -> Result<CheckedSql, Refusal> {
    contain(|| {
        let statement = parse(sql, rules)?;
        let facts = walk(sql, &statement.node, rules, Mode::Run)?;
        Ok(CheckedSql {
            sql: statement.text.to_owned(),
            kind: facts.kind,
            analyze: facts.analyze,
            relations: facts.relations,
            functions: facts.functions,
            fingerprint: fingerprint::of(&[(sql, &statement.tokens)]),
            may_analyze: rules.allow_explain_analyze,
            catalog: rules.catalog.clone(),
        })
    })
}

pub(crate) fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T, Refusal> + Send) -> Result<T, Refusal> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("nla-guard".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|_| internal("no thread could be started"))?
            .join()
            .map_err(|_| internal("the check failed"))?
    })
}

/// A panic below means that nothing is known about the statement: refused.
pub(crate) fn contain<T>(work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(internal("the check failed")))
}

pub(crate) fn internal(message: &str) -> Refusal {
    Refusal::new(
        Rule::Internal,
        format!("{message}; the statement was not run"),
        "Try a simpler form of the statement; if it persists, tell the operator of this service.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HARD_MAX_SQL_BYTES;

    /// The deepest trees that libpg_query writes need at most half the stack.
    #[test]
    fn the_stack_holds_twice_the_deepest_tree() {
        let rules = Rules { max_sql_bytes: HARD_MAX_SQL_BYTES, ..Rules::default() };
        for sql in [
            format!("SELECT {}true", "NOT ".repeat(4990)),
            format!("SELECT 1{}", "::a".repeat(4090)),
            format!("SELECT 1{}", "+1".repeat(4090)),
            format!("SELECT 1{}", " ISNULL".repeat(4990)),
            format!("SELECT 1{}", " COLLATE x".repeat(4990)),
            format!("SELECT {}1{}", "CASE WHEN 1 THEN ".repeat(2400), " END".repeat(2400)),
            format!("SELECT * FROM a{}", " NATURAL JOIN a".repeat(4300)),
            format!("SELECT 1{}", " UNION TABLE a".repeat(4600)),
        ] {
            let found = std::thread::Builder::new()
                .stack_size(STACK_BYTES / 2)
                .spawn({
                    let rules = rules.clone();
                    move || judge(&sql, &rules)
                })
                .unwrap()
                .join()
                .unwrap();
            assert_eq!(found.unwrap_err().rule, Rule::TextComplexity);
        }
    }
}
