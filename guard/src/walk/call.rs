//! Names that call something: functions, operators, attributes.

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, Node, a_const};

use super::{Verdict, Walk, strings, unreadable};
use crate::checked::FunctionName;
use crate::functions::{self, Class, Verdict as Judged};
use crate::operators;
use crate::refusal::{Position, Refusal, Rule};

const CATALOG: &str = "pg_catalog";

impl Walk<'_> {
    pub(super) fn call(&mut self, call: &FuncCall) -> Verdict {
        let FuncCall {
            funcname,
            args,
            agg_order,
            agg_filter,
            over,
            agg_within_group: _,
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
        self.function(&name, position)?;
        if name.name == "current_setting" && name.schema.as_deref().is_none_or(|schema| schema == CATALOG) {
            self.current_setting(args).map_err(|refusal| refusal.at(position))?;
        }
        self.functions.insert(name);
        self.expressions(args)?;
        self.sorts(agg_order)?;
        self.optional(agg_filter)?;
        over.as_deref().map_or(Ok(()), |window| self.window(window))
    }

    fn function(&self, name: &FunctionName, position: Option<Position>) -> Verdict {
        let schema = name.schema.as_deref().unwrap_or(CATALOG);
        if self.rules.functions.contains(&format!("{schema}.{}", name.name)) {
            return Ok(());
        }
        let judged = if schema == CATALOG {
            functions::verdict(&name.name, self.rules.major())
        } else {
            functions::refused(&name.name).map_or(Judged::Unknown, Judged::Refused)
        };
        match judged {
            Judged::Allowed => Ok(()),
            Judged::Refused(class) => Err(refused(name, class).at(position)),
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
    pub(super) fn attribute(&mut self, name: &str, call: bool, position: Option<Position>) -> Verdict {
        let name = FunctionName { schema: None, name: name.to_owned() };
        if call {
            self.function(&name, position)?;
            if name.name == "current_setting" {
                return Err(refused(&name, Class::Setting).at(position));
            }
            self.functions.insert(name);
            return Ok(());
        }
        match functions::refused(&name.name) {
            _ if name.name == "current_setting" => Err(refused(&name, Class::Server).at(position)),
            Some(class) => Err(refused(&name, class).at(position)),
            None => Ok(()),
        }
    }

    /// An operator, plain or as OPERATOR(schema.name).
    pub(super) fn operator(&self, name: &[Node], location: i32) -> Verdict {
        let parts = strings(name)?;
        let plain = match parts.as_slice() {
            [plain] | [CATALOG, plain] => *plain,
            [] => return Err(unreadable()),
            _ => "",
        };
        if operators::is_builtin(plain) || self.rules.operators.contains(plain) {
            return Ok(());
        }
        Err(Refusal::new(
            Rule::OperatorUnknown,
            format!("the operator {} is not one of PostgreSQL's own", parts.join(".")),
            "Use built-in operators without OPERATOR(...). Operators of extensions can be used only when the role names them.",
        )
        .at(self.position(location)))
    }
}

fn refused(name: &FunctionName, class: Class) -> Refusal {
    Refusal::new(
        Rule::FunctionRefused,
        format!("the function {name}() is not allowed: it {}", class.does()),
        class.hint(),
    )
}
