//! Whether a backup is a whole store: each record opens at its place, the sums
//! are those of the head, the log of changes fits, and the audit log is
//! complete. The same as opening the store and walking its audit log, in one
//! pass over the file; what is remembered meanwhile is the log of changes.

use std::{
    collections::{BTreeMap, HashMap},
    io::Read,
    path::Path,
};

use nla_domain::{hex, id::Revision};
use nla_proto::{
    backup::{BackupError, BackupPair, BackupReader, BackupSum},
    v1,
};

use super::{RestoreError, backup_key, tag};
use crate::{
    crypto::{Kek, Keyring, Tree, WrappedKeys},
    store::{
        audit::Walk,
        error::StoreError,
        head::{HEAD_KEY, Head, KindSum},
        header, load,
        record::RecordKey,
    },
};

/// What a whole and sound backup holds.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupReport {
    /// What it says of itself.
    pub manifest: v1::BackupManifest,
    /// The file.
    pub sum: BackupSum,
    /// The revision.
    pub revision: Revision,
    /// Records that were opened.
    pub records: u64,
    /// Audit events that were opened and chained.
    pub audit_events: u64,
}

/// A backup before its keys are opened.
#[derive(Debug)]
pub struct Locked<R> {
    reader: BackupReader<R>,
    keys: WrappedKeys,
}

/// A backup whose keys are open and whose beginning is authentic.
#[derive(Debug)]
pub struct Unlocked<R> {
    reader: BackupReader<R>,
    keyring: Keyring,
}

impl<R: Read> Locked<R> {
    /// Reads the beginning. `path` names the file in errors.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn open(input: R, path: &Path) -> Result<Self, RestoreError> {
        let reader = BackupReader::open(input)?;
        let keys = header::parse(reader.header(), path).map_err(|error| match error {
            StoreError::Header { .. } => BackupError::Damaged { what: "its header does not fit" }.into(),
            other => RestoreError::from(other),
        })?;
        Ok(Self { reader, keys })
    }

    /// Whose backup it is.
    pub fn store_id(&self) -> &[u8] {
        &self.keys.store_id
    }

    /// Opens its keys.
    ///
    /// # Errors
    /// [`RestoreError`] for a wrong key, or when the beginning is not what was
    /// written under it.
    pub fn unlock(self, kek: &Kek) -> Result<Unlocked<R>, RestoreError> {
        let Self { mut reader, keys } = self;
        let keyring = Keyring::unwrap(kek, &keys).map_err(StoreError::from)?;
        reader.authenticate(backup_key(&keyring))?;
        if reader.manifest().store_id != keys.store_id {
            return Err(BackupError::Foreign.into());
        }
        Ok(Unlocked { reader, keyring })
    }
}

impl<R: Read> Unlocked<R> {
    /// What it says of itself.
    pub fn manifest(&self) -> &v1::BackupManifest {
        self.reader.manifest()
    }

    pub(super) fn header(&self) -> &[u8] {
        self.reader.header()
    }

    /// Reads it to its end, and hands each pair on once it was opened.
    ///
    /// # Errors
    /// [`RestoreError`]; then nothing that was handed on may be used.
    pub(super) fn read(
        mut self,
        mut take: impl FnMut(Tree, BackupPair) -> Result<(), RestoreError>,
    ) -> Result<(BackupReport, Keyring), RestoreError> {
        let mut check = Check::new(&self.keyring);
        while let Some(pair) = self.reader.next_pair()? {
            let tree = Tree::ALL.into_iter().find(|tree| tag(*tree) == pair.tree);
            let tree = tree.ok_or(BackupError::Damaged { what: "it holds a part that is not known" })?;
            let (key, sealed) = (pair.key, pair.value);
            let place = (key, sealed);
            check.pair(tree, &place)?;
            take(tree, BackupPair { tree: pair.tree, key: place.0, value: place.1 })?;
        }
        let (head, records, audit_events) = check.finish()?;
        let manifest = self.reader.manifest().clone();
        let same = (&head.epoch.0[..], head.revision.0, head.commits, head.audit_count)
            == (&manifest.epoch[..], manifest.revision, manifest.commits, manifest.audit_count);
        let counts = manifest.trees.iter().all(|tree| {
            let known = Tree::ALL.into_iter().find(|known| known.as_str() == tree.name);
            known.is_some_and(|known| self.reader.pairs(tag(known)) == tree.pairs)
        });
        if !same || !counts {
            return Err(BackupError::Damaged { what: "its manifest does not fit its content" }.into());
        }
        let sum = self.reader.sum().unwrap_or_default();
        Ok((BackupReport { manifest, sum, revision: head.revision, records, audit_events }, self.keyring))
    }

