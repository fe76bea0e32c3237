//! Values that become one of a checked type without the type's name in the text:
//! `json_populate_record(row, ...)`, and a literal beside a whole row, as in
//! `coalesce(row, '(1,2)')`. Called by the rest of `walk`; judged at the end, when
//! all that the statement reads is known.
//!
//! Reading such a table is harmless, and so is showing its rows as JSON: what is
//! stored was checked when it was written.

use std::collections::BTreeMap;

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, FuncCall, Node};

use super::own::{self, Thing};
use super::{Verdict, Walk};
use crate::catalog::{Offence, Why};
use crate::refusal::{Position, Rule};

/// Functions that only show the row which they are given.
const SHOW_ROWS: [&str; 6] = ["count", "json_agg", "jsonb_agg", "row_to_json", "to_json", "to_jsonb"];

/// What the walk saw of such types and of what makes values.
#[derive(Default)]
pub(super) struct Made<'a> {
    /// What making a row runs, by the alias of the row; a function's result has none.
    rows: Vec<(Option<String>, &'a [Offence])>,
    /// Names that may stand for a whole row.
    wholes: BTreeMap<String, Option<Position>>,
    /// The first call that makes a value of the type of another.
    maker: Option<Option<Position>>,
}

impl<'a> Made<'a> {
    pub(super) fn relation(&mut self, alias: &str, made: &'a [Offence]) {
        if !made.is_empty() {
            self.rows.push((Some(alias.to_owned()), made));
        }
    }

    pub(super) fn result(&mut self, made: &'a [Offence]) {
        if !made.is_empty() {
            self.rows.push((None, made));
        }
    }

    pub(super) fn maker(&mut self, position: Option<Position>) {
        self.maker.get_or_insert(position);
    }

    /// A reference in an expression: `row`, or `row.*`, which is the same there.
    pub(super) fn reference(&mut self, column: &ColumnRef, position: Option<Position>) {
        let name = |at: usize| match &column.fields.get(at)?.node {
            Some(NodeEnum::String(name)) => Some(name.sval.clone()),
            _ => None,
        };
        let star = matches!(column.fields.last().map(|field| &field.node), Some(Some(NodeEnum::AStar(_))));
        // schema.row is the row too.
        let end = column.fields.len().saturating_sub(if star { 2 } else { 1 });
        if let Some(name) = name(end) {
            self.wholes.entry(name).or_insert(position);
        }
    }
}

/// Whether the call does nothing with a row but show it.
pub(super) fn shows_row(call: &FuncCall) -> bool {
    let name = call.funcname.last().and_then(|name| name.node.as_ref());
    let is_column = |arg: &Node| matches!(arg.node, Some(NodeEnum::ColumnRef(_)));
    matches!(name, Some(NodeEnum::String(name)) if SHOW_ROWS.contains(&name.sval.as_str()))
        && matches!(call.args.as_slice(), [arg] if is_column(arg))
}

/// Whether a function of that name makes a value of its first argument's type.
pub(super) fn is_maker(name: &str) -> bool {
    name.contains("populate_record")
}

impl Walk<'_> {
    pub(super) fn made_values(&self) -> Verdict {
        for (alias, made) in &self.made.rows {
            // A literal is short, so that XML in it is harmless.
            let whole = alias.as_ref().and_then(|alias| self.made.wholes.get(alias));
            let (offence, position) = match (self.made.maker, whole) {
                (Some(position), _) => (self.first(made), position),
                (None, Some(position)) => {
                    let beside_xml = |offence: &&Offence| !matches!(offence.why, Why::Refused(_));
                    (self.first(made).filter(beside_xml), *position)
                }
                (None, None) => continue,
            };
            if let Some(offence) = offence {
                let name = alias.as_deref().unwrap_or("of a function's result");
                let thing = Thing { kind: "row type", name, runs: "may run", rule: Rule::TypeCode };
                return Err(own::refusal(&thing, offence).at(position));
            }
        }
        Ok(())
    }
}
