//! What the database holds of its own: its functions, operators and types, as
//! the catalog knows them. Called by the rest of `walk` when there is a catalog.
//!
//! A name may stand for several functions, and which one the server takes is
//! decided by types that a raw tree does not have. So all that the name can
//! stand for have to be harmless.

use crate::catalog::{Catalog, FunctionFacts, Offence, Why};
use crate::checked::FunctionName;
use crate::refusal::{Position, Refusal, Rule};

use super::{Verdict, Walk};

/// What a call gives to a function.
pub(super) struct Arguments {
    pub(super) count: usize,
    /// Some are given by name, which PostgreSQL's own functions seldom have.
    pub(super) named: bool,
    /// The first one cannot be a row, whatever the catalog holds.
    pub(super) first_is_no_row: bool,
    /// Nor has it a type yet, so that it becomes what the function takes.
    pub(super) first_is_literal: bool,
}

/// What a name of a function stands for in the database.
pub(super) enum Own {
    Nothing,
    /// There are some, with other arguments.
    OtherArguments,
    Harmless,
    Refused(Refusal),
}

/// What a refusal is about.
pub(super) struct Thing<'a> {
    /// "function", "operator", "type", "relation".
    pub(super) kind: &'static str,
    /// As the text names it.
    pub(super) name: &'a str,
    /// Completes "it ... shop.bump()".
    pub(super) runs: &'static str,
    pub(super) rule: Rule,
}

impl<'a> Walk<'a> {
    /// The first thing that the role does not allow by naming it.
    pub(super) fn first<'c>(&self, offences: &'c [Offence]) -> Option<&'c Offence> {
        let named = |name: &String| self.rules.functions.contains(name) || self.rules.relations.contains(name);
        offences.iter().find(|offence| !named(&offence.name))
    }

    pub(super) fn own_function(&mut self, catalog: &'a Catalog, name: &FunctionName, arguments: &Arguments) -> Own {
        let mut own = Own::Nothing;
        for function in catalog.functions(name.schema.as_deref(), &name.name, arguments.named) {
            let no_row = arguments.first_is_no_row
                && function.wants_row()
                && (!arguments.first_is_literal || function.leaves_literals());
            if !function.takes(arguments.count) || no_row {
                if matches!(own, Own::Nothing) {
                    own = Own::OtherArguments;
                }
                continue;
            }
            if let Some(refusal) = self.call_refused(function, &name.name) {
                return Own::Refused(refusal);
            }
            self.made.result(&function.made);
            if function.unifies {
                self.made.maker(None);
            }
            own = Own::Harmless;
        }
        own
    }

    fn call_refused(&self, function: &FunctionFacts, name: &str) -> Option<Refusal> {
        let full = format!("{}.{name}", function.schema);
        if self.rules.functions.contains(&full) {
            return None;
        }
        let offence = self.first(&function.offences)?;
        let rule = match offence.why {
            Why::Definer => Rule::FunctionDefiner,
            Why::Refused(_) => Rule::FunctionRefused,
            Why::Volatile | Why::Sensitive | Why::Program => Rule::FunctionVolatile,
        };
        Some(refusal(&Thing { kind: "function", name: &full, runs: "calls", rule }, offence))
    }

    /// `row.name`, where it is no column: what it may call with that row.
    pub(super) fn own_attribute(&self, catalog: &Catalog, alias: Option<&str>, name: &str) -> Verdict {
        if let Some(offence) = catalog.type_offences(None, name).and_then(|offences| self.first(offences)) {
            return Err(refusal(&Thing { kind: "type", name, runs: "runs", rule: Rule::TypeCode }, offence));
        }
        if !catalog.has_row_offence(name) {
            return Ok(());
        }
        let Some(row) = self.row_of(alias, name) else { return Ok(()) };
        catalog.attributes(name, &row).find_map(|function| self.call_refused(function, name)).map_or(Ok(()), Err)
    }

    pub(super) fn own_type(&self, schema: Option<&str>, name: &str, position: Option<Position>) -> Verdict {
        let Some(catalog) = self.rules.catalog.as_deref() else { return Ok(()) };
        let offences = catalog.type_offences(schema, name).unwrap_or_default();
        match self.first(offences) {
            None => Ok(()),
            Some(offence) => {
                Err(refusal(&Thing { kind: "type", name, runs: "runs", rule: Rule::TypeCode }, offence).at(position))
            }
        }
    }

    /// Whether the database has an operator of that name that may be used;
    /// `None` when it has none.
    pub(super) fn own_operator(&self, schema: Option<&str>, name: &str) -> Option<Verdict> {
        let mut found = None;
        for offences in self.rules.catalog.as_deref()?.operators(schema, name) {
            if let Some(offence) = self.first(offences) {
                let thing = Thing { kind: "operator", name, runs: "calls", rule: Rule::OperatorRefused };
                return Some(Err(refusal(&thing, offence)));
            }
            found = Some(Ok(()));
        }
        found
    }

    /// A cast between PostgreSQL's own types may run in any expression.
    pub(super) fn casts_everywhere(&self) -> Verdict {
        let offences = self.rules.catalog.as_deref().map_or(&[][..], Catalog::everywhere);
        match self.first(offences) {
            None => Ok(()),
            Some(offence) => {
                let thing = Thing { kind: "cast", name: "of this database", runs: "calls", rule: Rule::TypeCode };
                Err(refusal(&thing, offence))
            }
        }
    }
}

pub(super) fn refusal(thing: &Thing<'_>, offence: &Offence) -> Refusal {
    let Thing { kind, name, runs, rule } = thing;
    let call = if *kind == "function" { "()" } else { "" };
    let what = offence.name.as_str();
    let (does, mend) = match offence.why {
        Why::Volatile => (
            "is VOLATILE and so may change data",
            format!("if {what} only reads, its owner can declare it STABLE or IMMUTABLE"),
        ),
        Why::Definer => (
            "runs with its owner's rights (SECURITY DEFINER)",
            format!("if {what} needs no other rights, its owner can make it SECURITY INVOKER"),
        ),
        Why::Refused(class) => (class.does(), "it is on the list of functions that are never harmless".to_owned()),
        Why::Program => (
            "starts a program on the database server",
            "a materialized view or a copy of its rows can stand for it".to_owned(),
        ),
        Why::Sensitive => ("can show other sessions, secrets or configuration", "it is not for everybody".to_owned()),
    };
    let message = if *name == what {
        format!("the {kind} {name}{call} is not allowed: it {does}")
    } else {
        format!("the {kind} {name}{call} is not allowed: it {runs} {what}, which {does}")
    };
    let hint = format!(
        "Leave it out, and use tables, built-in functions or functions that are STABLE or IMMUTABLE. For the operator of \
         this service: {mend}; or a role can name {what}."
    );
    Refusal::new(*rule, message, hint)
}