    /// Reads it to its end.
    ///
    /// # Errors
    /// [`RestoreError`] names the first thing that does not fit.
    pub fn verify(self) -> Result<BackupReport, RestoreError> {
        self.read(|_, _| Ok(())).map(|(report, _)| report)
    }
}

/// What was last written to a record's place.
struct Last {
    name: String,
    element: Vec<u8>,
}

struct Check<'a> {
    keyring: &'a Keyring,
    head: Option<Head>,
    /// Revision of the next entry in the log of changes.
    change: u64,
    last: HashMap<Vec<u8>, Last>,
    kinds: BTreeMap<String, KindSum>,
    records: u64,
    settings: bool,
    walk: Option<Walk>,
}

impl<'a> Check<'a> {
    fn new(keyring: &'a Keyring) -> Self {
        Self {
            keyring,
            head: None,
            change: 0,
            last: HashMap::new(),
            kinds: BTreeMap::new(),
            records: 0,
            settings: false,
            walk: Some(Walk::from(1)),
        }
    }

    fn pair(&mut self, tree: Tree, pair: &(Vec<u8>, Vec<u8>)) -> Result<(), StoreError> {
        let (key, sealed) = pair;
        if tree != Tree::Meta && self.head.is_none() {
            return Err(StoreError::damaged("its head is missing"));
        }
        match tree {
            Tree::Meta if key == HEAD_KEY => {
                let head = load::open_head(self.keyring, sealed)?;
                self.change = load::oldest_change(&head);
                self.head = Some(head);
                Ok(())
            }
            Tree::Meta => self.keyring.open(Tree::Meta, key, sealed).map(drop).map_err(|error| {
                StoreError::damaged(format!("the entry {:?} does not open: {error}", String::from_utf8_lossy(key)))
            }),
            Tree::Changes => self.change(key, sealed),
            Tree::State => self.record(key, sealed),
            Tree::Audit => self.walk.as_mut().map_or(Ok(()), |walk| walk.step(self.keyring, pair)),
        }
    }

    fn change(&mut self, key: &[u8], sealed: &[u8]) -> Result<(), StoreError> {
        if key != self.change.to_be_bytes() {
            return Err(load::misfit(self.change));
        }
        for record in load::open_change(self.keyring, self.change, sealed)?.records {
            self.last.insert(record.index, Last { name: record.name, element: record.element });
        }
        self.change += 1;
        Ok(())
    }

    fn record(&mut self, index: &[u8], sealed: &[u8]) -> Result<(), StoreError> {
        let (key, _) = load::record(self.keyring, index, sealed)?;
        let element = self.keyring.set_element(index, sealed);
        match self.last.remove(index) {
            Some(last) if last.element.is_empty() => return Err(StoreError::damaged(load::back(&last.name))),
            Some(last) if last.element != element => return Err(StoreError::damaged(load::older(&last.name))),
            _ => {}
        }
        self.settings |= key == RecordKey::Settings;
        let sum = self.kinds.entry(key.kind().into()).or_default();
        sum.count += 1;
        sum.toggle(&element);
        self.records += 1;
        Ok(())
    }

    /// The head, the number of records and that of audit events.
    fn finish(mut self) -> Result<(Head, u64, u64), StoreError> {
        let head = self.head.ok_or_else(|| StoreError::damaged("its head is missing"))?;
        if self.change != head.revision.0 + 1 {
            return Err(load::lacks(self.change));
        }
        if let Some(last) = self.last.values().find(|last| !last.element.is_empty()) {
            return Err(StoreError::damaged(load::gone(&last.name)));
        }
        load::compare(&head, &self.kinds)?;
        if !self.settings {
            return Err(StoreError::damaged("the settings are missing"));
        }
        let audit_events = self.walk.take().map_or(Ok(0), |walk| walk.end(&head))?;
        Ok((head, self.records, audit_events))
    }
}

impl std::fmt::Display for BackupReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let manifest = &self.manifest;
        let at = manifest.created_at.as_ref().and_then(|at| nla_proto::convert::from_timestamp("at", at).ok());
        writeln!(f, "  store         {}", hex::encode(&manifest.store_id))?;
        writeln!(
            f,
            "  made at       {} by version {}",
            at.map(|at| at.to_string()).unwrap_or_default(),
            manifest.version
        )?;
        writeln!(f, "  revision      {} of epoch {}", self.revision, hex::encode(&manifest.epoch))?;
        writeln!(f, "  records       {}", self.records)?;
        writeln!(f, "  audit events  {}", self.audit_events)?;
        writeln!(f, "  file          {} bytes, SHA-256 {}", self.sum.bytes, hex::encode(&self.sum.sha256))
    }
}
