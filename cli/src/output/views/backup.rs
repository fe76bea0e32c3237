//! Backups, and checks of the store.

use std::path::Path;

use nla_domain::hex;
use nla_proto::{
    backup::BackupSum,
    v1::{self, BackupManifest},
};
use serde::Serialize;

use super::wire::When;
use crate::output::{Cell, Show, Table, bytes};

/// A backup that was made.
#[derive(Debug, Serialize)]
pub(crate) struct Backup {
    file: String,
    store: String,
    revision: u64,
    created_at: When,
    records: u64,
    bytes: u64,
    sha256: String,
}

impl Backup {
    pub(crate) fn new(file: &Path, begin: &v1::BackupBegin, sum: &BackupSum) -> Self {
        Self {
            file: file.display().to_string(),
            store: hex::encode(&begin.store_id),
            revision: begin.revision,
            created_at: When::from_wire(begin.created_at.as_ref()),
            records: sum.pairs,
            bytes: sum.bytes,
            sha256: hex::encode(&sum.sha256),
        }
    }
}

impl Show for Backup {
    fn table(&self) -> Table {
        Table::fields()
            .field("Backup", Cell::text(&self.file))
            .field("Store", Cell::text(&self.store))
            .field("Revision", Cell::text(self.revision))
            .field("Made", self.created_at.full("-"))
            .field("Records", Cell::text(self.records))
            .field("Size", Cell::text(bytes(self.bytes)))
            .field("SHA-256", Cell::text(&self.sha256))
    }

    fn essence(&self) -> Vec<String> {
        vec![self.file.clone()]
    }
}

/// What a backup says of itself, and that it is whole.
#[derive(Debug, Serialize)]
pub(crate) struct BackupInfo {
    #[serde(flatten)]
    backup: Backup,
    epoch: String,
    audit_events: u64,
    version: String,
    /// The checksum fits.
    whole: bool,
    /// Without the key nobody can tell.
    authenticated: bool,
}

impl BackupInfo {
    pub(crate) fn new(file: &Path, manifest: &BackupManifest, sum: &BackupSum) -> Self {
        let begin = v1::BackupBegin {
            store_id: manifest.store_id.clone(),
            revision: manifest.revision,
            created_at: manifest.created_at,
            pairs: sum.pairs,
        };
        Self {
            backup: Backup::new(file, &begin, sum),
            epoch: hex::encode(&manifest.epoch),
            audit_events: manifest.audit_count,
            version: manifest.version.clone(),
            whole: true,
            authenticated: false,
        }
    }
}

impl Show for BackupInfo {
    fn table(&self) -> Table {
        self.backup
            .table()
            .field("Epoch", Cell::text(&self.epoch))
            .field("Audit events", Cell::text(self.audit_events))
            .field("Made by", Cell::text(format_args!("version {}", self.version)))
            .field("Checksum", Cell::text("fits: the file is whole"))
            .field("Authentic", Cell::text("not known: `nla-control-plane verify-backup` tells, with the key"))
    }

    fn essence(&self) -> Vec<String> {
        self.backup.essence()
    }
}

/// A store that was checked.
#[derive(Debug, Serialize)]
pub(crate) struct Verified {
    sound: bool,
    revision: u64,
    records: u64,
    audit_events: u64,
}

impl Verified {
    pub(crate) fn from_wire(answer: &v1::VerifyStoreResponse) -> Self {
        Self { sound: true, revision: answer.revision, records: answer.records, audit_events: answer.audit_events }
    }
}

impl Show for Verified {
    fn table(&self) -> Table {
        Table::fields()
            .field("Store", Cell::text("sound"))
            .field("Revision", Cell::text(self.revision))
            .field("Records", Cell::text(self.records))
            .field("Audit events", Cell::text(self.audit_events))
    }

    fn essence(&self) -> Vec<String> {
        vec![self.revision.to_string()]
    }
}
