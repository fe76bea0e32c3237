//! Names that call something: functions, operators, attributes.

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node, a_const};

use super::expression::{certainly_no_row, is_literal};
use super::made::{is_maker, shows_row};
use super::own::{Arguments, Own};
use super::{Verdict, Walk, inner, strings, xml};
use crate::checked::FunctionName;
use crate::functions::{self, Class, Verdict as Judged};
use crate::operators;
use crate::refusal::{Position, Refusal, Rule};

const CATALOG: &str = "pg_catalog";

impl<'a> Walk<'a> {
    pub(super) fn call(&mut self, call: &FuncCall) -> Verdict {
        let FuncCall {
            funcname,
            args,
            agg_order,
            agg_filter,
            over,
            agg_within_group,
            agg_star: _,
            agg_distinct: _,
            func_variadic: _,
            funcformat: _,
            location,
        } = call;
        let position = self.position(*location);
        let name = match strings(funcname)?.as_slice() {
            [name] => FunctionName { schema: None, name: (*name).to_owned() },
            [schema, name] => FunctionName { schema: Some((*schema).to_owned()), name: (*name).to_owned() },
            parts => {
                return Err(Refusal::new(
                    Rule::FunctionUnknown,
                    format!("{}() names a database", parts.join(".")),
                    "Write at most schema.function(...).",
                )
                .at(position));
            }
        };
        let ordered = if *agg_within_group { agg_order.len() } else { 0 };
        let first = args.first().map(inner).transpose()?;
        let named = args.iter().any(|arg| matches!(arg.node, Some(NodeEnum::NamedArgExpr(_))));
        let first_is_no_row = !named && first.is_some_and(certainly_no_row);
        let first_is_literal = first_is_no_row && first.is_some_and(is_untyped);
        let arguments = Arguments { count: args.len() + ordered, named, first_is_no_row, first_is_literal };
        // Before version 16 the grammar knew no json_object, and its name is
        // looked for like any other.
        let plain_before =
            name.schema.as_deref() == Some(CATALOG) && name.name == "json_object" && self.rules.major() < 16;
        let name = FunctionName { schema: name.schema.filter(|_| !plain_before), name: name.name };
        self.function(&name, &arguments, position)?;
        let builtin = name.schema.as_deref().is_none_or(|schema| schema == CATALOG);
        if builtin && xml::is_cast(&name.name) && !args.iter().all(is_literal) {
            return Err(xml::refused("a cast to xml").at(position));
        }
        if name.name == "current_setting" && name.schema.as_deref().is_none_or(|schema| schema == CATALOG) {
            self.current_setting(args).map_err(|refusal| refusal.at(position))?;
        }
        if is_maker(&name.name) {
            self.made.maker(position);
        }
        self.functions.insert(name);
        self.shows_row = shows_row(call);
        self.expressions(args)?;
        self.shows_row = false;
        self.sorts(agg_order)?;
        self.optional(agg_filter)?;
        over.as_deref().map_or(Ok(()), |window| self.window(window))
    }

    fn function(&mut self, name: &FunctionName, arguments: &Arguments, position: Option<Position>) -> Verdict {
        let schema = name.schema.as_deref().unwrap_or(CATALOG);
        let named = self.rules.functions.contains(&format!("{schema}.{}", name.name));
        let judged = if named {
            Judged::Allowed
        } else if schema == CATALOG {
            functions::verdict(&name.name, self.rules.major())
        } else {
            functions::refused(&name.name).map_or(Judged::Unknown, Judged::Refused)
        };
        let Some(catalog) = self.rules.catalog.as_deref() else {
            return self.function_by_name(name, judged, false, position);
        };
        // Nothing in the database can stand before one of PostgreSQL's own that
        // is refused.
        if let (Judged::Refused(class), CATALOG) = (judged, schema)
            && functions::is_builtin_refusal(&name.name)
        {
            return Err(refused(name, class).at(position));
        }
        // With one argument a type's name is a cast, also beside functions.
        if arguments.count == 1 && !arguments.named {
            self.own_type(name.schema.as_deref(), &name.name, position)?;
        }
        match self.own_function(catalog, name, arguments) {
            Own::Refused(refusal) => Err(refusal.at(position)),
            Own::Harmless => Ok(()),
            Own::Nothing | Own::OtherArguments
                if arguments.count == 1 && catalog.has_type(name.schema.as_deref(), &name.name) =>
            {
                Ok(())
            }
            Own::Nothing => self.function_by_name(name, judged, false, position),
            Own::OtherArguments => self.function_by_name(name, judged, true, position),
        }
    }

