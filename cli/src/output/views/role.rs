//! Roles: what a token may do.

use nla_proto::v1;
use serde::Serialize;

use super::{
    Listed,
    wire::{self, Meta},
};
use crate::output::{Cell, Show, Table};

/// A role.
#[derive(Debug, Serialize)]
pub(crate) struct Role {
    name: String,
    description: String,
    databases: Vec<String>,
    tools: Vec<String>,
    allow_explain_analyze: bool,
    max_rows: Option<u32>,
    sql_audit: &'static str,
    functions: Vec<String>,
    relations: Vec<String>,
    operators: Vec<String>,
    settings: Vec<String>,
    #[serde(flatten)]
    meta: Meta,
}

impl Role {
    pub(crate) fn from_wire(view: v1::RoleView) -> Self {
        let role = view.role.unwrap_or_default();
        Self {
            name: role.name,
            description: role.description,
            databases: role.databases,
            tools: role.tools.into_iter().map(|tool| wire::tool(tool).to_owned()).collect(),
            allow_explain_analyze: role.allow_explain_analyze,
            max_rows: (role.max_rows != 0).then_some(role.max_rows),
            sql_audit: wire::sql_audit(role.sql_audit),
            functions: role.functions,
            relations: role.relations,
            operators: role.operators,
            settings: role.settings,
            meta: Meta::from_wire(view.meta),
        }
    }
}

impl Listed for Role {
    fn list(items: &[Self]) -> Table {
        items.iter().fold(Table::list(["NAME", "DATABASES", "TOOLS", "DESCRIPTION"]), |table, role| {
            table.row([
                Cell::whole(&role.name),
                Cell::names(&role.databases),
                Cell::names(&role.tools),
                super::or_dash(&role.description),
            ])
        })
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Show for Role {
    fn table(&self) -> Table {
        let max_rows = self.max_rows.map_or_else(|| "the database's".to_owned(), |rows| rows.to_string());
        let table = Table::fields()
            .field("Name", Cell::text(&self.name))
            .optional("Description", &self.description)
            .field("Databases", Cell::names(&self.databases))
            .field("Tools", Cell::names(&self.tools))
            .field("Explain analyze", Cell::text(if self.allow_explain_analyze { "allowed" } else { "refused" }))
            .field("Max rows", Cell::text(max_rows))
            .field("SQL in audit", Cell::text(self.sql_audit))
            .optional("Allowed functions", &self.functions.join(", "))
            .optional("Allowed relations", &self.relations.join(", "))
            .optional("Allowed operators", &self.operators.join(" "))
            .optional("Allowed settings", &self.settings.join(", "));
        self.meta.rows(table)
    }

    fn essence(&self) -> Vec<String> {
        vec![self.name.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enum_names_are_those_of_the_command_line() {
        let role = v1::Role {
            tools: vec![v1::Tool::QueryDatabase.into(), 99],
            sql_audit: v1::SqlAudit::Fingerprint.into(),
            ..Default::default()
        };
        let json = serde_json::to_value(Role::from_wire(v1::RoleView { role: Some(role), meta: None })).unwrap();
        assert_eq!(json["tools"], serde_json::json!(["query_database", "unknown"]));
        assert_eq!(json["sql_audit"], "fingerprint");
        assert!(json["max_rows"].is_null());
    }
}
