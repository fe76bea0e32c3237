//! Operators, and the folder that a new one starts with.

use std::path::PathBuf;

use nla_domain::clock::Timestamp;
use nla_proto::v1;
use serde::Serialize;

use super::{
    Listed,
    wire::{self, Meta, When},
};
use crate::output::{Cell, Show, Table, Tone};

/// An operator.
#[derive(Debug, Serialize)]
pub(crate) struct Operator {
    name: String,
    status: &'static str,
    level: &'static str,
    expires_at: When,
    revoked_at: When,
    #[serde(flatten)]
    meta: Meta,
}

impl Operator {
    pub(crate) fn from_wire(operator: v1::OperatorView) -> Self {
        let expires_at = When::from_wire(operator.expires_at.as_ref());
        let status = match () {
            () if operator.revoked_at.is_some() => "revoked",
            () if expires_at.is_past() => "expired",
            () => "active",
        };
        Self {
            name: operator.name,
            status,
            level: wire::level(operator.level),
            expires_at,
            revoked_at: When::from_wire(operator.revoked_at.as_ref()),
            meta: Meta::from_wire(operator.meta),
        }
    }
}

impl Listed for Operator {
    fn list(items: &[Self]) -> Table {
        items.iter().fold(Table::list(["NAME", "LEVEL", "STATUS", "EXPIRES", "CREATED BY"]), |table, operator| {
            let tone = if operator.status == "active" { Tone::Good } else { Tone::Bad };
            table.row([
                Cell::whole(&operator.name),
                Cell::whole(operator.level),
                Cell::whole(operator.status).toned(tone),
                operator.expires_at.relative(),
                super::or_dash(operator.meta.created_by.as_deref().unwrap_or_default()),
            ])
        })
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Show for Operator {
    fn table(&self) -> Table {
        let table = Table::fields()
            .field("Name", Cell::text(&self.name))
            .field("Level", Cell::text(self.level))
            .field("Status", Cell::text(self.status))
            .field("Expires", self.expires_at.full("-"));
        self.meta.rows(table)
    }

    fn essence(&self) -> Vec<String> {
        vec![self.name.clone()]
    }
}

/// What became of the caller's own certificate.
#[derive(Debug, Serialize)]
pub(crate) struct Renewal {
    name: String,
    /// False when it was not yet due.
    renewed: bool,
    expires_at: When,
}

impl Renewal {
    pub(crate) fn new(name: &str, renewed: bool, expires_at: Timestamp) -> Self {
        Self { name: name.to_owned(), renewed, expires_at: When(Some(expires_at)) }
    }
}

impl Show for Renewal {
    fn table(&self) -> Table {
        Table::fields()
            .field("Name", Cell::text(&self.name))
            .field("Renewed", Cell::text(if self.renewed { "yes" } else { "not yet due" }))
            .field("Expires", self.expires_at.full("-"))
    }

    fn essence(&self) -> Vec<String> {
        vec![self.name.clone()]
    }
}

/// A new operator with the folder to hand over.
#[derive(Debug, Serialize)]
pub(crate) struct NewOperator {
    pub(crate) operator: Operator,
    pub(crate) config_dir: PathBuf,
}

impl Show for NewOperator {
    fn table(&self) -> Table {
        self.operator.table().field("Folder", Cell::text(self.config_dir.display()))
    }

    fn essence(&self) -> Vec<String> {
        vec![self.config_dir.display().to_string()]
    }
}
