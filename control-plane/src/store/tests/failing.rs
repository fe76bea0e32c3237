//! A disk that is full, and a database that fails in the middle.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    backend::{Pairs, Write},
    error::CommitError,
    *,
};
use crate::crypto::Tree;

#[tokio::test]
async fn a_full_disk_refuses_changes_and_keeps_the_state() {
    let bench = Bench::new();
    bench.create().close().await;
    let options = StoreOptions { reserve_bytes: u64::MAX, ..bench.options() };
    let store = Store::open(options, &bench.kek).unwrap();
    let failure = put_role(&store, "a", "").await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Unavailable);
    assert!(failure.message.contains("free some space"), "{failure}");
    assert_eq!((store.state().revision, *store.audit_head().borrow()), (Revision(1), 1));
    assert!(store.state().roles.is_empty());
    store.close().await;
    let store = bench.open().unwrap();
    put_role(&store, "a", "").await.unwrap();
    store.verify().await.unwrap();
}

/// Fails when told to, as a database on a dying disk does.
#[derive(Debug)]
struct Failing {
    below: Arc<dyn Backend>,
    full: Arc<AtomicBool>,
    broken: Arc<AtomicBool>,
}

impl Backend for Failing {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        self.below.get(tree, key)
    }

    fn range(&self, tree: Tree, from: std::ops::Bound<&[u8]>, to: std::ops::Bound<&[u8]>) -> Pairs<'_> {
        self.below.range(tree, from, to)
    }

    fn commit(&self, writes: &[Write]) -> Result<(), CommitError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(CommitError::DiskFull { free_bytes: 0, reserve_bytes: 1 });
        }
        if self.broken.swap(false, Ordering::SeqCst) {
            return Err(CommitError::Broken(std::io::Error::other("gone").into()));
        }
        self.below.commit(writes)
    }

    fn size_bytes(&self) -> Result<u64, BackendError> {
        self.below.size_bytes()
    }
}

#[tokio::test]
async fn after_a_failed_commit_the_next_one_builds_on_what_is_durable() {
    let bench = Bench::new();
    bench.create().close().await;
    let (full, broken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let wrap = |below| -> Arc<dyn Backend> { Arc::new(Failing { below, full: full.clone(), broken: broken.clone() }) };
    let store = open::open_over(bench.options(), &bench.kek, wrap).unwrap();
    put_role(&store, "a", "kept").await.unwrap();
    full.store(true, Ordering::SeqCst);
    assert!(put_role(&store, "a", "lost").await.is_err());
    assert!(put_role(&store, "b", "lost").await.is_err());
    full.store(false, Ordering::SeqCst);
    let meta = put_role(&store, "c", "kept").await.unwrap();
    assert_eq!(meta.revision, Revision(3));
    put_role(&store, "a", "kept again").await.unwrap();
    store.verify().await.unwrap();
    // A commit that may be half there stops all further ones, though the disk
    // seems well again.
    broken.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let failure = put_role(&store, "d", "").await.unwrap_err();
        assert!(failure.message.contains("restart"), "{failure}");
    }
    assert_eq!(store.state().revision, Revision(4), "readers go on");
    store.close().await;
    let state = bench.open().unwrap().state();
    let kept: Vec<_> =
        state.roles.iter().map(|(name, role)| (name.as_str(), role.value.description.as_str())).collect();
    assert_eq!(kept, [("a", "kept again"), ("c", "kept")]);
}
