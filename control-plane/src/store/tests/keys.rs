//! Rotation of the store's keys, cut short at every step.

use std::fs;

use nla_proto::files;

use super::*;
use crate::{
    crypto::{KekFile, Keyring, KeyringError, Tree},
    store::{header, keys::replace_kek},
};

/// More than one slice of records and of audit events.
const ROLES: usize = 150;
const CALLS: usize = 300;

struct Keyed {
    bench: Bench,
    file: KekFile,
}

impl Keyed {
    /// A store with content, whose key lies in a file.
    async fn new() -> Self {
        let bench = Bench::new();
        let path = bench.folder.path().join("kek");
        files::write_private(&path, &[7; 32]).unwrap();
        let file = KekFile::new(path, bench.dir());
        let store = bench.create();
        let all = (0..ROLES).map(|at| format!("r{at}")).collect::<Vec<_>>();
        store
            .mutate("ada", move |draft| {
                draft.event(event("put"));
                all.iter().for_each(|name| drop(draft.put(role(name, "first"))));
                Ok(())
            })
            .await
            .unwrap();
        put_role(&store, "r7", "second").await.unwrap();
        put_role(&store, "gone", "").await.unwrap();
        store
            .mutate("ada", |draft| {
                draft.event(event("remove"));
                draft.remove(&RecordKey::Role("gone".parse().unwrap()));
                Ok(())
            })
            .await
            .unwrap();
        let calls = (1..=CALLS).map(|at| call(&at.to_string())).collect();
        store.audit_append(&"e1".parse().unwrap(), "b", 1, calls).await.unwrap();
        store.close().await;
        Self { bench, file }
    }

    fn open(&self) -> Store {
        Store::open_with(self.bench.options(), &self.file).unwrap()
    }

    fn refused(&self) -> String {
        Store::open_with(self.bench.options(), &self.file).unwrap_err().to_string()
    }
}

async fn whole(store: &Store) {
    let report = store.verify().await.unwrap();
    assert!(report.audit_events >= (CALLS + 5) as u64, "{report:?}");
    let state = store.state();
    assert_eq!(state.roles.len(), ROLES);
    assert_eq!(state.roles["r7"].value.description, "second");
    assert_eq!(state.roles["r8"].value.description, "first");
}

