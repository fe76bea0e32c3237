//! Sealing old records anew under the newest data keys, a slice at a time and
//! each slice in one commit. The store can be opened after any of them: a
//! record keeps its revision and content, the head's sum follows its new
//! bytes, and the log of changes is told, so that it still knows an older copy
//! when it sees one.

use std::{collections::HashMap, ops::Bound};

use nla_domain::{error::ErrorKind, id::Revision};
use nla_proto::failure::Failure;
use prost::Message as _;

use super::{
    backend::Backend,
    batch::Batch,
    head::{ChangeBody, HEAD_KEY},
    load,
};
use crate::crypto::{Tree, sealed};

/// Records that one slice looks at, and seals anew at most: changes that wait
/// behind it wait for a few milliseconds.
const LOOKED_AT: usize = 512;
const RESEALED: usize = 128;

/// What became of one slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Records looked at.
    pub looked_at: u64,
    /// Records that were sealed by older keys and are not any more.
    pub resealed: u64,
    /// Where the next slice begins; `None` at the tree's end.
    pub next: Option<Vec<u8>>,
}

fn damaged(error: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorKind::Internal, format!("records cannot be sealed anew: {error}"))
}

impl Batch<'_> {
    /// Seals anew what lies in a tree after that key.
    pub(super) fn reseal(&mut self, backend: &dyn Backend, tree: Tree, after: Option<&[u8]>) -> Result<Slice, Failure> {
        let newest = self.keyring().newest(tree);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut slice = Slice { looked_at: 0, resealed: 0, next: None };
        let mut last = None;
        let mut log = Log { backend, bodies: HashMap::new() };
        for pair in backend.range(tree, from, Bound::Unbounded).take(LOOKED_AT) {
            let (key, old) = pair.map_err(damaged)?;
            slice.looked_at += 1;
            if sealed::generation(&old).map_err(damaged)? < newest {
                match tree {
                    // Each commit seals the head.
                    Tree::Meta if key == HEAD_KEY => continue,
                    Tree::State => self.reseal_record(&key, &old, &mut log)?,
                    Tree::Meta | Tree::Changes | Tree::Audit => {
                        let opened = self.keyring().open(tree, &key, &old).map_err(damaged)?;
                        self.seal(tree, key.clone(), opened.version, &opened.plain)?;
                    }
                }
                slice.resealed += 1;
            }
            last = Some(key);
            if slice.resealed == RESEALED as u64 {
                break;
            }
        }
        for (revision, body) in log.bodies {
            if let Some(body) = body {
                self.seal(Tree::Changes, revision.to_be_bytes().to_vec(), revision, &body.encode_to_vec())?;
            }
        }
        let full = slice.looked_at == LOOKED_AT as u64 || slice.resealed == RESEALED as u64;
        slice.next = last.filter(|_| full);
        Ok(slice)
    }

    fn reseal_record(&mut self, index: &[u8], old: &[u8], log: &mut Log<'_>) -> Result<(), Failure> {
        let (key, entry) = load::record(self.keyring(), index, old).map_err(damaged)?;
        let opened = self.keyring().open(Tree::State, index, old).map_err(damaged)?;
        let before = self.keyring().set_element(index, old);
        let after = self.seal(Tree::State, index.to_vec(), opened.version, &opened.plain)?;
        self.move_element(&key, before, after).map_err(damaged)?;
        log.follow(self, entry.meta().revision, index, before, after)
    }
}

/// The entries of the log of changes that name a record of this slice.
struct Log<'a> {
    backend: &'a dyn Backend,
    /// By revision; `None` where the log does not reach back so far.
    bodies: HashMap<u64, Option<ChangeBody>>,
}

impl Log<'_> {
    /// Writes down the record's new element where its last change is told.
    fn follow(
        &mut self,
        batch: &Batch<'_>,
        revision: Revision,
        index: &[u8],
        before: [u8; 32],
        after: [u8; 32],
    ) -> Result<(), Failure> {
        let body = match self.bodies.entry(revision.0) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let key = revision.0.to_be_bytes();
                let found = self.backend.get(Tree::Changes, &key).map_err(damaged)?;
                let body = found.map(|found| {
                    let opened = batch.keyring().open(Tree::Changes, &key, &found).map_err(damaged)?;
                    ChangeBody::decode(opened.plain.as_slice()).map_err(damaged)
                });
                place.insert(body.transpose()?)
            }
        };
        // How far an edge's events are stored is in no log.
        let told = body.as_mut().and_then(|body| body.records.iter_mut().find(|record| record.index == index));
        if let Some(told) = told {
            if told.element != before {
                return Err(damaged(format!("{} is not what its last change says", told.name)));
            }
            told.element = after.to_vec();
        }
        Ok(())
    }
}
