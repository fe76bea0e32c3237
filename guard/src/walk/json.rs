//! SQL/JSON, which the grammar has its own nodes for.
//!
//! An older server reads `json_value(...)` as a call of anybody's function, so
//! each node is allowed only from the version on that has it.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    JsonAggConstructor, JsonArgument, JsonArrayAgg, JsonArrayConstructor, JsonArrayQueryConstructor, JsonBehavior,
    JsonFormat, JsonFuncExpr, JsonIsPredicate, JsonKeyValue, JsonObjectAgg, JsonObjectConstructor, JsonOutput,
    JsonParseExpr, JsonReturning, JsonScalarExpr, JsonSerializeExpr, JsonTable, JsonTableColumn, JsonTablePathSpec,
    JsonValueExpr, Node,
};

use super::{Verdict, Walk, inner, unknown, unreadable};
use crate::refusal::{Refusal, Rule};

/// The constructors and IS JSON came with PostgreSQL 16 ...
const CONSTRUCTORS: u16 = 16;
/// ... and the query functions with 17.
const QUERIES: u16 = 17;

impl Walk<'_> {
    /// Any SQL/JSON expression; what else comes here is unknown.
    pub(super) fn json(&mut self, node: &NodeEnum) -> Verdict {
        match node {
            NodeEnum::JsonIsPredicate(is) => {
                let JsonIsPredicate { expr, format: _, item_type: _, unique_keys: _, location } = is.as_ref();
                self.since(CONSTRUCTORS, *location)?;
                self.optional(expr)
            }
            NodeEnum::JsonObjectConstructor(object) => {
                let JsonObjectConstructor { exprs, output, absent_on_null: _, unique: _, location } = object;
                self.since(CONSTRUCTORS, *location)?;
                exprs.iter().try_for_each(|expr| match inner(expr)? {
                    NodeEnum::JsonKeyValue(pair) => self.pair(pair),
                    _ => Err(unreadable()),
                })?;
                self.output(output)
            }
            NodeEnum::JsonArrayConstructor(array) => {
                let JsonArrayConstructor { exprs, output, absent_on_null: _, location } = array;
                self.since(CONSTRUCTORS, *location)?;
                self.expressions(exprs)?;
                self.output(output)
            }
            NodeEnum::JsonArrayQueryConstructor(array) => {
                let JsonArrayQueryConstructor { query, output, format: _, absent_on_null: _, location } =
                    array.as_ref();
                self.since(CONSTRUCTORS, *location)?;
                match inner(query.as_deref().ok_or_else(unreadable)?)? {
                    NodeEnum::SelectStmt(select) => self.select(select)?,
                    _ => return Err(unknown()),
                }
                self.output(output)
            }
            NodeEnum::JsonObjectAgg(agg) => {
                let JsonObjectAgg { constructor, arg, absent_on_null: _, unique: _ } = agg.as_ref();
                self.aggregate(constructor.as_deref().ok_or_else(unreadable)?)?;
                self.pair(arg.as_deref().ok_or_else(unreadable)?)
            }
            NodeEnum::JsonArrayAgg(agg) => {
                let JsonArrayAgg { constructor, arg, absent_on_null: _ } = agg.as_ref();
                self.aggregate(constructor.as_deref().ok_or_else(unreadable)?)?;
                self.json_value(arg)
            }
            NodeEnum::JsonParseExpr(parse) => {
                let JsonParseExpr { expr, output, unique_keys: _, location } = parse.as_ref();
                self.since(QUERIES, *location)?;
                self.json_value(expr)?;
                self.output(output)
            }
            NodeEnum::JsonScalarExpr(scalar) => {
                let JsonScalarExpr { expr, output, location } = scalar.as_ref();
                self.since(QUERIES, *location)?;
                self.optional(expr)?;
                self.output(output)
            }
            NodeEnum::JsonSerializeExpr(serialize) => {
                let JsonSerializeExpr { expr, output, location } = serialize.as_ref();
                self.since(QUERIES, *location)?;
                self.json_value(expr)?;
                self.output(output)
            }
            NodeEnum::JsonFuncExpr(function) => self.json_function(function),
            NodeEnum::JsonValueExpr(value) => self.json_value_expr(value),
            _ => Err(unknown()),
        }
    }

    fn since(&self, major: u16, location: i32) -> Verdict {
        if self.rules.major() >= major {
            return Ok(());
        }
        Err(Refusal::new(
            Rule::ExpressionVersion,
            format!("this SQL/JSON expression needs PostgreSQL {major}; the server is {}", self.rules.major()),
            "Use json_build_object(), jsonb_build_array(), jsonb_agg(), to_jsonb(), jsonb_path_query(), the operators -> and ->>, and ::jsonb instead.",
        )
        .at(self.position(location)))
    }

    fn json_function(&mut self, function: &JsonFuncExpr) -> Verdict {
        let JsonFuncExpr {
            op: _,
            column_name: _,
            context_item,
            pathspec,
            passing,
            output,
            on_empty,
            on_error,
            wrapper: _,
            quotes: _,
            location,
        } = function;
        self.since(QUERIES, *location)?;
        self.json_value(context_item)?;
        self.optional(pathspec)?;
        self.passing(passing)?;
        self.output(output)?;
        self.behavior(on_empty)?;
        self.behavior(on_error)
    }

    pub(super) fn json_table(&mut self, table: &JsonTable) -> Verdict {
        let JsonTable { context_item, pathspec, passing, columns, on_error, alias, lateral: _, location } = table;
        self.since(QUERIES, *location)?;
        self.json_value(context_item)?;
        self.path(pathspec)?;
        self.passing(passing)?;
        self.json_columns(columns)?;
        self.behavior(on_error)?;
        alias.as_ref().map_or(Ok(()), |alias| self.alias(alias))
    }

    fn json_columns(&mut self, columns: &[Node]) -> Verdict {
        for column in columns {
            let NodeEnum::JsonTableColumn(column) = inner(column)? else {
                return Err(unreadable());
            };
            let JsonTableColumn {
                coltype: _,
                name,
                type_name,
                pathspec,
                format: _,
                wrapper: _,
                quotes: _,
                columns,
                on_empty,
                on_error,
                location: _,
            } = column.as_ref();
            self.partly.column(name, None);
            if let Some(type_name) = type_name {
                self.type_name(type_name)?;
            }
            self.path(pathspec)?;
            self.behavior(on_empty)?;
            self.behavior(on_error)?;
            self.deeper(|walk| walk.json_columns(columns))?;
        }
        Ok(())
    }

    fn path(&mut self, path: &Option<Box<JsonTablePathSpec>>) -> Verdict {
        let Some(path) = path else { return Ok(()) };
        let JsonTablePathSpec { string, name: _, name_location: _, location: _ } = path.as_ref();
        self.optional(string)
    }

    fn passing(&mut self, passing: &[Node]) -> Verdict {
        for argument in passing {
            let NodeEnum::JsonArgument(argument) = inner(argument)? else {
                return Err(unreadable());
            };
            let JsonArgument { val, name: _ } = argument.as_ref();
            self.json_value(val)?;
        }
        Ok(())
    }

    fn behavior(&mut self, behavior: &Option<Box<JsonBehavior>>) -> Verdict {
        let Some(behavior) = behavior else { return Ok(()) };
        let JsonBehavior { btype: _, expr, coerce: _, location: _ } = behavior.as_ref();
        self.optional(expr)
    }

    fn aggregate(&mut self, constructor: &JsonAggConstructor) -> Verdict {
        let JsonAggConstructor { output, agg_filter, agg_order, over, location } = constructor;
        self.since(CONSTRUCTORS, *location)?;
        self.output(output)?;
        self.optional(agg_filter)?;
        self.sorts(agg_order)?;
        over.as_deref().map_or(Ok(()), |window| self.window(window))
    }

    fn pair(&mut self, pair: &JsonKeyValue) -> Verdict {
        let JsonKeyValue { key, value } = pair;
        self.optional(key)?;
        self.json_value(value)
    }

    fn json_value(&mut self, value: &Option<Box<JsonValueExpr>>) -> Verdict {
        value.as_deref().map_or(Ok(()), |value| self.json_value_expr(value))
    }

    fn json_value_expr(&mut self, value: &JsonValueExpr) -> Verdict {
        let JsonValueExpr { raw_expr, formatted_expr, format: _ } = value;
        self.optional(raw_expr)?;
        self.optional(formatted_expr)
    }

    fn output(&mut self, output: &Option<JsonOutput>) -> Verdict {
        let Some(output) = output else { return Ok(()) };
        let JsonOutput { type_name, returning } = output;
        if let Some(JsonReturning { format, typid: _, typmod: _ }) = returning
            && let Some(JsonFormat { format_type: _, encoding: _, location: _ }) = format
        {
            // Nothing in a format is a name or an expression.
        }
        type_name.as_ref().map_or(Ok(()), |type_name| self.type_name(type_name))
    }
}
