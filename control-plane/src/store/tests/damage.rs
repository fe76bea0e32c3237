//! Wrong keys, other processes, and files that are not as they were left: each
//! is named, and nothing is changed.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use nla_domain::error::with_causes;
use nla_proto::files::FileError;
use prost::Message;

use super::*;
use crate::crypto::{KeyringError, Tree};

/// Every file below a folder, with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().unwrap() != "lock" {
            let content = fs::read(&path).unwrap();
            found.insert(path, content);
        }
    }
    found
}

/// The store is refused with that text, and its files stay as they were.
fn refused(bench: &Bench, expected: &str) -> StoreError {
    let before = files(&bench.dir());
    let error = bench.open().expect_err(expected);
    let text = with_causes(&error);
    assert!(text.contains(expected), "expected {expected:?} in {text:?}");
    assert!(files(&bench.dir()) == before, "files were changed on {text:?}");
    error
}

async fn filled() -> Bench {
    let bench = Bench::new();
    let store = bench.create();
    for name in ["a", "b", "c"] {
        put_role(&store, name, "first").await.unwrap();
    }
    put_role(&store, "a", "second").await.unwrap();
    let edge: EdgeId = "e1".parse().unwrap();
    let calls = (1..=300).map(|at| call(&at.to_string())).collect();
    store.audit_append(&edge, "b", 1, calls).await.unwrap();
    store.close().await;
    bench
}

/// Changes the database below the store's back.
fn tamper(bench: &Bench, change: impl FnOnce(&::sled::Db)) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let db = loop {
        match ::sled::Config::new().path(bench.dir().join("sled")).open() {
            Ok(db) => break db,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
    };
    change(&db);
    db.flush().unwrap();
}

#[tokio::test]
async fn missing_and_existing_stores() {
    let bench = Bench::new();
    assert!(matches!(bench.open(), Err(StoreError::Missing { .. })));
    assert!(!bench.dir().exists(), "nothing is made by looking");
    fs::create_dir(bench.dir()).unwrap();
    assert!(matches!(bench.open(), Err(StoreError::Missing { .. })));
    fs::remove_dir(bench.dir()).unwrap();
    bench.create().close().await;
    let before = files(&bench.dir());
    let unfinished = StoreOptions { dir: bench.folder.path().join("unfinished"), ..bench.options() };
    let refusing = |_: &mut Draft<'_>| Err::<(), _>(Failure::new(ErrorKind::Conflict, "no"));
    let refused_first = Store::create(unfinished.clone(), &bench.kek, settings(), refusing);
    assert!(matches!(refused_first, Err(StoreError::First(_))));
    assert!(!unfinished.dir.exists());
    let again = Store::create(bench.options(), &bench.kek, settings(), |_| Ok(()));
    assert!(matches!(again, Err(StoreError::Exists { .. })));
    assert!(files(&bench.dir()) == before);
    assert_eq!(fs::metadata(bench.dir()).unwrap().permissions().mode() & 0o777, 0o700);
    fs::remove_dir_all(bench.dir().join("sled")).unwrap();
    refused(&bench, "its database is missing");
}

#[tokio::test]
async fn a_second_opener_is_refused_and_told_who_holds_it() {
    let bench = Bench::new();
    let store = bench.create();
    let error = bench.open().unwrap_err();
    assert!(matches!(error, StoreError::InUse { holder: Some(pid), .. } if pid == std::process::id()), "{error}");
    put_role(&store, "a", "").await.unwrap();
    store.close().await;
    bench.open().unwrap();
}

#[tokio::test]
async fn a_wrong_key_is_refused_before_anything_is_touched() {
    let mut bench = filled().await;
    bench.kek = Kek::new(Key32::new([8; 32]));
    let error = refused(&bench, "not the key-encryption key of the store");
    assert!(matches!(error, StoreError::Keyring(KeyringError::WrongKek)));
    bench.kek = Kek::new(Key32::new([7; 32]));
    bench.open().unwrap();
}

