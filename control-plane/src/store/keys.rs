//! Rotation of the store's own keys. Each step runs on the writer's thread,
//! between two commits, so that the header, the keys in memory and what is
//! sealed by them never part; each is idempotent, so that whoever finds it
//! half done after a restart runs it again.

use nla_domain::{error::ErrorKind, error::with_causes};
use nla_proto::{failure::Failure, v1};
use tokio::sync::oneshot;

use super::{
    Store,
    batch::Batch,
    error::StoreError,
    header,
    reseal::Slice,
    writer::{Order, Writer},
};
use crate::crypto::{KekFile, Keyring, Tree, WrappedKeys, sealed::MAX_SEALS};

/// What the store's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    /// Counts the key-encryption keys, from 1.
    pub kek_generation: u64,
    /// Generations of the data keys that are kept, oldest first.
    pub data_generations: Vec<u32>,
    /// Records that the newest data keys have sealed.
    pub seals: u64,
    /// Records that they may seal.
    pub max_seals: u64,
}

impl KeyFacts {
    /// The generation that seals.
    pub fn data_generation(&self) -> u32 {
        self.data_generations.last().copied().unwrap_or_default()
    }
}

fn failure(error: &StoreError) -> Failure {
    Failure::new(ErrorKind::Unavailable, with_causes(error))
}

impl Store {
    /// What the keys are now.
    ///
    /// # Errors
    /// When the header cannot be read.
    pub async fn key_facts(&self) -> Result<KeyFacts, Failure> {
        let dir = self.0.dir.clone();
        self.with_writer(move |writer| {
            let kek_generation = header::read(&dir)?.kek_generation();
            let seals = writer.head.seals_of(writer.keyring.newest(Tree::Meta));
            let data_generations = writer.keyring.generations();
            Ok(KeyFacts { kek_generation, data_generations, seals, max_seals: MAX_SEALS })
        })
        .await
    }

    /// How many records a tree holds, about.
    pub fn records(&self, tree: Tree) -> u64 {
        match tree {
            Tree::Meta => 1,
            Tree::State => self.state().count(),
            Tree::Changes => {
                let log = self.0.published.changes.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                log.len() as u64
            }
            Tree::Audit => *self.0.published.audit_count.borrow(),
        }
    }

    /// Tries whether the key-encryption key could be replaced, by replacing it
    /// by itself.
    ///
    /// # Errors
    /// When it could not.
    pub async fn kek_probe(&self, file: KekFile) -> Result<(), Failure> {
        let dir = self.0.dir.clone();
        self.with_writer(move |_| {
            let wrapped = header::read(&dir)?;
            let opens = |key: &_| Keyring::unwrap(key, &wrapped).is_ok();
            Keyring::unwrap(&file.settle(opens).map_err(StoreError::Key)?, &wrapped)?;
            file.rehearse().map_err(StoreError::Key)
        })
        .await
    }

    /// Replaces the key-encryption key, unless it is of that generation
    /// already.
    ///
    /// # Errors
    /// When it cannot be replaced. Whatever was begun is either undone or
    /// completed by the next call or start.
    pub async fn kek_replace(&self, file: KekFile, generation: u64) -> Result<(), Failure> {
        let dir = self.0.dir.clone();
        self.with_writer(move |_| replace_kek(&dir, &file, generation)).await
    }

    /// Brings in data keys of that generation, which seal from then on.
    ///
    /// # Errors
    /// When the header cannot be written; the old keys stay in use then.
    pub async fn data_keys_add(&self, file: KekFile, generation: u32) -> Result<(), Failure> {
        let dir = self.0.dir.clone();
        self.with_writer(move |writer| {
            if writer.keyring.newest(Tree::Meta) >= generation {
                return Ok(());
            }
            rewrite(&dir, &file, writer, |wrapped, kek| wrapped.with_generation(kek, generation))
        })
        .await
    }

