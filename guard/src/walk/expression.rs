//! Expressions: each kind that may stand in one, field by field.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AArrayExpr, AConst, AExpr, AExprKind, AIndices, AIndirection, BoolExpr, BooleanTest, CaseExpr, CaseWhen,
    CoalesceExpr, CollateClause, ColumnRef, GroupingFunc, GroupingSet, List, MinMaxExpr, NamedArgExpr, Node, NullTest,
    RowExpr, SqlValueFunction, SubLink, TypeCast, TypeName, XmlExpr, XmlOptionType, XmlSerialize,
};

use super::{Verdict, Walk, inner, string, strings, unknown, unreadable, xml};
use crate::refusal::{Refusal, Rule};

impl Walk<'_> {
    pub(super) fn expressions(&mut self, nodes: &[Node]) -> Verdict {
        nodes.iter().try_for_each(|node| self.expression(node))
    }

    pub(super) fn optional(&mut self, node: &Option<Box<Node>>) -> Verdict {
        node.as_deref().map_or(Ok(()), |node| self.expression(node))
    }

    pub(super) fn expression(&mut self, node: &Node) -> Verdict {
        let node = inner(node)?;
        self.deeper(|walk| walk.expression_kind(node))
    }

    fn expression_kind(&mut self, node: &NodeEnum) -> Verdict {
        match node {
            NodeEnum::AConst(constant) => {
                let AConst { isnull: _, location: _, val: _ } = constant;
                Ok(())
            }
            NodeEnum::ColumnRef(column) => self.column(column),
            NodeEnum::AExpr(expr) => self.operation(expr),
            NodeEnum::BoolExpr(expr) => {
                let BoolExpr { xpr: _, boolop: _, args, location: _ } = expr.as_ref();
                self.expressions(args)
            }
            NodeEnum::FuncCall(call) => self.call(call),
            NodeEnum::TypeCast(cast) => {
                let TypeCast { arg, type_name, location: _ } = cast.as_ref();
                self.optional(arg)?;
                let type_name = type_name.as_ref().ok_or_else(unreadable)?;
                self.type_of(type_name, arg.as_deref().is_some_and(is_literal))
            }
            NodeEnum::SubLink(link) => self.sublink(link),
            NodeEnum::CaseExpr(case) => self.case(case),
            NodeEnum::List(List { items }) => self.expressions(items),
            NodeEnum::AArrayExpr(AArrayExpr { elements, list_start: _, list_end: _, location: _ }) => {
                self.expressions(elements)
            }
            NodeEnum::RowExpr(row) => {
                let RowExpr { xpr: _, args, row_typeid: _, row_format: _, colnames, location: _ } = row.as_ref();
                strings(colnames)?;
                self.expressions(args)
            }
            NodeEnum::CoalesceExpr(expr) => {
                let CoalesceExpr { xpr: _, coalescetype: _, coalescecollid: _, args, location: _ } = expr.as_ref();
                self.expressions(args)
            }
            NodeEnum::MinMaxExpr(expr) => {
                let MinMaxExpr { xpr: _, minmaxtype: _, minmaxcollid: _, inputcollid: _, op: _, args, location: _ } =
                    expr.as_ref();
                self.expressions(args)
            }
            NodeEnum::NullTest(test) => {
                let NullTest { xpr: _, arg, nulltesttype: _, argisrow: _, location: _ } = test.as_ref();
                self.optional(arg)
            }
            NodeEnum::BooleanTest(test) => {
                let BooleanTest { xpr: _, arg, booltesttype: _, location: _ } = test.as_ref();
                self.optional(arg)
            }
            NodeEnum::AIndirection(indirection) => self.indirected(indirection),
            NodeEnum::CollateClause(collate) => self.collation(collate),
            NodeEnum::NamedArgExpr(named) => {
                let NamedArgExpr { xpr: _, arg, name: _, argnumber: _, location: _ } = named.as_ref();
                self.optional(arg)
            }
            NodeEnum::SqlvalueFunction(value) => {
                let SqlValueFunction { xpr: _, op: _, r#type: _, typmod: _, location: _ } = value.as_ref();
                Ok(())
            }
            NodeEnum::GroupingSet(GroupingSet { kind: _, content, location: _ }) => self.expressions(content),
            NodeEnum::GroupingFunc(grouping) => {
                let GroupingFunc { xpr: _, args, refs: _, agglevelsup: _, location: _ } = grouping.as_ref();
                self.expressions(args)
            }
            NodeEnum::XmlExpr(xml) => self.xml(xml),
            NodeEnum::XmlSerialize(xml) => {
                let XmlSerialize { xmloption, expr, type_name, indent, location } = xml.as_ref();
                let document = *xmloption != XmlOptionType::XmloptionContent as i32;
                if (document || *indent) && !expr.as_deref().is_some_and(is_plain) {
                    return Err(xml::refused("XMLSERIALIZE").at(self.position(*location)));
                }
                self.optional(expr)?;
                self.type_name(type_name.as_ref().ok_or_else(unreadable)?)
            }
            NodeEnum::SetToDefault(_) => self.default_value(),
            NodeEnum::MultiAssignRef(assign) => self.multi_assign(assign),
            NodeEnum::ParamRef(param) => Err(Refusal::new(
                Rule::ExpressionParameter,
                format!("${} stands for a value that nobody gives", param.number),
                "Write the value itself into the statement, as a literal.",
            )
            .at(self.position(param.location))),
            other => self.json(other),
        }
    }

    fn column(&mut self, column: &ColumnRef) -> Verdict {
        let ColumnRef { fields, location } = column;
        let position = self.position(*location);
        if !std::mem::take(&mut self.shows_row) {
            self.made.reference(column, position);
        }
        let qualified = fields.len() > 1;
        for (at, field) in fields.iter().enumerate() {
            match inner(field)? {
                NodeEnum::String(name) => {
                    self.partly.column(&name.sval, position);
                    if at + 1 == fields.len() {
                        self.partly.last(&name.sval, qualified, position);
                    }
                    // The first name is a column or a relation; a later one may
                    // be a function of the row.
                    if qualified && at > 0 {
                        let alias = if at == 1 { Some(string(&fields[0])?) } else { None };
                        if xml::is_cast(&name.sval) {
                            self.xml_rows.insert(alias.unwrap_or_default().to_owned());
                        }
                        self.attribute(alias, &name.sval, false, position)?;
                    }
                }
                NodeEnum::AStar(_) => self.partly.star(position),
                _ => return Err(unreadable()),
            }
        }
        Ok(())
    }

    fn indirected(&mut self, indirection: &AIndirection) -> Verdict {
        let AIndirection { arg, indirection } = indirection;
        let arg = arg.as_deref().ok_or_else(unreadable)?;
        self.expression(arg)?;
        // Also a lone name is no alias for certain: a column goes first.
        self.indirection(indirection, certainly_no_row(inner(arg)?))
    }

    /// Subscripts and attributes behind an expression. `call` says that the
    /// expression cannot be a row, so that an attribute calls a function.
    pub(super) fn indirection(&mut self, steps: &[Node], mut call: bool) -> Verdict {
        for step in steps {
            match inner(step)? {
                NodeEnum::String(name) => {
                    self.partly.column(&name.sval, None);
                    if xml::is_cast(&name.sval) {
                        return Err(xml::refused("attribute notation for a cast to xml"));
                    }
                    self.attribute(None, &name.sval, call, None)?;
                }
                NodeEnum::AStar(_) => self.partly.star(None),
                NodeEnum::AIndices(indices) => {
                    let AIndices { is_slice: _, lidx, uidx } = indices.as_ref();
                    self.optional(lidx)?;
                    self.optional(uidx)?;
                }
                _ => return Err(unreadable()),
            }
            // What an attribute or an element is, only the catalog knows.
            call = false;
        }
        Ok(())
    }

    fn operation(&mut self, expr: &AExpr) -> Verdict {
        let AExpr { kind, name, lexpr, rexpr, rexpr_list_start: _, rexpr_list_end: _, location } = expr;
        match AExprKind::try_from(*kind).map_err(|_| unknown())? {
            AExprKind::AexprOp
            | AExprKind::AexprOpAny
            | AExprKind::AexprOpAll
            | AExprKind::AexprDistinct
            | AExprKind::AexprNotDistinct
            | AExprKind::AexprNullif
            | AExprKind::AexprIn
            | AExprKind::AexprLike
            | AExprKind::AexprIlike
            | AExprKind::AexprSimilar => self.operator(name, *location)?,
            // Their name is the keyword; they use <= and >=.
            AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => {
                for hidden in ["<", "<=", ">", ">="] {
                    self.operator_named(None, hidden, self.position(*location))?;
                }
            }
            AExprKind::Undefined => return Err(unknown()),
        }
        self.optional(lexpr)?;
        self.optional(rexpr)
    }

    fn sublink(&mut self, link: &SubLink) -> Verdict {
        let SubLink { xpr: _, sub_link_type: _, sub_link_id: _, testexpr, oper_name, subselect, location } = link;
        if !oper_name.is_empty() {
            self.operator(oper_name, *location)?;
        }
        // IN (SELECT ...) compares with =.
        if testexpr.is_some() && oper_name.is_empty() {
            self.operator_named(None, "=", self.position(*location))?;
        }
        self.optional(testexpr)?;
        match inner(subselect.as_deref().ok_or_else(unreadable)?)? {
            NodeEnum::SelectStmt(select) => self.select(select),
            _ => Err(unknown()),
        }
    }

    fn case(&mut self, case: &CaseExpr) -> Verdict {
        let CaseExpr { xpr: _, casetype: _, casecollid: _, arg, args, defresult, location } = case;
        if arg.is_some() {
            self.operator_named(None, "=", self.position(*location))?;
        }
        self.optional(arg)?;
        for when in args {
            let NodeEnum::CaseWhen(when) = inner(when)? else {
                return Err(unreadable());
            };
            let CaseWhen { xpr: _, expr, result, location: _ } = when.as_ref();
            self.optional(expr)?;
            self.optional(result)?;
        }
        self.optional(defresult)
    }

    pub(super) fn collation(&mut self, collate: &CollateClause) -> Verdict {
        let CollateClause { arg, collname, location: _ } = collate;
        strings(collname)?;
        self.optional(arg)
    }

    fn xml(&mut self, xml: &XmlExpr) -> Verdict {
        let XmlExpr {
            xpr: _,
            op,
            name: _,
            named_args,
            arg_names,
            args,
            xmloption: _,
            indent: _,
            r#type: _,
            typmod: _,
            location,
        } = xml;
        xml::parsed(*op, args).map_err(|refusal| refusal.at(self.position(*location)))?;
        self.targets(named_args)?;
        strings(arg_names)?;
        self.expressions(args)
    }

    pub(super) fn type_name(&mut self, type_name: &TypeName) -> Verdict {
        self.type_of(type_name, false)
    }

    /// A type that a value is made one of; a literal is as short as the text.
    fn type_of(&mut self, type_name: &TypeName, literal: bool) -> Verdict {
        let TypeName { names, type_oid: _, setof, pct_type, typmods, typemod: _, array_bounds, location } = type_name;
        let names = strings(names)?;
        let temporary = names.len() > 1 && names[0].starts_with("pg_temp");
        if *setof || *pct_type || temporary || names.len() > 2 {
            return Err(Refusal::new(
                Rule::TypeRefused,
                format!("the type {} may not be used here", names.join(".")),
                "Name the type plainly, as in numeric(10,2), text[] or schema.type.",
            )
            .at(self.position(*location)));
        }
        if !literal && xml::is_type(&names) {
            return Err(xml::refused("a cast to xml").at(self.position(*location)));
        }
        match names.as_slice() {
            [name] => self.own_type(None, name, self.position(*location))?,
            [schema, name] => self.own_type(Some(schema), name, self.position(*location))?,
            _ => {}
        }
        self.expressions(typmods)?;
        // The bounds are integers, -1 where none is written.
        array_bounds.iter().try_for_each(|bound| match inner(bound)? {
            NodeEnum::Integer(_) => Ok(()),
            _ => Err(unreadable()),
        })
    }
}

