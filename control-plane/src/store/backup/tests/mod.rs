//! Backups of real stores: made while the store is written to, restored, and
//! damaged in every way.

use std::{collections::BTreeMap, fs, path::Path};

use nla_domain::{
    error::with_causes,
    hex,
    id::EdgeId,
    join::{CaPin, JoinToken},
    secret::Key32,
};

use super::*;
use crate::{
    crypto::{Kek, KeyringError},
    store::{
        JoinRecord, RecordKey, StoreOptions,
        tests::{Bench, call, event, put_role, token},
    },
};

mod figures;

async fn filled(bench: &Bench) -> Store {
    let store = bench.create();
    for name in ["a", "b", "c"] {
        put_role(&store, name, "first").await.unwrap();
    }
    put_tokens(&store, 20).await;
    let edge: EdgeId = "e1".parse().unwrap();
    store.audit_append(&edge, "boot", 1, (1..=40).map(|at| call(&at.to_string())).collect()).await.unwrap();
    store
}

async fn put_tokens(store: &Store, count: usize) {
    let put = move |draft: &mut crate::store::Draft<'_>| {
        draft.event(event("tokens"));
        (0..count).for_each(|_| drop(draft.put(token())));
        Ok(())
    };
    store.mutate("ada", put).await.unwrap();
}

async fn backup(store: &Store) -> Vec<u8> {
    let frozen = store.freeze(Timestamp::from_micros(1)).await.unwrap();
    let pairs = frozen.pairs();
    let write = move || frozen.write(Vec::new(), |_, _| Ok(())).unwrap();
    let (sum, bytes) = tokio::task::spawn_blocking(write).await.unwrap();
    assert_eq!((sum.pairs, sum.bytes), (pairs, bytes.len() as u64));
    bytes
}

fn open(bytes: &[u8]) -> Result<Locked<&[u8]>, RestoreError> {
    Locked::open(bytes, Path::new("the backup"))
}

fn verify(bytes: &[u8], kek: &Kek) -> Result<BackupReport, RestoreError> {
    open(bytes)?.unlock(kek)?.verify()
}

fn options(bench: &Bench, name: &str, replace: bool) -> RestoreOptions {
    RestoreOptions { store: StoreOptions { dir: bench.folder.path().join(name), ..bench.options() }, replace }
}

