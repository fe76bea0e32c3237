//! The control plane as a whole, this program's version, and its contexts.

use nla_domain::{clock::Timestamp, hex};
use nla_proto::v1;
use serde::Serialize;

use super::{
    Listed,
    wire::{self, When},
};
use crate::{
    context::{ConfigFile, Entry},
    output::{Cell, Show, Table, bytes},
};

/// State of the control plane, and who asked.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    control_plane: String,
    version: String,
    /// Hexadecimal.
    epoch: String,
    revision: u64,
    started_at: When,
    tokens_active: u64,
    databases: u64,
    roles: u64,
    edges_enrolled: u64,
    edges_connected: u64,
    audit_events: u64,
    store_bytes: u64,
    ca_expires_at: When,
    ca_phase: &'static str,
    keys_rotating: bool,
    last_backup_at: When,
    last_backup_revision: Option<u64>,
    /// Why the last scheduled backup failed.
    backup_error: Option<String>,
    restored_at: When,
    /// Tokens that edges saw revoked after the backup that was restored.
    tokens_revoked_again: u64,
    caller: String,
    caller_level: &'static str,
    certificate_expires_at: When,
}

impl Status {
    pub(crate) fn from_wire(url: &str, certificate_expires_at: Timestamp, status: v1::StatusResponse) -> Self {
        Self {
            control_plane: url.to_owned(),
            version: status.version,
            epoch: hex::encode(&status.epoch),
            revision: status.revision,
            started_at: When::from_wire(status.started_at.as_ref()),
            tokens_active: status.tokens_active,
            databases: status.databases,
            roles: status.roles,
            edges_enrolled: status.edges_enrolled,
            edges_connected: status.edges_connected,
            audit_events: status.audit_events,
            store_bytes: status.store_bytes,
            ca_expires_at: When::from_wire(status.ca_expires_at.as_ref()),
            ca_phase: super::ca::phase(status.ca_phase),
            keys_rotating: status.keys_rotating,
            last_backup_at: When::from_wire(status.last_backup_at.as_ref()),
            last_backup_revision: status.last_backup_at.map(|_| status.last_backup_revision),
            backup_error: Some(status.backup_error).filter(|error| !error.is_empty()),
            restored_at: When::from_wire(status.restored_at.as_ref()),
            tokens_revoked_again: status.tokens_revoked_again,
            caller: status.caller,
            caller_level: wire::level(status.caller_level),
            certificate_expires_at: When(Some(certificate_expires_at)),
        }
    }
}

impl Show for Status {
    fn table(&self) -> Table {
        let table = Table::fields()
            .field("Control plane", Cell::text(format_args!("{}, version {}", self.control_plane, self.version)))
            .field("You are", Cell::text(format_args!("{} ({})", self.caller, self.caller_level)))
            .field("Certificate ends", self.certificate_expires_at.full("-"))
            .field("Started", self.started_at.full("-"))
            .field("Revision", Cell::text(format_args!("{} of epoch {}", self.revision, self.epoch)))
            .field("Edges", Cell::text(format_args!("{} of {} connected", self.edges_connected, self.edges_enrolled)))
            .field("Active tokens", Cell::text(self.tokens_active))
            .field("Databases", Cell::text(self.databases))
            .field("Roles", Cell::text(self.roles))
            .field("Audit events", Cell::text(self.audit_events))
            .field("Store", Cell::text(bytes(self.store_bytes)))
            .field("CA expires", self.ca_expires_at.full("-"))
            .field("CA phase", Cell::text(self.ca_phase))
            .optional("Keys", if self.keys_rotating { "a rotation is under way: see `nlactl key status`" } else { "" })
            .field("Last backup", self.last_backup_at.full("none known: `nlactl system backup` makes one"));
        let table = match self.last_backup_revision {
            Some(revision) => table.field("Of revision", Cell::text(revision)),
            None => table,
        };
        let table = match &self.backup_error {
            Some(error) => table.field("Backup failed", Cell::text(error)),
            None => table,
        };
        if self.restored_at.0.is_none() {
            return table;
        }
        table.field("Restored", self.restored_at.full("-")).field(
            "Revoked again",
            Cell::text(format_args!("{} tokens, by what edges remembered", self.tokens_revoked_again)),
        )
    }

    fn essence(&self) -> Vec<String> {
        vec![self.revision.to_string()]
    }
}

/// This program.
#[derive(Debug, Serialize)]
pub(crate) struct Version {
    pub(crate) version: &'static str,
}

impl Show for Version {
    fn table(&self) -> Table {
        Table::fields().line(format_args!("nlactl {}", self.version))
    }

    fn essence(&self) -> Vec<String> {
        vec![self.version.to_owned()]
    }
}

/// A context of the configuration folder.
#[derive(Debug, Serialize)]
pub(crate) struct ContextView {
    name: String,
    current: bool,
    url: String,
    certificate: String,
    key: String,
    ca: String,
}

impl ContextView {
    pub(crate) fn all(config: &ConfigFile) -> Vec<Self> {
        let current = config.current_context.as_deref();
        config.contexts.iter().map(|entry| Self::new(entry, current == Some(&entry.name))).collect()
    }

    pub(crate) fn new(entry: &Entry, current: bool) -> Self {
        Self {
            name: entry.name.clone(),
            current,
            url: entry.url.clone(),
            certificate: entry.certificate.display().to_string(),
            key: entry.key.display().to_string(),
            ca: entry.ca.display().to_string(),
        }
    }
}

impl Listed for ContextView {
    fn list(items: &[Self]) -> Table {
        items.iter().fold(Table::list(["CURRENT", "NAME", "URL", "CERTIFICATE"]), |table, context| {
            table.row([
                Cell::text(if context.current { "*" } else { "" }),
                Cell::whole(&context.name),
                Cell::whole(&context.url),
                Cell::text(&context.certificate),
            ])
        })
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Show for ContextView {
    fn table(&self) -> Table {
        Table::fields().line(&self.name)
    }

    fn essence(&self) -> Vec<String> {
        vec![self.name.clone()]
    }
}