pub(super) fn is_literal(node: &Node) -> bool {
    matches!(node.node, Some(NodeEnum::AConst(_)))
}

/// A value that stands in a table or in the text, and was not computed.
pub(super) fn is_plain(node: &Node) -> bool {
    is_literal(node) || matches!(node.node, Some(NodeEnum::ColumnRef(_)))
}

/// Whether an expression cannot be a row, whatever the catalog holds.
pub(super) fn certainly_no_row(node: &NodeEnum) -> bool {
    match node {
        NodeEnum::AConst(_)
        | NodeEnum::BoolExpr(_)
        | NodeEnum::NullTest(_)
        | NodeEnum::BooleanTest(_)
        | NodeEnum::AArrayExpr(_)
        | NodeEnum::SqlvalueFunction(_)
        | NodeEnum::XmlExpr(_)
        | NodeEnum::XmlSerialize(_) => true,
        NodeEnum::CollateClause(_) => true,
        NodeEnum::TypeCast(cast) => cast.type_name.as_ref().is_some_and(is_builtin_type),
        _ => false,
    }
}

/// Types that the grammar itself qualifies, and the usual ones by name.
fn is_builtin_type(type_name: &TypeName) -> bool {
    const USUAL: &[&str] = &[
        "bytea",
        "cidr",
        "date",
        "float4",
        "float8",
        "inet",
        "int2",
        "int4",
        "int8",
        "json",
        "jsonb",
        "money",
        "name",
        "oid",
        "regclass",
        "regproc",
        "regprocedure",
        "regrole",
        "regtype",
        "text",
        "timestamp",
        "timestamptz",
        "tsvector",
        "uuid",
        "xml",
    ];
    match strings(&type_name.names).as_deref() {
        Ok(["pg_catalog", name]) => *name != "record",
        Ok([name]) => USUAL.contains(name),
        _ => false,
    }
}