fn put_back(bench: &Bench, bytes: &[u8], options: &RestoreOptions) -> Result<Restored, RestoreError> {
    restore(open(bytes)?, &bench.kek, options)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_was_backed_up_comes_back_in_a_new_life() {
    let bench = Bench::new();
    let store = filled(&bench).await;
    let joining = JoinToken::generate(CaPin([1; 32])).unwrap();
    let (open_join, spent) = (joining.verifier(), JoinToken::generate(CaPin([1; 32])).unwrap().verifier());
    let at = Timestamp::from_micros(5);
    let join = |verifier, spent_at| JoinRecord {
        verifier,
        edge: "e1".parse().unwrap(),
        expires_at: at,
        spent_at,
        allowed_cidrs: vec![],
    };
    let joins = [join(open_join, None), join(spent, Some(at))];
    let put = move |draft: &mut crate::store::Draft<'_>| {
        draft.put(crate::store::KeysRecord { kek_generation: 9, ..Default::default() });
        draft.event(event("joins"));
        joins.into_iter().for_each(|join| drop(draft.put(join)));
        Ok(())
    };
    store.mutate("ada", put).await.unwrap();
    let before = store.state();
    let events = *store.audit_head().borrow();
    let bytes = backup(&store).await;
    put_tokens(&store, 3).await;
    store.close().await;

    let report = verify(&bytes, &bench.kek).unwrap();
    assert_eq!((report.revision, report.audit_events), (before.revision, events));
    let restored = put_back(&bench, &bytes, &options(&bench, "again", false)).unwrap();
    assert_eq!((restored.join_tokens, restored.moved.clone()), (1, None));
    assert_eq!(names(bench.folder.path()), ["again", "store"]);
    let again = Store::open(options(&bench, "again", false).store, &bench.kek).unwrap();
    let state = again.state();
    assert_eq!((state.epoch, state.restored_at.is_some()), (restored.epoch, true));
    assert_eq!(state.former_epoch, Some(before.epoch));
    let keys = &state.keys[&()].value;
    assert_eq!((keys.kek_generation, keys.data_generation), (1, 2), "a wish of before is void, new data keys are due");
    assert_ne!(state.epoch, before.epoch);
    assert_eq!(state.revision, before.revision.next(), "the void join token is a change");
    assert!(state.tokens.keys().eq(before.tokens.keys()) && state.roles.keys().eq(before.roles.keys()));
    assert_eq!(state.joins.len(), 1, "an open join token might have been used since");
    let event = again.audit_after(events, 10).await.unwrap();
    let Some(v1::audit_event::Event::Admin(admin)) = &event[0].event else { panic!("{event:?}") };
    assert_eq!((event.len(), admin.action.as_str(), admin.actor.as_str()), (1, "restore", "control-plane"));
    assert!(admin.after_json.contains(&hex::encode(&restored.epoch.0)), "{admin:?}");
    let verified = again.verify().await.unwrap();
    assert_eq!(verified.audit_events, events + 1);
    put_role(&again, "new", "").await.unwrap();
    // And a backup of the restored store is as good.
    let bytes = backup(&again).await;
    assert_eq!(verify(&bytes, &bench.kek).unwrap().audit_events, events + 2);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_one_moment_while_everything_changes() {
    let bench = Bench::new();
    let store = filled(&bench).await;
    put_tokens(&store, 700).await;
    let before = store.state();
    let frozen = store.freeze(Timestamp::from_micros(1)).await.unwrap();
    assert!(matches!(store.freeze(Timestamp::from_micros(1)).await, Err(BackupFailed::Running)));
    let (step, steps) = tokio::sync::mpsc::channel::<u64>(1);
    let (go, going) = std::sync::mpsc::channel::<()>();
    let write = move || {
        frozen.write(Vec::new(), |pairs, _| {
            step.blocking_send(pairs).map_err(io::Error::other)?;
            going.recv().map_err(io::Error::other)
        })
    };
    let writing = tokio::task::spawn_blocking(write);
    let mut steps = steps;
    let mut rounds = 0;
    let ids: Vec<_> = before.tokens.keys().copied().collect();
    // Between any two pieces all that there is changes: records are replaced,
    // removed and made, and events are added.
    while steps.recv().await.is_some() {
        let ids = ids.clone();
        let change = move |draft: &mut crate::store::Draft<'_>| {
            draft.event(event("change"));
            for (at, id) in ids.iter().enumerate() {
                match draft.state().tokens.get(id).cloned() {
                    Some(_) if (at + rounds) % 7 == 0 => drop(draft.remove(&RecordKey::Token(*id)).then_some(())),
                    Some(token) => drop(draft.put(token.value.clone())),
                    None => {}
                }
            }
            (0..5).for_each(|_| drop(draft.put(token())));
            Ok(())
        };
        store.mutate("ada", change).await.unwrap();
        rounds += 1;
        go.send(()).unwrap();
    }
    let (sum, bytes) = writing.await.unwrap().unwrap();
    assert!(rounds > 5 && sum.pairs > 700, "{rounds} {sum:?}");
    let report = verify(&bytes, &bench.kek).unwrap();
    assert_eq!(report.revision, before.revision);
    assert_eq!(report.records, before.tokens.len() as u64 + 5, "tokens, three roles, settings, an edge's place");
    // The moment is free again.
    drop(store.freeze(Timestamp::from_micros(1)).await.unwrap());
    backup(&store).await;
    store.verify().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn every_cut_and_every_flip_is_refused() {
    let bench = Bench::new();
    let store = filled(&bench).await;
    let bytes = backup(&store).await;
    store.close().await;
    verify(&bytes, &bench.kek).unwrap();
    let end = bytes.len();
    for length in (0..end).step_by(41).chain(end - 110..end) {
        let error = verify(&bytes[..length], &bench.kek).expect_err(&format!("cut after {length} of {end}"));
        assert!(with_causes(&error).contains("cut off") || length < 18, "{length}: {}", with_causes(&error));
    }
    for at in (0..end).step_by(23).chain(0..600).chain(end - 110..end) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        assert!(verify(&bytes, &bench.kek).is_err(), "byte {at} of {end}");
    }
}

