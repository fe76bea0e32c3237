//! Why a statement was allowed, name by name, for people who ask (`nlactl check
//! --explain`). Looked up again from the verdict's own lists: the walk itself
//! keeps no notes, because nearly nobody asks.

use crate::checked::{CheckedSql, FunctionName, RelationName};
use crate::functions;
use crate::rules::Rules;

/// What stands behind one name of an allowed statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// `relation` or `function`.
    pub kind: &'static str,
    /// As PostgreSQL resolves it, where a catalog tells.
    pub name: String,
    /// Why it may be used.
    pub why: String,
}

impl CheckedSql {
    /// Why each relation and function of the statement may be used under the
    /// rules that it was checked with.
    #[must_use]
    pub fn decided(&self, rules: &Rules) -> Vec<Decision> {
        let relations = self.relations.iter().map(|name| Decision {
            kind: "relation",
            name: name.to_string(),
            why: relation(name, rules).to_owned(),
        });
        let functions = self.functions.iter().map(|name| function(name, rules));
        relations.chain(functions).collect()
    }
}

fn relation(name: &RelationName, rules: &Rules) -> &'static str {
    match name.schema.as_deref() {
        _ if rules.relations.contains(&name.to_string()) => "the role names it",
        Some("pg_catalog" | "information_schema") => "PostgreSQL's own, and it describes the schema",
        _ if rules.catalog.is_some() => "of this database, and reading it runs nothing that does more than read",
        _ => "by its name only: no catalog was given",
    }
}

fn function(name: &FunctionName, rules: &Rules) -> Decision {
    let decision = |name: String, why: String| Decision { kind: "function", name, why };
    let own = rules.catalog.as_deref().into_iter().flat_map(|catalog| {
        let schema = name.schema.as_deref();
        catalog.functions(schema, &name.name, false).map(|function| function.schema.to_string())
    });
    let mut own: Vec<String> = own.map(|schema| format!("{schema}.{}", name.name)).collect();
    own.dedup();
    let schema = name.schema.as_deref().unwrap_or("pg_catalog");
    let builtin =
        schema == "pg_catalog" && functions::verdict(&name.name, rules.major()) == functions::Verdict::Allowed;
    if rules.functions.contains(&format!("{schema}.{}", name.name))
        || own.iter().any(|full| rules.functions.contains(full))
    {
        return decision(name.to_string(), "the role names it".to_owned());
    }
    let computes = format!("built into PostgreSQL {}, and only computes", rules.major());
    match (builtin, own.as_slice()) {
        (true, []) => decision(format!("pg_catalog.{}", name.name), computes),
        (true, own) => decision(
            name.to_string(),
            format!("{computes}; so do those of this database that it may stand for ({})", own.join(", ")),
        ),
        (false, []) => decision(name.to_string(), "the name of a type: a cast".to_owned()),
        (false, own) => decision(own.join(", "), "of this database, neither VOLATILE nor SECURITY DEFINER".to_owned()),
    }
}
