//! The kinds of statements: which may run, which may be explained, and for each
//! of the others what to say.

use pg_query::NodeEnum;
use pg_query::protobuf::{DefElem, ExplainStmt, Node, VariableShowStmt};

use super::{Mode, Verdict, Walk, inner};
use crate::checked::StatementKind;
use crate::explain::{analyze_refused, not_explainable};
use crate::refusal::{Refusal, Rule};
use crate::settings;

/// Options of EXPLAIN, all of which only change what is shown; ANALYZE is judged
/// by itself.
const EXPLAIN_OPTIONS: &[&str] = &[
    "buffers",
    "costs",
    "format",
    "generic_plan",
    "memory",
    "serialize",
    "settings",
    "summary",
    "timing",
    "verbose",
    "wal",
];

impl Walk<'_> {
    /// The statement itself; tells its kind and whether it is EXPLAIN ANALYZE.
    pub(super) fn top(&mut self, statement: &NodeEnum, mode: Mode) -> Result<(StatementKind, bool), Refusal> {
        match (statement, mode) {
            (NodeEnum::SelectStmt(select), _) => {
                self.select(select)?;
                Ok((StatementKind::Rows, false))
            }
            (NodeEnum::ExplainStmt(explain), Mode::Run) => {
                let analyze = self.explain(explain)?;
                Ok((StatementKind::Explain, analyze))
            }
            (NodeEnum::VariableShowStmt(show), Mode::Run) => {
                self.show(show)?;
                Ok((StatementKind::Show, false))
            }
            (NodeEnum::ExplainStmt(_) | NodeEnum::VariableShowStmt(_), _) => Err(not_explainable()),
            (_, Mode::Planned) => {
                self.modification(statement)?;
                Ok((StatementKind::Rows, false))
            }
            _ => Err(refused(statement)),
        }
    }

    fn explain(&mut self, explain: &ExplainStmt) -> Result<bool, Refusal> {
        let ExplainStmt { query, options } = explain;
        let analyze = self.explain_options(options)?;
        if analyze && !self.rules.allow_explain_analyze {
            return Err(analyze_refused());
        }
        let query = inner(query.as_deref().ok_or_else(super::unreadable)?)?;
        if let NodeEnum::SelectStmt(select) = query {
            self.modifies = !analyze;
            self.select(select)?;
        } else if analyze {
            return Err(refused(query));
        } else {
            self.modifies = true;
            self.modification(query)?;
        }
        Ok(analyze)
    }

    /// Whether ANALYZE is among the options. Anything but a plain "off" counts,
    /// so that no spelling of "on" can be missed.
    fn explain_options(&mut self, options: &[Node]) -> Result<bool, Refusal> {
        let mut analyze = false;
        for option in options {
            let NodeEnum::DefElem(option) = inner(option)? else {
                return Err(super::unreadable());
            };
            let DefElem { defnamespace: _, defname, arg, defaction: _, location, arg_location: _ } = option.as_ref();
            if let Some(arg) = arg {
                match inner(arg)? {
                    NodeEnum::String(_) | NodeEnum::Integer(_) | NodeEnum::Boolean(_) | NodeEnum::Float(_) => {}
                    _ => return Err(option_refused(defname).at(self.position(*location))),
                }
            }
            match defname.as_str() {
                "analyze" => analyze |= !arg.as_deref().is_some_and(is_off),
                name if EXPLAIN_OPTIONS.contains(&name) => {}
                name => return Err(option_refused(name).at(self.position(*location))),
            }
        }
        Ok(analyze)
    }

    fn show(&self, show: &VariableShowStmt) -> Verdict {
        let VariableShowStmt { name } = show;
        self.setting(name)
    }

    /// A setting that is told by SHOW or current_setting().
    pub(super) fn setting(&self, name: &str) -> Verdict {
        let name = name.to_ascii_lowercase();
        if settings::is_harmless(&name) || self.rules.settings.contains(&name) {
            return Ok(());
        }
        Err(Refusal::new(
            Rule::ShowSetting,
            format!("the setting {name} may not be shown"),
            "Only settings that format values, limit or plan queries can be shown, one at a time, such as server_version, TimeZone, search_path or work_mem.",
        ))
    }
}

fn is_off(arg: &Node) -> bool {
    match &arg.node {
        Some(NodeEnum::String(word)) => ["off", "false"].contains(&word.sval.as_str()),
        Some(NodeEnum::Integer(number)) => number.ival == 0,
        Some(NodeEnum::Boolean(value)) => !value.boolval,
        _ => false,
    }
}

fn option_refused(name: &str) -> Refusal {
    Refusal::new(
        Rule::ExplainOption,
        format!("the option {name} of EXPLAIN is not known here"),
        "Use ANALYZE, VERBOSE, COSTS, BUFFERS, TIMING, SUMMARY, SETTINGS or FORMAT with a plain value.",
    )
}