/// Writes a backup that has the right seals and the wrong content.
fn forge(bytes: &[u8], kek: &Kek, change: impl FnOnce(&mut BTreeMap<(u8, Vec<u8>), Vec<u8>>)) -> Vec<u8> {
    let locked = open(bytes).unwrap();
    let mut reader = nla_proto::backup::BackupReader::open(bytes).unwrap();
    let keys = header::parse(reader.header(), Path::new("")).unwrap();
    let key = backup_key(&Keyring::unwrap(kek, &keys).unwrap());
    let mut pairs = BTreeMap::new();
    while let Some(pair) = reader.next_pair().unwrap() {
        pairs.insert((pair.tree, pair.key), pair.value);
    }
    change(&mut pairs);
    drop(locked);
    let mut writer = BackupWriter::begin(Vec::new(), key, reader.manifest(), reader.header()).unwrap();
    for ((tree, key), value) in &pairs {
        writer.pair(*tree, key, value).unwrap();
    }
    writer.finish().unwrap().1
}

#[tokio::test]
async fn a_backup_that_is_sealed_but_incomplete_is_refused() {
    let bench = Bench::new();
    let store = filled(&bench).await;
    let older = backup(&store).await;
    put_role(&store, "a", "second").await.unwrap();
    let bytes = backup(&store).await;
    let role = store.0.keyring.index("role", &[b"a"]).to_vec();
    store.close().await;
    let (state, audit, changes) = (tag(Tree::State), tag(Tree::Audit), tag(Tree::Changes));
    let mut reader = nla_proto::backup::BackupReader::open(older.as_slice()).unwrap();
    let mut old_role = None;
    while let Some(pair) = reader.next_pair().unwrap() {
        if (pair.tree, &pair.key) == (state, &role) {
            old_role = Some(pair.value);
        }
    }
    let old_role = old_role.unwrap();
    let number = |n: u64| n.to_be_bytes().to_vec();
    type Pairs = BTreeMap<(u8, Vec<u8>), Vec<u8>>;
    type Change<'a> = Box<dyn FnOnce(&mut Pairs) + 'a>;
    let cases: Vec<(&str, Change<'_>)> = vec![
        ("role/a is missing", Box::new(|p| drop(p.remove(&(state, role.clone()))))),
        ("role/a was put back to an older copy", Box::new(|p| drop(p.insert((state, role.clone()), old_role.clone())))),
        ("audit event 7 is missing", Box::new(|p| drop(p.remove(&(audit, number(7)))))),
        ("is missing", Box::new(|p| drop(p.pop_last()))),
        ("log of changes", Box::new(|p| drop(p.remove(&(changes, number(2)))))),
        ("head is missing", Box::new(|p| drop(p.pop_first()))),
        ("not known", Box::new(|p| drop(p.insert((9, vec![1]), vec![1])))),
    ];
    assert!(verify(&forge(&bytes, &bench.kek, |_| ()), &bench.kek).is_ok());
    for (expected, change) in cases {
        let forged = forge(&bytes, &bench.kek, change);
        let error = with_causes(&verify(&forged, &bench.kek).expect_err(expected));
        assert!(error.contains(expected), "expected {expected:?} in {error:?}");
        assert!(put_back(&bench, &forged, &options(&bench, "again", false)).is_err());
        assert_eq!(names(bench.folder.path()), ["store"], "{expected}");
    }
}

#[tokio::test]
async fn what_is_refused_leaves_everything_as_it_was() {
    let bench = Bench::new();
    let store = filled(&bench).await;
    let bytes = backup(&store).await;
    let other = Bench::new();
    let foreign = filled(&other).await;
    let foreign_bytes = backup(&foreign).await;
    foreign.close().await;
    let store_options = options(&bench, "store", true);

    let running = put_back(&bench, &bytes, &store_options).unwrap_err();
    assert!(with_causes(&running).contains("is in use"), "{running}");
    store.close().await;
    let refusals = [
        (put_back(&bench, &bytes, &options(&bench, "store", false)).unwrap_err(), "exists already"),
        (put_back(&bench, &foreign_bytes, &store_options).unwrap_err(), "this is another installation"),
        (put_back(&bench, b"something else, long enough", &store_options).unwrap_err(), "not a backup of NLA"),
        (put_back(&bench, &bytes[..bytes.len() / 2], &store_options).unwrap_err(), "cut off"),
    ];
    for (error, expected) in refusals {
        assert!(with_causes(&error).contains(expected), "{expected}: {}", with_causes(&error));
    }
    let wrong = Kek::new(Key32::new([8; 32]));
    let error = restore(open(&bytes).unwrap(), &wrong, &store_options).unwrap_err();
    assert!(matches!(error, RestoreError::Store(StoreError::Keyring(KeyringError::WrongKek))), "{error}");
    let full = StoreOptions { reserve_bytes: u64::MAX, ..options(&bench, "again", false).store };
    let error = put_back(&bench, &bytes, &RestoreOptions { store: full, replace: false }).unwrap_err();
    assert!(matches!(error, RestoreError::DiskFull { .. }), "{}", with_causes(&error));
    assert_eq!(names(bench.folder.path()), ["store"]);
    bench.open().unwrap().close().await;
}

