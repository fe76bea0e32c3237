//! What stands in FROM: relations, joins, sub-selects, functions, samples.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, ColumnDef, JoinExpr, Node, RangeFunction, RangeSubselect, RangeTableSample};

use super::{MAX_SOURCES, Verdict, Walk, inner, list, string, strings, unknown, unreadable};
use crate::functions::Class;
use crate::refusal::{Refusal, Rule};

/// The sampling methods that PostgreSQL itself ships; others are functions of
/// somebody's own.
const SAMPLE_METHODS: &[&str] = &["bernoulli", "system"];

impl Walk<'_> {
    pub(super) fn sources(&mut self, sources: &[Node]) -> Verdict {
        sources.iter().try_for_each(|source| self.source(source))
    }

    pub(super) fn source(&mut self, node: &Node) -> Verdict {
        let node = inner(node)?;
        self.sources += 1;
        if self.sources > MAX_SOURCES {
            return Err(Refusal::new(
                Rule::TextComplexity,
                format!("more than {MAX_SOURCES} tables and joins stand in the statement"),
                "Split the question into several statements.",
            ));
        }
        self.deeper(|walk| match node {
            NodeEnum::RangeVar(relation) => walk.relation(relation),
            NodeEnum::JoinExpr(join) => walk.join(join),
            NodeEnum::RangeSubselect(sub) => walk.subselect(sub),
            NodeEnum::RangeFunction(function) => walk.function_source(function),
            NodeEnum::RangeTableSample(sample) => walk.sample(sample),
            NodeEnum::JsonTable(table) => walk.json_table(table),
            NodeEnum::RangeTableFunc(table) => Err(Refusal::new(
                Rule::FunctionRefused,
                format!("XMLTABLE is not allowed: it {}", Class::Xml.does()),
                Class::Xml.hint(),
            )
            .at(walk.position(table.location))),
            _ => Err(unknown()),
        })
    }

    fn join(&mut self, join: &JoinExpr) -> Verdict {
        let JoinExpr { jointype: _, is_natural, larg, rarg, using_clause, join_using_alias, quals, alias, rtindex: _ } =
            join;
        self.source(larg.as_deref().ok_or_else(unreadable)?)?;
        self.source(rarg.as_deref().ok_or_else(unreadable)?)?;
        if *is_natural || !using_clause.is_empty() {
            self.operator_named(None, "=", None)?;
        }
        for column in strings(using_clause)? {
            self.partly.column(column, None);
        }
        if let Some(alias) = join_using_alias {
            self.alias(alias)?;
        }
        if let Some(alias) = alias {
            self.alias(alias)?;
            self.partly.join_alias(alias);
        }
        self.optional(quals)
    }

    pub(super) fn alias(&mut self, alias: &Alias) -> Verdict {
        let Alias { aliasname: _, colnames } = alias;
        for column in strings(colnames)? {
            // NATURAL JOIN compares columns that are named nowhere else.
            self.partly.column(column, None);
        }
        Ok(())
    }

    fn subselect(&mut self, sub: &RangeSubselect) -> Verdict {
        let RangeSubselect { lateral: _, subquery, alias } = sub;
        if let Some(alias) = alias {
            self.alias(alias)?;
        }
        match inner(subquery.as_deref().ok_or_else(unreadable)?)? {
            NodeEnum::SelectStmt(select) => self.select(select),
            _ => Err(unknown()),
        }
    }

    fn function_source(&mut self, source: &RangeFunction) -> Verdict {
        let RangeFunction { lateral: _, ordinality: _, is_rowsfrom: _, functions, alias, coldeflist } = source;
        for function in functions {
            // A pair: the call, and its column definitions or an empty node.
            let [call, columns] = list(function)? else {
                return Err(unreadable());
            };
            self.expression(call)?;
            if let NodeEnum::FuncCall(call) = inner(call)? {
                self.functions_in_from
                    .extend(call.funcname.last().and_then(|name| string(name).ok()).map(str::to_owned));
            } else {
                // Its name is PostgreSQL's to choose: text for CAST(... AS text).
                self.functions_in_from.insert(String::new());
            }
            if columns.node.is_some() {
                self.column_definitions(list(columns)?)?;
            }
        }
        if let Some(alias) = alias {
            // The one column of a function bears this name, and NATURAL JOIN
            // compares it.
            self.partly.column(&alias.aliasname, None);
            self.functions_in_from.insert(alias.aliasname.clone());
            self.alias(alias)?;
        }
        self.column_definitions(coldeflist)
    }

    fn column_definitions(&mut self, columns: &[Node]) -> Verdict {
        for column in columns {
            let NodeEnum::ColumnDef(column) = inner(column)? else {
                return Err(unreadable());
            };
            let ColumnDef {
                colname,
                type_name,
                compression: _,
                inhcount: _,
                is_local: _,
                is_not_null: _,
                is_from_type: _,
                storage: _,
                storage_name: _,
                raw_default,
                cooked_default,
                identity: _,
                identity_sequence,
                generated: _,
                coll_clause,
                coll_oid: _,
                constraints,
                fdwoptions,
                location: _,
            } = column.as_ref();
            self.partly.column(colname, None);
            // A column definition in FROM is a name, a type and a collation.
            if raw_default.is_some()
                || cooked_default.is_some()
                || identity_sequence.is_some()
                || !constraints.is_empty()
                || !fdwoptions.is_empty()
            {
                return Err(unknown());
            }
            if let Some(type_name) = type_name {
                self.type_name(type_name)?;
            }
            if let Some(collation) = coll_clause {
                self.collation(collation)?;
            }
        }
        Ok(())
    }

    fn sample(&mut self, sample: &RangeTableSample) -> Verdict {
        let RangeTableSample { relation, method, args, repeatable, location } = sample;
        self.source(relation.as_deref().ok_or_else(unreadable)?)?;
        match strings(method)?.as_slice() {
            [name] | ["pg_catalog", name] if SAMPLE_METHODS.contains(name) => {}
            name => {
                return Err(Refusal::new(
                    Rule::FunctionUnknown,
                    format!("the sampling method {} is not one of PostgreSQL's own", name.join(".")),
                    "Use TABLESAMPLE BERNOULLI (percent) or SYSTEM (percent).",
                )
                .at(self.position(*location)));
            }
        }
        self.expressions(args)?;
        self.optional(repeatable)
    }
}