    /// Seals a slice of a tree anew.
    ///
    /// # Errors
    /// When it cannot be committed, or a record does not open.
    pub async fn reseal(&self, tree: Tree, after: Option<Vec<u8>>) -> Result<Slice, Failure> {
        self.ask_writer(move |writer| {
            writer.alone(|batch: &mut Batch<'_>, backend| batch.reseal(backend, tree, after.as_deref()))
        })
        .await
    }

    /// Destroys all data keys but those of generation `newest`. Only after a
    /// whole pass over all trees has found nothing that others have sealed.
    ///
    /// # Errors
    /// When the event, the mark or the header cannot be written; the old keys
    /// are kept then.
    pub async fn data_keys_destroy(&self, file: KekFile, newest: u32, event: v1::AdminEvent) -> Result<(), Failure> {
        let dir = self.0.dir.clone();
        self.ask_writer(move |writer| {
            if writer.keyring.newest(Tree::Meta) != newest {
                let message = "newer data keys have come in: all records are looked at once more";
                return Err(Failure::new(ErrorKind::Conflict, message));
            }
            // The commit seals the head anew, and the mark follows it; only
            // then does nothing need the old keys.
            writer.alone(|batch: &mut Batch<'_>, _| batch.append_admin(event))?;
            let marked = writer.mark.advance(&writer.keyring, writer.head.commits).and_then(|()| writer.mark.sync());
            marked.map_err(|error| failure(&error))?;
            rewrite(&dir, &file, writer, |wrapped, kek| wrapped.without_before(kek, newest))
                .map_err(|error| failure(&error))
        })
        .await
    }

    async fn with_writer<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Failure> {
        self.ask_writer(move |writer| step(writer).map_err(|error| failure(&error))).await
    }

    async fn ask_writer<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Writer) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, answered) = oneshot::channel();
        // Nobody waits any more: the step is made all the same.
        let order = Order::Keys(Box::new(move |writer| drop(answer.send(step(writer)))));
        self.send(order).await?;
        let lost = |_| Failure::new(ErrorKind::Internal, "the store's writer has stopped: restart the control plane");
        answered.await.map_err(lost)?
    }
}

/// The order matters: at each moment one of the two key files opens the header.
pub(super) fn replace_kek(dir: &std::path::Path, file: &KekFile, generation: u64) -> Result<(), StoreError> {
    let wrapped = header::read(dir)?;
    let old = file.settle(|key| Keyring::unwrap(key, &wrapped).is_ok()).map_err(StoreError::Key)?;
    if wrapped.kek_generation() >= generation {
        return Ok(());
    }
    Keyring::unwrap(&old, &wrapped)?;
    // It may have been a while since the request was tried.
    file.rehearse().map_err(StoreError::Key)?;
    let new = file.stage().map_err(StoreError::Key)?;
    let written = wrapped.rewrapped(&old, &new, generation).map_err(StoreError::from);
    if let Err(error) = written.and_then(|wrapped| Ok(header::write(dir, &wrapped)?)) {
        // The header that is found was there before, or has taken its place. If
        // that cannot be told, both keys stay, and the next attempt or start
        // finds out.
        if header::read(dir).is_ok_and(|found| Keyring::unwrap(&old, &found).is_ok()) {
            file.unstage(&new);
        }
        return Err(error);
    }
    file.install().map_err(StoreError::Key)
}

/// Changes the wrapped data keys on the disk, then in memory.
fn rewrite(
    dir: &std::path::Path,
    file: &KekFile,
    writer: &Writer,
    change: impl FnOnce(&WrappedKeys, &crate::crypto::Kek) -> Result<WrappedKeys, crate::crypto::KeyringError>,
) -> Result<(), StoreError> {
    let wrapped = header::read(dir)?;
    let kek = file.settle(|key| Keyring::unwrap(key, &wrapped).is_ok()).map_err(StoreError::Key)?;
    let changed = change(&wrapped, &kek)?;
    header::write(dir, &changed)?;
    writer.keyring.adopt(&kek, &changed)?;
    Ok(())
}