/// The refusal of a statement that may not run.
pub(super) fn refused(statement: &NodeEnum) -> Refusal {
    const READ: &str = "Only reading is possible here: send a SELECT, VALUES, TABLE, WITH, EXPLAIN or SHOW statement.";
    let (rule, what, hint) = match statement {
        NodeEnum::InsertStmt(_) => (Rule::StatementInsert, "INSERT", READ),
        NodeEnum::UpdateStmt(_) => (Rule::StatementUpdate, "UPDATE", READ),
        NodeEnum::DeleteStmt(_) => (Rule::StatementDelete, "DELETE", READ),
        NodeEnum::MergeStmt(_) => (Rule::StatementMerge, "MERGE", READ),
        NodeEnum::CreateTableAsStmt(_) => (
            Rule::StatementInto,
            "creating a table from a query",
            "Send the inner SELECT by itself; nothing can be stored here.",
        ),
        NodeEnum::TransactionStmt(_) => (
            Rule::StatementTransaction,
            "transaction control",
            "Send the query alone; each runs in a read-only transaction of its own.",
        ),
        NodeEnum::VariableSetStmt(_) | NodeEnum::DiscardStmt(_) | NodeEnum::AlterSystemStmt(_) => (
            Rule::StatementSetting,
            "changing settings",
            "Send the query alone; qualify tables by their schema instead of setting search_path, and use AT TIME ZONE instead of setting TimeZone.",
        ),
        NodeEnum::CopyStmt(_) => {
            (Rule::StatementCopy, "COPY", "Send the inner SELECT by itself; its rows are the answer.")
        }
        NodeEnum::DoStmt(_) | NodeEnum::CallStmt(_) => (
            Rule::StatementRoutine,
            "running code with DO or CALL",
            "Express it as one SELECT, for example with WITH RECURSIVE or generate_series().",
        ),
        NodeEnum::PrepareStmt(_)
        | NodeEnum::ExecuteStmt(_)
        | NodeEnum::DeallocateStmt(_)
        | NodeEnum::DeclareCursorStmt(_)
        | NodeEnum::FetchStmt(_)
        | NodeEnum::ClosePortalStmt(_) => (
            Rule::StatementPrepared,
            "using prepared statements or cursors",
            "Send the query itself; page with ORDER BY and LIMIT or with a condition on the key.",
        ),
        NodeEnum::ListenStmt(_) | NodeEnum::NotifyStmt(_) | NodeEnum::UnlistenStmt(_) => {
            (Rule::StatementNotify, "LISTEN and NOTIFY", READ)
        }
        NodeEnum::LockStmt(_) => (Rule::StatementLock, "LOCK", "Leave it out; no lock is needed to read."),
        NodeEnum::GrantStmt(_)
        | NodeEnum::GrantRoleStmt(_)
        | NodeEnum::CreateRoleStmt(_)
        | NodeEnum::AlterRoleStmt(_)
        | NodeEnum::AlterRoleSetStmt(_)
        | NodeEnum::DropRoleStmt(_)
        | NodeEnum::AlterDefaultPrivilegesStmt(_)
        | NodeEnum::ReassignOwnedStmt(_)
        | NodeEnum::DropOwnedStmt(_) => (Rule::StatementGrant, "changing roles and rights", READ),
        NodeEnum::CreateStmt(_)
        | NodeEnum::CreateSchemaStmt(_)
        | NodeEnum::CreateExtensionStmt(_)
        | NodeEnum::CreateFunctionStmt(_)
        | NodeEnum::CreateSeqStmt(_)
        | NodeEnum::CreateDomainStmt(_)
        | NodeEnum::CreateEnumStmt(_)
        | NodeEnum::CompositeTypeStmt(_)
        | NodeEnum::CreateTrigStmt(_)
        | NodeEnum::CreatedbStmt(_)
        | NodeEnum::DropdbStmt(_)
        | NodeEnum::IndexStmt(_)
        | NodeEnum::ViewStmt(_)
        | NodeEnum::RuleStmt(_)
        | NodeEnum::DefineStmt(_)
        | NodeEnum::AlterTableStmt(_)
        | NodeEnum::AlterSeqStmt(_)
        | NodeEnum::AlterFunctionStmt(_)
        | NodeEnum::AlterDatabaseStmt(_)
        | NodeEnum::AlterDatabaseSetStmt(_)
        | NodeEnum::AlterOwnerStmt(_)
        | NodeEnum::AlterObjectSchemaStmt(_)
        | NodeEnum::RenameStmt(_)
        | NodeEnum::DropStmt(_)
        | NodeEnum::TruncateStmt(_)
        | NodeEnum::CommentStmt(_)
        | NodeEnum::RefreshMatViewStmt(_) => (Rule::StatementDdl, "creating, changing or dropping objects", READ),
        _ => (Rule::StatementOther, "this kind of statement", READ),
    };
    Refusal::new(rule, format!("{what} is not allowed"), hint)
}
