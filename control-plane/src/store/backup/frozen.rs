//! A moment of the database, kept readable while changes go on. It stands
//! between the writer and the database below: before a commit replaces what a
//! reader of the moment has not reached yet, the old value is put aside. The
//! reader takes pieces, and a commit waits for one piece at most; the memory
//! is what changed during the reading, and it is bounded. One moment is held
//! at a time.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::super::{
    backend::{Backend, Pair, Pairs, Write},
    error::{BackendError, CommitError},
    head::Head,
};
use crate::crypto::Tree;

/// Order in which a moment is read, as a backup holds them.
pub(in super::super) const ORDER: [Tree; 4] = [Tree::Meta, Tree::Changes, Tree::State, Tree::Audit];
/// What may be put aside. Some hundred thousand changes fit; a reader that is
/// behind by more has been stopped by somebody.
const MAX_ASIDE_BYTES: usize = 64 << 20;

/// Why a piece cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum FrozenError {
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("the store changed by more than {} MiB while the backup was made: try again", MAX_ASIDE_BYTES >> 20)]
    TooMuch,
    #[error("the moment is not held any more")]
    Released,
}

/// A database of which one moment can be held.
#[derive(Debug)]
pub(in super::super) struct Freezer {
    below: Arc<dyn Backend>,
    held: Mutex<Option<Moment>>,
}

type Place = (usize, Vec<u8>);

#[derive(Debug)]
struct Moment {
    /// Last keys of the two logs, which only grow.
    changes_end: [u8; 8],
    audit_end: [u8; 8],
    /// All up to here was read.
    read: Option<Place>,
    /// Index in [`ORDER`] of the tree that is being read.
    tree: usize,
    /// What was at places that are not read yet; `None` where nothing was.
    aside: BTreeMap<Place, Option<Vec<u8>>>,
    aside_bytes: usize,
    failed: Option<FrozenError>,
}

impl Freezer {
    pub(in super::super) fn new(below: Arc<dyn Backend>) -> Self {
        Self { below, held: Mutex::default() }
    }

    /// Holds the moment of that head; false when one is held already. To be
    /// called between two commits.
    pub(in super::super) fn hold(&self, head: &Head) -> bool {
        let mut held = self.lock();
        if held.is_some() {
            return false;
        }
        *held = Some(Moment {
            changes_end: head.revision.0.to_be_bytes(),
            audit_end: head.audit_count.to_be_bytes(),
            read: None,
            tree: 0,
            aside: BTreeMap::new(),
            aside_bytes: 0,
            failed: None,
        });
        true
    }

    pub(in super::super) fn release(&self) {
        *self.lock() = None;
    }

    /// The next pairs of one tree, in order; empty at the end of all trees.
    pub(in super::super) fn piece(&self, most: usize) -> Result<(Tree, Vec<Pair>), FrozenError> {
        let mut held = self.lock();
        let moment = held.as_mut().ok_or(FrozenError::Released)?;
        // It stays held until its owner lets go: otherwise that would release
        // the moment of whoever came in between.
        if let Some(failed) = moment.failed.take() {
            moment.failed = Some(FrozenError::Released);
            return Err(failed);
        }
        while let Some(tree) = ORDER.get(moment.tree) {
            let pairs = moment.piece(self.below.as_ref(), *tree, most)?;
            if !pairs.is_empty() {
                return Ok((*tree, pairs));
            }
        }
        Ok((Tree::Audit, vec![]))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Moment>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moment {
    fn end(&self, tree: Tree) -> Option<&[u8]> {
        match tree {
            Tree::Changes => Some(&self.changes_end),
            Tree::Audit => Some(&self.audit_end),
            Tree::Meta | Tree::State => None,
        }
    }

    /// The next pairs of the tree that is being read. Without any more, the
    /// next tree is begun.
    fn piece(&mut self, below: &dyn Backend, tree: Tree, most: usize) -> Result<Vec<Pair>, FrozenError> {
        loop {
            let index = self.tree;
            let from = self.read.as_ref().filter(|(at, _)| *at == index).map(|(_, key)| key.clone());
            let from = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let to = self.end(tree).map_or(Bound::Unbounded, Bound::Included);
            let found: Vec<Pair> = below.range(tree, from, to).take(most).collect::<Result<_, _>>()?;
            let whole = found.len() < most;
            let last = found.last().map(|(key, _)| (index, key.clone()));
            let mut piece: BTreeMap<Vec<u8>, Vec<u8>> = found.into_iter().collect();
            // What was put aside lies behind what was read, so that it belongs
            // to this piece up to the piece's end.
            while let Some(entry) = self.aside.first_entry() {
                let reached =
                    if whole { entry.key().0 == index } else { last.as_ref().is_some_and(|l| entry.key() <= l) };
                if !reached {
                    break;
                }
                let ((_, key), value) = entry.remove_entry();
                self.aside_bytes -= cost(&key, value.as_deref());
                match value {
                    Some(value) => drop(piece.insert(key, value)),
                    None => drop(piece.remove(&key)),
                }
            }
            if whole {
                self.tree += 1;
                self.read = None;
                return Ok(piece.into_iter().collect());
            }
            self.read = last;
            if !piece.is_empty() {
                return Ok(piece.into_iter().collect());
            }
        }
    }

    /// Puts aside what a write is about to replace.
    fn keep(&mut self, below: &dyn Backend, write: &Write) {
        if self.failed.is_some() {
            return;
        }
        let index = ORDER.iter().position(|tree| *tree == write.tree).unwrap_or(usize::MAX);
        let place = (index, write.key.clone());
        let behind = index < self.tree || self.read.as_ref().is_some_and(|read| place <= *read);
        let beyond = self.end(write.tree).is_some_and(|end| write.key.as_slice() > end);
        if behind || beyond || self.aside.contains_key(&place) {
            return;
        }
        match below.get(write.tree, &write.key) {
            Ok(value) => {
                self.aside_bytes += cost(&write.key, value.as_deref());
                self.aside.insert(place, value);
            }
            Err(error) => self.fail(error.into()),
        }
        if self.aside_bytes > MAX_ASIDE_BYTES {
            self.fail(FrozenError::TooMuch);
        }
    }

    fn fail(&mut self, error: FrozenError) {
        self.aside.clear();
        self.aside_bytes = 0;
        self.failed = Some(error);
    }
}

fn cost(key: &[u8], value: Option<&[u8]>) -> usize {
    key.len() + value.map_or(0, <[u8]>::len) + 96
}

impl Backend for Freezer {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        self.below.get(tree, key)
    }

    fn range(&self, tree: Tree, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Pairs<'_> {
        self.below.range(tree, from, to)
    }

    /// A failed commit may have changed anything or nothing; what was put
    /// aside is right in both cases.
    fn commit(&self, writes: &[Write]) -> Result<(), CommitError> {
        let mut held = self.lock();
        if let Some(moment) = held.as_mut() {
            writes.iter().for_each(|write| moment.keep(self.below.as_ref(), write));
        }
        self.below.commit(writes)
    }

    fn size_bytes(&self) -> Result<u64, BackendError> {
        self.below.size_bytes()
    }
}
