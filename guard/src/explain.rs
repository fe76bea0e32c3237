//! EXPLAIN around a statement that was judged first: for the explain_query tool.
//! Called by the edge's pipeline (through `parser`).
//! Invariant: the text is `EXPLAIN (options of ours) ` + exactly one parsed
//! statement, so that nothing in the statement can end or alter the options;
//! ANALYZE only ever stands before a statement that may run itself.

use crate::check::{contain, on_large_stack};
use crate::checked::{CheckedSql, StatementKind};
use crate::fingerprint;
use crate::parse::{parse, scan};
use crate::refusal::{Refusal, Rule};
use crate::rules::Rules;
use crate::walk::{Mode, walk};

/// How the plan is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExplainFormat {
    #[default]
    Text,
    Json,
}

/// What EXPLAIN shows. The default is the plan alone, as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExplainOptions {
    /// Runs the statement and shows what was measured.
    pub analyze: bool,
    /// Shows output columns and qualified names.
    pub verbose: bool,
    /// Shows buffer usage; only together with `analyze`.
    pub buffers: bool,
    pub format: ExplainFormat,
}

impl ExplainOptions {
    fn prefix(self) -> String {
        let mut prefix = String::from("EXPLAIN (FORMAT ");
        prefix.push_str(match self.format {
            ExplainFormat::Text => "TEXT",
            ExplainFormat::Json => "JSON",
        });
        for (wanted, word) in
            [(self.analyze, ", ANALYZE"), (self.verbose, ", VERBOSE"), (self.analyze && self.buffers, ", BUFFERS")]
        {
            if wanted {
                prefix.push_str(word);
            }
        }
        prefix.push_str(") ");
        prefix
    }
}

/// Judges a statement that is only to be explained, on a thread of its own.
///
/// Without `analyze` this also accepts INSERT, UPDATE, DELETE and MERGE, whose
/// plan can be shown without running them. `sql` is the bare statement.
///
/// # Errors
/// The refusal, which says what to do instead.
pub fn explain(sql: &str, rules: &Rules, options: ExplainOptions) -> Result<CheckedSql, Refusal> {
    on_large_stack(|| judge_explained(sql, rules, options))
}

/// Judges on the current thread, which must have a large stack.
pub(crate) fn judge_explained(sql: &str, rules: &Rules, options: ExplainOptions) -> Result<CheckedSql, Refusal> {
    contain(|| {
        may_analyze(rules.allow_explain_analyze, options)?;
        let statement = parse(sql, rules)?;
        let mode = if options.analyze { Mode::Explained } else { Mode::Planned };
        let facts = walk(sql, &statement.node, rules, mode)?;
        let prefix = options.prefix();
        let words = scan(&prefix)?;
        Ok(CheckedSql {
            fingerprint: fingerprint::of(&[(&prefix, &words), (sql, &statement.tokens)]),
            sql: format!("{prefix}{}", statement.text),
            kind: StatementKind::Explain,
            analyze: options.analyze,
            relations: facts.relations,
            functions: facts.functions,
            may_analyze: rules.allow_explain_analyze,
            catalog: rules.catalog.clone(),
        })
    })
}

impl CheckedSql {
    /// The same statement under EXPLAIN.
    ///
    /// # Errors
    /// When this is not a statement that returns rows of its own, or when
    /// `analyze` is asked for and the rules of the check did not allow it.
    pub fn explained(&self, options: ExplainOptions) -> Result<CheckedSql, Refusal> {
        may_analyze(self.may_analyze, options)?;
        if self.kind != StatementKind::Rows {
            return Err(not_explainable());
        }
        Ok(CheckedSql {
            sql: format!("{}{}", options.prefix(), self.sql),
            kind: StatementKind::Explain,
            analyze: options.analyze,
            ..self.clone()
        })
    }
}

fn may_analyze(allowed: bool, options: ExplainOptions) -> Result<(), Refusal> {
    if options.analyze && !allowed {
        return Err(analyze_refused());
    }
    Ok(())
}

pub(crate) fn analyze_refused() -> Refusal {
    Refusal::new(
        Rule::ExplainAnalyze,
        "EXPLAIN ANALYZE is not allowed here, because it runs the statement",
        "Ask for the plan without ANALYZE.",
    )
}

pub(crate) fn not_explainable() -> Refusal {
    Refusal::new(
        Rule::ExplainStatement,
        "only SELECT, VALUES, TABLE and WITH can be explained, and without ANALYZE also INSERT, UPDATE, DELETE and MERGE",
        "Give the bare statement to be explained, without EXPLAIN in front of it.",
    )
}
