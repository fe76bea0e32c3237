//! The seam between the store and the database below it: sealed bytes in
//! ordered trees, and commits that are atomic and durable. Names, types and
//! checks are above it, so that another database needs no more than this.

use std::ops::Bound;

use super::error::{BackendError, CommitError};
use crate::crypto::Tree;

/// One write of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) tree: Tree,
    pub(super) key: Vec<u8>,
    /// `None` removes.
    pub(super) value: Option<Vec<u8>>,
}

/// A key and its sealed value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// Pairs in key order, from either end.
pub(super) type Pairs<'a> = Box<dyn DoubleEndedIterator<Item = Result<Pair, BackendError>> + 'a>;

/// A database. All calls block.
pub(super) trait Backend: Send + Sync + std::fmt::Debug {
    /// One value.
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError>;

    /// The pairs between two keys.
    fn range(&self, tree: Tree, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Pairs<'_>;

    /// Applies all writes in order, or none of them. When it returns, they
    /// outlive a loss of power.
    fn commit(&self, writes: &[Write]) -> Result<(), CommitError>;

    /// Bytes on disk.
    fn size_bytes(&self) -> Result<u64, BackendError>;
}

/// All pairs of a tree.
pub(super) fn all(backend: &dyn Backend, tree: Tree) -> Pairs<'_> {
    backend.range(tree, Bound::Unbounded, Bound::Unbounded)
}