#[tokio::test]
async fn a_store_that_is_replaced_is_moved_aside() {
    let bench = Bench::new();
    let store = filled(&bench).await;
    let bytes = backup(&store).await;
    put_role(&store, "later", "").await.unwrap();
    let epoch = store.state().epoch;
    store.close().await;
    let restored = put_back(&bench, &bytes, &options(&bench, "store", true)).unwrap();
    let moved = restored.moved.unwrap();
    assert_eq!(names(bench.folder.path()).len(), 2);
    let store = bench.open().unwrap();
    assert!(store.state().epoch == restored.epoch && !store.state().roles.contains_key("later"));
    store.close().await;
    let former = Store::open(StoreOptions { dir: moved, ..bench.options() }, &bench.kek).unwrap();
    assert!(former.state().epoch == epoch && former.state().roles.contains_key("later"));
    former.close().await;
    // A folder whose store is beyond recognition goes aside as well.
    fs::write(bench.dir().join("header"), b"garbage").unwrap();
    put_back(&bench, &bytes, &options(&bench, "store", true)).unwrap();
    bench.open().unwrap().close().await;
}

#[tokio::test]
async fn what_a_killed_attempt_left_is_cleared_and_nothing_else() {
    let bench = Bench::new();
    let store = filled(&bench).await;
    let bytes = backup(&store).await;
    store.close().await;
    let left = bench.folder.path().join("again.restoring");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("precious"), b"").unwrap();
    let error = put_back(&bench, &bytes, &options(&bench, "again", false)).unwrap_err();
    assert!(matches!(&error, RestoreError::InTheWay(path) if *path == left), "{error}");
    assert!(left.join("precious").exists());
    fs::write(left.join("restoring"), b"").unwrap();
    put_back(&bench, &bytes, &options(&bench, "again", false)).unwrap();
    assert_eq!(names(bench.folder.path()), ["again", "store"]);
}

#[tokio::test]
async fn an_edge_whose_events_were_lost_goes_on_and_the_gap_is_recorded() {
    let bench = Bench::new();
    let store = filled(&bench).await;
    let bytes = backup(&store).await;
    let (edge, other): (EdgeId, EdgeId) = ("e1".parse().unwrap(), "e2".parse().unwrap());
    let calls = |count: u64| (0..count).map(|at| call(&at.to_string())).collect::<Vec<_>>();
    assert_eq!(store.audit_append(&edge, "boot", 60, calls(2)).await.unwrap(), 40, "a gap is not stored");
    store.audit_append(&edge, "boot", 41, calls(10)).await.unwrap();
    store.close().await;

    put_back(&bench, &bytes, &options(&bench, "store", true)).unwrap();
    let store = bench.open().unwrap();
    bench.clock.advance(std::time::Duration::from_secs(1));
    let events = *store.audit_head().borrow();
    // What it has delivered is gone; it offers what comes after.
    assert_eq!(store.audit_append(&edge, "boot", 51, calls(2)).await.unwrap(), 52);
    assert_eq!(store.audit_append(&other, "new", 4, calls(1)).await.unwrap(), 4, "a start after the backup");
    let found = store.audit_after(events, 10).await.unwrap();
    assert_eq!(found.len(), 5);
    let Some(v1::audit_event::Event::Admin(gap)) = &found[0].event else { panic!("{found:?}") };
    assert_eq!((gap.action.as_str(), gap.object.as_str()), ("audit-gap", "edge/e1"));
    assert!(gap.reason.contains("41 to 50"), "{gap:?}");
    // Once; from here on a gap is one again.
    assert_eq!(store.audit_append(&edge, "boot", 60, calls(1)).await.unwrap(), 52);
    store.verify().await.unwrap();
    store.close().await;
}