    fn function_by_name(
        &self,
        name: &FunctionName,
        judged: Judged,
        other_arguments: bool,
        position: Option<Position>,
    ) -> Verdict {
        match judged {
            Judged::Allowed => Ok(()),
            Judged::Refused(class) => Err(refused(name, class).at(position)),
            Judged::Unknown if other_arguments => Err(Refusal::new(
                Rule::FunctionUnknown,
                format!("the function {name}() does not take such arguments"),
                "Check the arguments in pg_proc, for example with pg_get_function_arguments(oid).",
            )
            .at(position)),
            Judged::Unknown if self.rules.catalog.is_some() => Err(Refusal::new(
                Rule::FunctionUnknown,
                format!(
                    "there is no function {name}() that may be used here, neither of PostgreSQL {} nor of this database",
                    self.rules.major()
                ),
                "Check the spelling and the schema, and use built-in functions.",
            )
            .at(position)),
            Judged::Unknown => Err(Refusal::new(
                Rule::FunctionUnknown,
                format!("the function {name}() is not one of PostgreSQL {}'s own that only compute", self.rules.major()),
                if name.schema.is_some() {
                    "Use built-in functions and operators. A function of this database can be called only when the role names it; the operator of this service can add it."
                } else {
                    "Check the spelling and use built-in functions. A function of this database can be called only when the role names it, written as schema.function(...)."
                },
            )
            .at(position)),
        }
    }

    /// current_setting('name') tells what SHOW tells.
    fn current_setting(&self, args: &[Node]) -> Verdict {
        if let Some(NodeEnum::AConst(constant)) = args.first().and_then(|arg| arg.node.as_ref())
            && let Some(a_const::Val::Sval(name)) = &constant.val
        {
            return self.setting(&name.sval);
        }
        Err(Refusal::new(
            Rule::ShowSetting,
            "current_setting() needs the setting's name as a plain literal",
            "Write the name of one harmless setting, as in current_setting('server_version').",
        ))
    }

    /// `row.name` or `(expression).name`, which is a column or calls a function.
    /// `call` says that it cannot be a column.
    pub(super) fn attribute(
        &mut self,
        alias: Option<&str>,
        name: &str,
        call: bool,
        position: Option<Position>,
    ) -> Verdict {
        let name = FunctionName { schema: None, name: name.to_owned() };
        if call {
            self.function(
                &name,
                &Arguments { count: 1, named: false, first_is_no_row: true, first_is_literal: true },
                position,
            )?;
            if name.name == "current_setting" {
                return Err(refused(&name, Class::Setting).at(position));
            }
            self.functions.insert(name);
            return Ok(());
        }
        match functions::refused(&name.name) {
            _ if name.name == "current_setting" => Err(refused(&name, Class::Server).at(position)),
            // A list of names must not hide the columns of a table.
            Some(class) if self.rules.catalog.is_none() || functions::is_builtin_refusal(&name.name) => {
                Err(refused(&name, class).at(position))
            }
            _ => match self.rules.catalog.as_deref() {
                Some(catalog) => self.own_attribute(catalog, alias, &name.name).map_err(|refusal| refusal.at(position)),
                None => Ok(()),
            },
        }
    }

    /// An operator, plain or as OPERATOR(schema.name).
    pub(super) fn operator(&mut self, name: &[Node], location: i32) -> Verdict {
        let (schema, plain) = match strings(name)?.as_slice() {
            [plain] => (None, *plain),
            [schema, plain] => (Some(*schema), *plain),
            parts => {
                let message = format!("the operator {} names a database", parts.join("."));
                return Err(Refusal::new(Rule::OperatorUnknown, message, "Write at most OPERATOR(schema.+).")
                    .at(self.position(location)));
            }
        };
        self.operator_named(schema, plain, self.position(location))
    }

    /// Also for the operators behind keywords, such as <= behind BETWEEN: the
    /// server looks for them in the same way.
    pub(super) fn operator_named(&mut self, schema: Option<&str>, plain: &str, position: Option<Position>) -> Verdict {
        // hstore's, for populate_record.
        if plain == "#=" {
            self.made.maker(position);
        }
        let builtin = schema.is_none_or(|schema| schema == CATALOG);
        if builtin && self.rules.operators.contains(plain) {
            return Ok(());
        }
        if let Some(verdict) = self.own_operator(schema, plain) {
            return verdict.map_err(|refusal| refusal.at(position));
        }
        if builtin && operators::is_builtin(plain) {
            return Ok(());
        }
        let full = schema.map_or_else(|| plain.to_owned(), |schema| format!("{schema}.{plain}"));
        let (message, hint) = if self.rules.catalog.is_some() {
            (
                format!("there is no operator {full}, neither of PostgreSQL's own nor of this database"),
                "Use built-in operators.",
            )
        } else {
            (
                format!("the operator {full} is not one of PostgreSQL's own"),
                "Use built-in operators without OPERATOR(...). Operators of extensions can be used only when the role names them.",
            )
        };
        Err(Refusal::new(Rule::OperatorUnknown, message, hint).at(position))
    }
}

/// A literal that takes the type which its place wants.
fn is_untyped(node: &NodeEnum) -> bool {
    let NodeEnum::AConst(constant) = node else { return false };
    constant.isnull || matches!(constant.val, Some(a_const::Val::Sval(_)))
}

fn refused(name: &FunctionName, class: Class) -> Refusal {
    Refusal::new(
        Rule::FunctionRefused,
        format!("the function {name}() is not allowed: it {}", class.does()),
        class.hint(),
    )
}