#[tokio::test]
async fn a_header_that_is_exposed_damaged_or_newer_is_refused() {
    let bench = filled().await;
    let path = bench.dir().join("header");
    let good = fs::read(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(refused(&bench, "can be read"), StoreError::File(FileError::Exposed { .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let newer = [b"NLA store format 2\n".as_slice(), &good[19..]].concat();
    fs::write(&path, &newer).unwrap();
    refused(&bench, "has format 2 and this version reads format 1");
    for length in [0, 10, 18, 19, 40, good.len() - 1] {
        fs::write(&path, &good[..length]).unwrap();
        refused(&bench, "is not a store's header");
    }
    for at in 0..good.len() {
        let mut copy = good.clone();
        copy[at] ^= 0x10;
        fs::write(&path, &copy).unwrap();
        assert!(header::read(&bench.dir()).is_err(), "byte {at}");
    }
    fs::write(&path, &good).unwrap();
    bench.open().unwrap();
}

#[tokio::test]
async fn a_database_that_was_cut_off_is_refused_and_left_alone() {
    let bench = filled().await;
    let path = bench.dir().join("sled/db");
    let good = fs::read(&path).unwrap();
    let written = good.len() - good.iter().rev().take_while(|byte| **byte == 0).count();
    for length in [0, 1, 100, written / 4, written / 2, written * 3 / 4] {
        fs::write(&path, &good[..length]).unwrap();
        refused(&bench, "nothing was changed");
    }
    fs::write(&path, &good).unwrap();
    bench.open().unwrap().verify().await.unwrap();
}

#[tokio::test]
async fn a_database_that_was_put_back_as_a_whole_is_refused() {
    let bench = filled().await;
    let sled = files(&bench.dir().join("sled"));
    let store = bench.open().unwrap();
    put_role(&store, "b", "newer").await.unwrap();
    store.close().await;
    fs::remove_dir_all(bench.dir().join("sled")).unwrap();
    fs::create_dir_all(bench.dir().join("sled/blobs")).unwrap();
    sled.iter().for_each(|(path, content)| fs::write(path, content).unwrap());
    refused(&bench, "it was cut off or put back");
    let mark = bench.dir().join("mark");
    let good = fs::read(&mark).unwrap();
    for at in 0..good.len() {
        let mut copy = good.clone();
        copy[at] ^= 1;
        fs::write(&mark, &copy).unwrap();
        refused(&bench, "its mark does not open");
    }
    fs::remove_file(&mark).unwrap();
    refused(&bench, "its mark is missing");
}

#[tokio::test]
async fn altered_bytes_of_the_file_never_change_what_is_read() {
    let bench = filled().await;
    let expected: Vec<_> = {
        let state = bench.open().unwrap().state();
        state.roles.iter().map(|(name, role)| (name.clone(), role.value.clone())).collect()
    };
    let path = bench.dir().join("sled/db");
    let good = fs::read(&path).unwrap();
    let written = good.len() - good.iter().rev().take_while(|byte| **byte == 0).count();
    let mut noticed = 0;
    for at in (0..written).step_by(written / 40) {
        let mut copy = good.clone();
        copy[at] ^= 0x40;
        fs::write(&path, &copy).unwrap();
        match bench.open() {
            Err(_) => {
                noticed += 1;
                assert!(fs::read(&path).unwrap() == copy, "the file was changed, byte {at}");
            }
            // Bytes that nothing refers to any more may change unseen.
            Ok(store) => {
                let state = store.state();
                let found: Vec<_> = state.roles.iter().map(|(name, role)| (name.clone(), role.value.clone())).collect();
                assert_eq!(found, expected, "byte {at}");
                store.close().await;
            }
        }
    }
    assert!(noticed > 5, "{noticed}");
}

#[tokio::test]
async fn a_record_that_was_removed_altered_swapped_or_put_back_is_noticed() {
    let bench = filled().await;
    let tree = |db: &::sled::Db, tree: Tree| db.open_tree(tree.as_str()).unwrap();
    let keyring = Keyring::unwrap(&bench.kek, &header::read(&bench.dir()).unwrap()).unwrap();
    let index = |name: &str| keyring.index("role", &[name.as_bytes()]).to_vec();
    let ingest = keyring.index("ingest", &[b"e1", b"b"]).to_vec();
    // An older copy of "b", with everything of that time.
    let mut old = Vec::new();
    tamper(&bench, |db| {
        for name in Tree::ALL {
            for pair in &tree(db, name) {
                let (key, value) = pair.unwrap();
                old.push((name, key.to_vec(), value.to_vec()));
            }
        }
    });
    let copy = |name: Tree, key: &[u8]| old.iter().find(|(n, k, _)| *n == name && k == key).unwrap().2.clone();
    let store = bench.open().unwrap();
    put_role(&store, "b", "newer").await.unwrap();
    store.audit_append(&"e1".parse().unwrap(), "b", 301, vec![call("r")]).await.unwrap();
    store.close().await;
    // The files as they are now are what the cases below start from.
    let forge = |db: &::sled::Db, sequence: u64| {
        let event = v1::AuditEvent { sequence, ..Default::default() };
        let previous = tree(db, Tree::Audit).get((sequence - 1).to_be_bytes()).unwrap().unwrap();
        let previous = keyring.open(Tree::Audit, &(sequence - 1).to_be_bytes(), &previous).unwrap();
        let previous = head::AuditBody::decode(previous.plain.as_slice()).unwrap();
        // The last one follows the one before it and is another all the same.
        let chain = match sequence {
            307 => head::chain(&previous.chain.try_into().unwrap(), sequence, &event.encode_to_vec()).to_vec(),
            _ => vec![1; 32],
        };
        let body = head::AuditBody { chain, event: event.encode_to_vec() }.encode_to_vec();
        let sealed = keyring.seal(Tree::Audit, &sequence.to_be_bytes(), sequence, &body).unwrap();
        tree(db, Tree::Audit).insert(sequence.to_be_bytes(), sealed).unwrap();
    };
    let pristine = files(&bench.dir());
    let restore = || -> &Bench {
        fs::remove_dir_all(bench.dir().join("sled")).unwrap();
        fs::create_dir_all(bench.dir().join("sled/blobs")).unwrap();
        pristine.iter().for_each(|(path, content)| fs::write(path, content).unwrap());
        &bench
    };
    type Tampering<'a> = Box<dyn Fn(&::sled::Db) + 'a>;
    let cases: Vec<(&str, &str, Tampering<'_>)> = vec![
        ("removed", "role/a is missing", Box::new(|db| drop(tree(db, Tree::State).remove(index("a")).unwrap()))),
        (
            "put back",
            "role/b was put back to an older copy",
            Box::new(|db| drop(tree(db, Tree::State).insert(index("b"), copy(Tree::State, &index("b"))).unwrap())),
        ),
        (
            "put back, and not in the log of changes",
            "a record of kind ingest was put back to an older copy",
            Box::new(|db| drop(tree(db, Tree::State).insert(&ingest, copy(Tree::State, &ingest)).unwrap())),
        ),
        (
            "removed, and not in the log of changes",
            "there must be 1 records of kind ingest and there are 0",
            Box::new(|db| drop(tree(db, Tree::State).remove(&ingest).unwrap())),
        ),
        (
            "swapped",
            "does not open",
            Box::new(|db| {
                let state = tree(db, Tree::State);
                let (a, c) = (state.get(index("a")).unwrap().unwrap(), state.get(index("c")).unwrap().unwrap());
                state.insert(index("a"), c).unwrap();
                state.insert(index("c"), a).unwrap();
            }),
        ),
        (
            "altered",
            "does not open",
            Box::new(|db| {
                let mut value = tree(db, Tree::State).get(index("c")).unwrap().unwrap().to_vec();
                *value.last_mut().unwrap() ^= 1;
                tree(db, Tree::State).insert(index("c"), value).unwrap();
            }),
        ),
        (
            "an old head",
            "",
            Box::new(|db| drop(tree(db, Tree::Meta).insert("head", copy(Tree::Meta, b"head")).unwrap())),
        ),
        ("no head", "its head is missing", Box::new(|db| drop(tree(db, Tree::Meta).remove("head").unwrap()))),
        (
            "no change log",
            "the log of changes",
            Box::new(|db| drop(tree(db, Tree::Changes).remove(3_u64.to_be_bytes()).unwrap())),
        ),
        ("last audit event removed", "is missing", Box::new(|db| drop(tree(db, Tree::Audit).pop_max().unwrap()))),
        (
            "audit event removed",
            "audit event 300 is missing",
            Box::new(|db| drop(tree(db, Tree::Audit).remove(300_u64.to_be_bytes()).unwrap())),
        ),
        ("last audit event from another history", "the last audit event is not the one", Box::new(|db| forge(db, 307))),
        ("audit event from another history", "audit event 280 does not follow", Box::new(|db| forge(db, 280))),
        (
            "audit events swapped",
            "audit event 290 does not open",
            Box::new(|db| {
                let audit = tree(db, Tree::Audit);
                let (a, b) = (audit.get(290_u64.to_be_bytes()).unwrap(), audit.get(291_u64.to_be_bytes()).unwrap());
                audit.insert(290_u64.to_be_bytes(), b.unwrap()).unwrap();
                audit.insert(291_u64.to_be_bytes(), a.unwrap()).unwrap();
            }),
        ),
    ];
    for (name, expected, change) in cases {
        let bench = restore();
        tamper(bench, change);
        let error = refused(bench, expected);
        assert!(matches!(error, StoreError::Damaged { .. }), "{name}: {error:?}");
    }
    // An old audit event is beyond what each start checks; verify sees it.
    let bench = restore();
    tamper(bench, |db| drop(tree(db, Tree::Audit).remove(5_u64.to_be_bytes()).unwrap()));
    let store = bench.open().unwrap();
    let error = store.verify().await.unwrap_err().to_string();
    assert!(error.contains("audit event 5 is missing"), "{error}");
    assert!(store.audit_after(0, 10).await.is_err(), "nor is it passed over in silence");
    store.close().await;
    restore().open().unwrap().verify().await.unwrap();
}

#[tokio::test]
async fn files_hold_no_name_and_no_secret() {
    let bench = Bench::new();
    let store = bench.create();
    put_role(&store, "conspicuous-name", "conspicuous-text").await.unwrap();
    store.close().await;
    for (path, content) in files(&bench.dir()) {
        assert!(!content.windows(11).any(|part| part == b"conspicuous"), "{}", path.display());
    }
}