/// Everything of one tree, as it lies there.
fn raw(bench: &Bench, tree: Tree) -> Vec<(Vec<u8>, Vec<u8>)> {
    let db = database(bench);
    let tree = db.open_tree(tree.as_str()).unwrap();
    tree.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

fn put_back(bench: &Bench, tree: Tree, pairs: &[(Vec<u8>, Vec<u8>)]) {
    let db = database(bench);
    let tree = db.open_tree(tree.as_str()).unwrap();
    for (key, value) in pairs {
        tree.insert(key, value.as_slice()).unwrap();
    }
    db.flush().unwrap();
}

fn database(bench: &Bench) -> ::sled::Db {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        match ::sled::Config::new().path(bench.dir().join("sled")).open() {
            Ok(db) => return db,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
    }
}

#[tokio::test]
async fn data_keys_are_replaced_over_a_restart_after_every_slice() {
    let keyed = Keyed::new().await;
    let mut store = keyed.open();
    assert_eq!(store.key_facts().await.unwrap().data_generations, [1]);
    store.data_keys_add(keyed.file.clone(), 2).await.unwrap();
    store.data_keys_add(keyed.file.clone(), 2).await.unwrap();
    let before = store.key_facts().await.unwrap();
    assert_eq!((before.data_generations.as_slice(), before.seals), ([1, 2].as_slice(), 0));
    let (mut slices, mut resealed) = (0, 0);
    for tree in [Tree::State, Tree::Changes, Tree::Audit, Tree::Meta] {
        let mut after = None;
        loop {
            let slice = store.reseal(tree, after).await.unwrap();
            (slices, resealed) = (slices + 1, resealed + slice.resealed);
            store.close().await;
            store = keyed.open();
            whole(&store).await;
            after = slice.next;
            if after.is_none() {
                break;
            }
        }
        // Others write in between.
        put_role(&store, "r9", "later").await.unwrap();
    }
    assert!(slices > 6 && resealed as usize > ROLES + CALLS, "{slices} slices, {resealed} records");
    assert!(store.key_facts().await.unwrap().seals > resealed);
    for tree in [Tree::State, Tree::Changes, Tree::Audit] {
        let mut after = None;
        loop {
            let slice = store.reseal(tree, after).await.unwrap();
            assert_eq!(slice.resealed, 0, "{tree:?}");
            after = slice.next;
            if after.is_none() {
                break;
            }
        }
    }
    store.data_keys_destroy(keyed.file.clone(), 3, event("destroy")).await.unwrap_err();
    store.data_keys_destroy(keyed.file.clone(), 2, event("destroy")).await.unwrap();
    store.close().await;
    let store = keyed.open();
    whole(&store).await;
    assert_eq!(store.key_facts().await.unwrap().data_generations, [2]);
}

#[tokio::test]
async fn an_older_copy_is_noticed_while_records_are_sealed_anew() {
    // What is put back: a record, its entry in the log, or both.
    for (state, changes) in [(true, false), (false, true), (true, true)] {
        let keyed = Keyed::new().await;
        let old = (raw(&keyed.bench, Tree::State), raw(&keyed.bench, Tree::Changes));
        let store = keyed.open();
        store.data_keys_add(keyed.file.clone(), 2).await.unwrap();
        let mut after = None;
        loop {
            after = store.reseal(Tree::State, after).await.unwrap().next;
            if after.is_none() {
                break;
            }
        }
        store.close().await;
        let new = (raw(&keyed.bench, Tree::State), raw(&keyed.bench, Tree::Changes));
        assert!(old.0.iter().all(|pair| !new.0.contains(pair)), "each record has other bytes");
        if state {
            put_back(&keyed.bench, Tree::State, &old.0[..1]);
        }
        if changes {
            put_back(&keyed.bench, Tree::Changes, &old.1);
        }
        let text = keyed.refused();
        assert!(text.contains("put back"), "{state} {changes}: {text}");
    }
}

#[tokio::test]
async fn a_key_encryption_key_is_replaced_or_not_wherever_it_is_cut_short() {
    let keyed = Keyed::new().await;
    let (dir, file) = (keyed.bench.dir(), &keyed.file);
    let old = file.load().unwrap();
    // Cut short after the new key was written, and the header was not.
    file.stage().unwrap();
    keyed.open().close().await;
    assert!(file.next_path().exists(), "it may be another store's only key");
    let store = keyed.open();
    let refused = store.kek_probe(file.clone()).await.unwrap_err();
    assert!(refused.message.contains("move it elsewhere"), "{}", refused.message);
    store.kek_replace(file.clone(), 2).await.unwrap_err();
    store.close().await;
    fs::remove_file(file.next_path()).unwrap();
    Keyring::unwrap(&file.load().unwrap(), &header::read(&dir).unwrap()).unwrap();

    // After the header, and before the new key was put in place.
    let new = file.stage().unwrap();
    header::write(&dir, &header::read(&dir).unwrap().rewrapped(&old, &new, 2).unwrap()).unwrap();
    let store = keyed.open();
    whole(&store).await;
    assert_eq!(store.key_facts().await.unwrap().kek_generation, 2);
    assert!(!file.next_path().exists());

    // While it serves, and asked for twice.
    for generation in [3, 3] {
        store.kek_replace(file.clone(), generation).await.unwrap();
        put_role(&store, "r9", "later").await.unwrap();
    }
    store.kek_probe(file.clone()).await.unwrap();
    assert_eq!(store.key_facts().await.unwrap().kek_generation, 3);
    store.close().await;
    whole(&keyed.open()).await;
    assert!(matches!(keyed.bench.open(), Err(StoreError::Keyring(KeyringError::WrongKek))), "the first key");
}

#[tokio::test]
async fn a_header_that_cannot_be_written_leaves_the_old_keys() {
    let keyed = Keyed::new().await;
    let store = keyed.open();
    // As a full disk would: the file beside the header cannot be made.
    let blocked = keyed.bench.dir().join(format!(".header.{}.tmp", std::process::id()));
    fs::create_dir(&blocked).unwrap();
    for failed in [
        store.kek_replace(keyed.file.clone(), 2).await.map(drop),
        store.data_keys_add(keyed.file.clone(), 2).await.map(drop),
    ] {
        assert!(failed.unwrap_err().message.contains("header"));
        assert!(!keyed.file.next_path().exists(), "what was staged in vain is taken back");
    }
    put_role(&store, "r9", "later").await.unwrap();
    let facts = store.key_facts().await.unwrap();
    assert_eq!((facts.kek_generation, facts.data_generations.as_slice()), (1, [1].as_slice()));
    fs::remove_dir(&blocked).unwrap();
    store.kek_replace(keyed.file.clone(), 2).await.unwrap();
    store.data_keys_add(keyed.file.clone(), 2).await.unwrap();
    store.close().await;
    whole(&keyed.open()).await;
}

#[tokio::test]
async fn offline_the_header_is_wrapped_only_by_a_key_that_is_on_the_disk() {
    let keyed = Keyed::new().await;
    let (dir, options) = (keyed.bench.dir(), keyed.bench.options());
    let path = keyed.bench.folder.path().join("new");
    let new = Kek::create(&path, &dir).unwrap();
    fs::remove_file(&path).unwrap();
    Store::rewrap(&options, &keyed.file, &path, &new).unwrap_err();
    Kek::create(&path, &dir).unwrap();
    let error = Store::rewrap(&options, &keyed.file, &path, &new).unwrap_err();
    assert!(matches!(error, StoreError::Key(crate::crypto::KekError::Changed { .. })), "{error:?}");
    whole(&keyed.open()).await;
}

#[tokio::test]
async fn a_wrong_key_changes_nothing() {
    let keyed = Keyed::new().await;
    let store = keyed.open();
    let right = fs::read(keyed.file.path()).unwrap();
    files::write_private(keyed.file.path(), &[8; 32]).unwrap();
    for failed in [
        store.kek_probe(keyed.file.clone()).await,
        store.kek_replace(keyed.file.clone(), 2).await,
        store.data_keys_add(keyed.file.clone(), 2).await,
    ] {
        assert!(failed.unwrap_err().message.contains("not the key-encryption key of the store"));
    }
    assert!(!keyed.file.next_path().exists());
    store.close().await;
    assert!(matches!(
        replace_kek(&keyed.bench.dir(), &keyed.file, 2),
        Err(StoreError::Keyring(KeyringError::WrongKek))
    ));
    files::write_private(keyed.file.path(), &right).unwrap();
    whole(&keyed.open()).await;
}
