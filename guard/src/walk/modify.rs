//! INSERT, UPDATE, DELETE and MERGE where they are planned only. Their
//! expressions are judged like those of a query, because planning evaluates
//! stable and immutable functions.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    DeleteStmt, IndexElem, InferClause, InsertStmt, MergeStmt, MergeWhenClause, MultiAssignRef, OnConflictClause,
    RangeVar, ReturningClause, UpdateStmt, WithClause,
};

use super::statement::refused;
use super::{Verdict, Walk, inner, strings, unknown, unreadable};
use crate::explain::not_explainable;

impl Walk<'_> {
    pub(super) fn modification(&mut self, statement: &NodeEnum) -> Verdict {
        if !self.modifies {
            return Err(refused(statement));
        }
        let outer = self.ctes.len();
        match statement {
            NodeEnum::SelectStmt(select) => self.select(select),
            NodeEnum::InsertStmt(insert) => self.insert(insert),
            NodeEnum::UpdateStmt(update) => self.update(update),
            NodeEnum::DeleteStmt(delete) => self.delete(delete),
            NodeEnum::MergeStmt(merge) => self.merge(merge),
            _ => Err(not_explainable()),
        }?;
        self.ctes.truncate(outer);
        Ok(())
    }

    fn head(&mut self, with: &Option<WithClause>, target: &Option<RangeVar>) -> Verdict {
        if let Some(with) = with {
            self.with(with)?;
        }
        self.table(target.as_ref().ok_or_else(unreadable)?)
    }

    fn insert(&mut self, insert: &InsertStmt) -> Verdict {
        let InsertStmt {
            relation,
            cols,
            select_stmt,
            on_conflict_clause,
            returning_clause,
            with_clause,
            r#override: _,
        } = insert;
        self.head(with_clause, relation)?;
        self.targets(cols)?;
        if let Some(select) = select_stmt {
            match inner(select)? {
                NodeEnum::SelectStmt(select) => self.select(select)?,
                _ => return Err(unknown()),
            }
        }
        if let Some(conflict) = on_conflict_clause {
            self.conflict(conflict)?;
        }
        self.returning(returning_clause)
    }

    fn conflict(&mut self, conflict: &OnConflictClause) -> Verdict {
        let OnConflictClause { action: _, infer, target_list, where_clause, location: _ } = conflict;
        if let Some(infer) = infer {
            let InferClause { index_elems, where_clause, conname: _, location: _ } = infer.as_ref();
            for elem in index_elems {
                let NodeEnum::IndexElem(elem) = inner(elem)? else {
                    return Err(unreadable());
                };
                let IndexElem {
                    name: _,
                    expr,
                    indexcolname: _,
                    collation,
                    opclass,
                    opclassopts,
                    ordering: _,
                    nulls_ordering: _,
                } = elem.as_ref();
                if !opclassopts.is_empty() {
                    return Err(unknown());
                }
                strings(collation)?;
                strings(opclass)?;
                self.optional(expr)?;
            }
            self.optional(where_clause)?;
        }
        self.targets(target_list)?;
        self.optional(where_clause)
    }

    fn update(&mut self, update: &UpdateStmt) -> Verdict {
        let UpdateStmt { relation, target_list, where_clause, from_clause, returning_clause, with_clause } = update;
        self.head(with_clause, relation)?;
        self.targets(target_list)?;
        self.sources(from_clause)?;
        self.optional(where_clause)?;
        self.returning(returning_clause)
    }

    fn delete(&mut self, delete: &DeleteStmt) -> Verdict {
        let DeleteStmt { relation, using_clause, where_clause, returning_clause, with_clause } = delete;
        self.head(with_clause, relation)?;
        self.sources(using_clause)?;
        self.optional(where_clause)?;
        self.returning(returning_clause)
    }

    fn merge(&mut self, merge: &MergeStmt) -> Verdict {
        let MergeStmt { relation, source_relation, join_condition, merge_when_clauses, returning_clause, with_clause } =
            merge;
        self.head(with_clause, relation)?;
        self.source(source_relation.as_deref().ok_or_else(unreadable)?)?;
        self.optional(join_condition)?;
        for when in merge_when_clauses {
            let NodeEnum::MergeWhenClause(when) = inner(when)? else {
                return Err(unreadable());
            };
            let MergeWhenClause { match_kind: _, command_type: _, r#override: _, condition, target_list, values } =
                when.as_ref();
            self.optional(condition)?;
            self.targets(target_list)?;
            self.expressions(values)?;
        }
        self.returning(returning_clause)
    }

    fn returning(&mut self, returning: &Option<ReturningClause>) -> Verdict {
        match returning {
            Some(ReturningClause { options: _, exprs }) => self.targets(exprs),
            None => Ok(()),
        }
    }

    /// `SET (a, b) = (...)`: the same source stands behind each of the columns.
    pub(super) fn multi_assign(&mut self, assign: &MultiAssignRef) -> Verdict {
        let MultiAssignRef { source, colno: _, ncolumns: _ } = assign;
        if !self.modifies {
            return Err(unknown());
        }
        self.optional(source)
    }

    /// DEFAULT in VALUES or SET, which only a modification can have.
    pub(super) fn default_value(&self) -> Verdict {
        if self.modifies { Ok(()) } else { Err(unknown()) }
    }
}
