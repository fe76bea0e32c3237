//! SELECT, VALUES, TABLE and WITH, with the scopes of WITH names.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CommonTableExpr, CteCycleClause, CteSearchClause, ResTarget, SelectStmt, SortBy, WindowDef, WithClause,
};
use pg_query::protobuf::{Node, RawStmt};

use super::{Verdict, Walk, inner, list, scope::Cte, strings, unreadable};
use crate::refusal::{Refusal, Rule};

impl Walk<'_> {
    /// A query at any place: a sub-select, a WITH query, a branch of a UNION.
    pub(super) fn select(&mut self, select: &SelectStmt) -> Verdict {
        self.deeper(|walk| walk.select_body(select))
    }

    fn select_body(&mut self, select: &SelectStmt) -> Verdict {
        let SelectStmt {
            distinct_clause,
            into_clause,
            target_list,
            from_clause,
            where_clause,
            group_clause,
            group_distinct: _,
            having_clause,
            window_clause,
            values_lists,
            sort_clause,
            limit_offset,
            limit_count,
            limit_option: _,
            locking_clause,
            with_clause,
            op: _,
            all: _,
            larg,
            rarg,
        } = select;
        if let Some(into) = into_clause {
            let location = into.rel.as_ref().map_or(-1, |rel| rel.location);
            return Err(Refusal::new(
                Rule::StatementInto,
                "SELECT INTO is not allowed, because it creates a table",
                "Leave INTO out; the rows are the answer. To use a result twice, put it into a WITH clause.",
            )
            .at(self.position(location)));
        }
        if !locking_clause.is_empty() {
            return Err(Refusal::new(
                Rule::StatementRowLock,
                "locking rows (FOR UPDATE, FOR SHARE ...) is not allowed",
                "Leave the FOR clause at the end out; no lock is needed to read.",
            ));
        }
        let outer = self.ctes.len();
        if let Some(with) = with_clause {
            self.with(with)?;
        }
        self.open_scope(from_clause);
        // Plain DISTINCT is a list with one empty node.
        if !matches!(distinct_clause.as_slice(), [Node { node: None }]) {
            self.expressions(distinct_clause)?;
        }
        self.targets(target_list)?;
        self.enter_from(true);
        self.sources(from_clause)?;
        self.enter_from(false);
        self.optional(where_clause)?;
        self.expressions(group_clause)?;
        self.optional(having_clause)?;
        for window in window_clause {
            let NodeEnum::WindowDef(window) = inner(window)? else {
                return Err(unreadable());
            };
            self.window(window)?;
        }
        for row in values_lists {
            self.expressions(list(row)?)?;
        }
        self.sorts(sort_clause)?;
        self.optional(limit_offset)?;
        self.optional(limit_count)?;
        self.close_scope();
        for branch in [larg, rarg].into_iter().flatten() {
            self.select(branch)?;
        }
        self.ctes.truncate(outer);
        Ok(())
    }

    /// Brings the names of a WITH clause into sight. As in PostgreSQL each query
    /// sees the ones before it, and with RECURSIVE all of them and itself.
    pub(super) fn with(&mut self, with: &WithClause) -> Verdict {
        let WithClause { ctes, recursive, location: _ } = with;
        let ctes = ctes
            .iter()
            .map(|cte| match inner(cte)? {
                NodeEnum::CommonTableExpr(cte) => Ok(cte.as_ref()),
                _ => Err(unreadable()),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if *recursive {
            let recursive: Vec<Cte> = ctes.iter().map(|cte| self.named_query(cte)).collect();
            self.ctes.extend(recursive);
        }
        for cte in ctes {
            self.cte(cte)?;
            if !*recursive {
                let named = self.named_query(cte);
                self.ctes.push(named);
            }
        }
        Ok(())
    }

    fn named_query(&self, cte: &CommonTableExpr) -> Cte {
        let columns = match cte.ctequery.as_ref().and_then(|query| query.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) if cte.aliascolnames.is_empty() => self.columns_of(select),
            _ => None,
        };
        Cte { name: cte.ctename.clone(), columns }
    }

    fn cte(&mut self, cte: &CommonTableExpr) -> Verdict {
        let CommonTableExpr {
            ctename: _,
            aliascolnames,
            ctematerialized: _,
            ctequery,
            search_clause,
            cycle_clause,
            location: _,
            // Filled by parse analysis, which a raw tree has not seen.
            cterecursive: _,
            cterefcount: _,
            ctecolnames: _,
            ctecoltypes: _,
            ctecoltypmods: _,
            ctecolcollations: _,
        } = cte;
        // NATURAL JOIN compares columns that are named nowhere else.
        for column in strings(aliascolnames)? {
            self.partly.column(column, None);
        }
        if let Some(search) = search_clause {
            let CteSearchClause { search_col_list, search_breadth_first: _, search_seq_column, location: _ } = search;
            self.partly.column(search_seq_column, None);
            strings(search_col_list)?;
        }
        if let Some(cycle) = cycle_clause {
            let CteCycleClause {
                cycle_col_list,
                cycle_mark_column,
                cycle_mark_value,
                cycle_mark_default,
                cycle_path_column,
                location: _,
                cycle_mark_type: _,
                cycle_mark_typmod: _,
                cycle_mark_collation: _,
                cycle_mark_neop: _,
            } = cycle.as_ref();
            strings(cycle_col_list)?;
            self.partly.column(cycle_mark_column, None);
            self.partly.column(cycle_path_column, None);
            self.optional(cycle_mark_value)?;
            self.optional(cycle_mark_default)?;
        }
        self.query(ctequery.as_deref().ok_or_else(unreadable)?)
    }

    /// A query in a place where the grammar also takes a modification.
    pub(super) fn query(&mut self, node: &Node) -> Verdict {
        match inner(node)? {
            NodeEnum::SelectStmt(select) => self.select(select),
            NodeEnum::RawStmt(raw) => {
                let RawStmt { stmt, stmt_location: _, stmt_len: _ } = raw.as_ref();
                let stmt = stmt.as_deref().ok_or_else(unreadable)?;
                self.deeper(|walk| walk.query(stmt))
            }
            other => self.deeper(|walk| walk.modification(other)),
        }
    }

    pub(super) fn targets(&mut self, targets: &[Node]) -> Verdict {
        for target in targets {
            let NodeEnum::ResTarget(target) = inner(target)? else {
                return Err(unreadable());
            };
            let ResTarget { name, indirection, val, location: _ } = target.as_ref();
            self.partly.column(name, None);
            self.indirection(indirection, false)?;
            // The columns of a row, not the row.
            self.shows_row = val.as_deref().is_some_and(is_columns_of_row);
            self.optional(val)?;
            self.shows_row = false;
        }
        Ok(())
    }

    pub(super) fn sorts(&mut self, sorts: &[Node]) -> Verdict {
        for sort in sorts {
            let NodeEnum::SortBy(sort) = inner(sort)? else {
                return Err(unreadable());
            };
            let SortBy { node, sortby_dir: _, sortby_nulls: _, use_op, location } = sort.as_ref();
            if !use_op.is_empty() {
                self.operator(use_op, *location)?;
            }
            self.optional(node)?;
        }
        Ok(())
    }

    pub(super) fn window(&mut self, window: &WindowDef) -> Verdict {
        let WindowDef {
            name: _,
            refname: _,
            partition_clause,
            order_clause,
            frame_options: _,
            start_offset,
            end_offset,
            location: _,
        } = window;
        self.expressions(partition_clause)?;
        self.sorts(order_clause)?;
        self.optional(start_offset)?;
        self.optional(end_offset)
    }
}

/// `row.*` as an item of its own.
fn is_columns_of_row(node: &Node) -> bool {
    let Some(NodeEnum::ColumnRef(column)) = &node.node else { return false };
    matches!(column.fields.last().map(|field| &field.node), Some(Some(NodeEnum::AStar(_))))
}
