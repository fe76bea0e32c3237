//! Which row an alias stands for, so that `alias.name` can be told apart from a
//! call of the function `name` with that row. Needed only where the database has
//! such a function that does more than read; else nothing is collected.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, RangeVar, SelectStmt};

use super::Walk;
use crate::catalog::{Found, RelationFacts, Row};

/// The names of a query's columns; `None` where they are not all in the text.
pub(super) type Columns = Option<Vec<String>>;

/// What an alias stands for.
pub(super) enum Source<'a> {
    Relation(&'a RelationFacts),
    Query(Columns),
    Unknown,
}

/// The aliases of one query's FROM clause.
pub(super) struct Scope<'a> {
    aliases: Vec<(String, Source<'a>)>,
    /// Something in FROM has a name of PostgreSQL's choice, so that an alias
    /// that is not found here may be that.
    unnamed: bool,
    /// Inside of the clause itself only some of them can be seen (LATERAL and ON
    /// see those before them), and the others are looked for further out.
    in_from: bool,
}

/// A WITH query in sight.
pub(super) struct Cte {
    pub(super) name: String,
    pub(super) columns: Columns,
}

impl<'a> Walk<'a> {
    fn is_needed(&self) -> bool {
        self.rules.catalog.as_deref().is_some_and(|catalog| catalog.has_row_offences())
    }

    /// The aliases of a FROM clause.
    pub(super) fn open_scope(&mut self, from: &[Node]) {
        let mut aliases = Vec::new();
        if self.is_needed() {
            from.iter().for_each(|source| self.collect(source, &mut aliases));
        }
        let unnamed = self.is_needed() && from.iter().any(has_unnamed);
        self.scopes.push(Scope { aliases, unnamed, in_from: false });
    }

    pub(super) fn enter_from(&mut self, inside: bool) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.in_from = inside;
        }
    }

    pub(super) fn close_scope(&mut self) {
        self.scopes.pop();
    }

    fn collect(&self, source: &Node, scope: &mut Vec<(String, Source<'a>)>) {
        let name = |alias: &Option<Alias>| alias.as_ref().map(|alias| alias.aliasname.clone());
        match &source.node {
            Some(NodeEnum::RangeVar(relation)) => {
                let alias = name(&relation.alias).unwrap_or_else(|| relation.relname.clone());
                scope.push((alias, self.source_of(relation)));
            }
            Some(NodeEnum::JoinExpr(join)) => {
                scope.extend(name(&join.join_using_alias).map(|alias| (alias, Source::Unknown)));
                // An alias of the whole join hides those inside.
                match name(&join.alias) {
                    Some(alias) => scope.push((alias, Source::Unknown)),
                    None => {
                        [&join.larg, &join.rarg].into_iter().flatten().for_each(|side| self.collect(side, scope));
                    }
                }
            }
            Some(NodeEnum::RangeSubselect(sub)) => {
                if let (Some(alias), Some(NodeEnum::SelectStmt(select))) =
                    (&sub.alias, sub.subquery.as_ref().and_then(|query| query.node.as_ref()))
                {
                    let columns = if alias.colnames.is_empty() { self.columns_of(select) } else { None };
                    scope.push((alias.aliasname.clone(), Source::Query(columns)));
                }
            }
            // Found nowhere, an alias is looked for further out, which would be
            // wrong; so each is noted.
            Some(NodeEnum::RangeFunction(function)) => {
                scope.extend(name(&function.alias).map(|alias| (alias, Source::Unknown)));
            }
            Some(NodeEnum::RangeTableSample(sample)) => {
                if let Some(relation) = &sample.relation {
                    self.collect(relation, scope);
                }
            }
            Some(NodeEnum::JsonTable(table)) => {
                scope.extend(name(&table.alias).map(|alias| (alias, Source::Unknown)));
            }
            _ => {}
        }
    }

    fn source_of(&self, relation: &RangeVar) -> Source<'a> {
        if relation.alias.as_ref().is_some_and(|alias| !alias.colnames.is_empty()) {
            return Source::Unknown;
        }
        let plain = relation.schemaname.is_empty() && relation.catalogname.is_empty();
        if plain && let Some(cte) = self.ctes.iter().rev().find(|cte| cte.name == relation.relname) {
            return Source::Query(cte.columns.clone());
        }
        let schema = Some(relation.schemaname.as_str()).filter(|schema| !schema.is_empty());
        match self.rules.catalog.as_deref().map(|catalog| catalog.relation(schema, &relation.relname)) {
            Some(Found::Own(_, facts)) => Source::Relation(facts),
            _ => Source::Unknown,
        }
    }

    /// The names of a query's columns, where the text tells them all.
    pub(super) fn columns_of(&self, select: &SelectStmt) -> Columns {
        if !self.is_needed() || select.target_list.is_empty() {
            return None;
        }
        let name = |target: &Node| {
            let Some(NodeEnum::ResTarget(target)) = &target.node else { return None };
            if !target.name.is_empty() {
                return Some(target.name.clone());
            }
            match &target.val.as_ref()?.node {
                Some(NodeEnum::ColumnRef(column)) => match &column.fields.last()?.node {
                    Some(NodeEnum::String(name)) => Some(name.sval.clone()),
                    _ => None,
                },
                // Its name is PostgreSQL's to choose, and none that matters.
                _ => Some(String::new()),
            }
        };
        select.target_list.iter().map(name).collect()
    }

    /// The row in which `alias.name` looks for a function, should there be no
    /// such column; `None` when there is.
    pub(super) fn row_of(&self, alias: Option<&str>, name: &str) -> Option<Row> {
        let known = alias.and_then(|alias| {
            self.scopes.iter().rev().find_map(|scope| {
                let found = scope.aliases.iter().find(|(own, _)| own == alias);
                if found.is_none() && !scope.unnamed {
                    return None;
                }
                Some(found.filter(|_| !scope.in_from).map_or(&Source::Unknown, |(_, source)| source))
            })
        });
        match known {
            Some(Source::Relation(facts)) => facts.row(name),
            Some(Source::Query(Some(columns))) if columns.iter().any(|column| column == name) => None,
            _ => Some(Row::Any),
        }
    }
}

/// Whether a call without an alias stands in FROM.
fn has_unnamed(source: &Node) -> bool {
    match &source.node {
        Some(NodeEnum::RangeFunction(function)) => function.alias.is_none(),
        Some(NodeEnum::JsonTable(table)) => table.alias.is_none(),
        Some(NodeEnum::JoinExpr(join)) => [&join.larg, &join.rarg].into_iter().flatten().any(|side| has_unnamed(side)),
        _ => false,
    }
}
