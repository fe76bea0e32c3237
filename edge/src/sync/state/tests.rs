use nla_domain::clock::FixedClock;
use nla_proto::v1::ItemKeyMessage;

use super::*;
use crate::fixture::{credential, database, digest_of, settings, token, tombstone};

fn state() -> State {
    State::new(Arc::new(FixedClock::at(Timestamp::from_micros(1))))
}

fn take(state: &mut State, epoch: u8, revision: u64, items: &[v1::Item]) -> Result<Applied, StateError> {
    let mut arriving = Arriving::default();
    for chunk in items.chunks(2) {
        state.collect(&mut arriving, v1::SnapshotChunk { items: chunk.to_vec() })?;
    }
    let end = v1::SnapshotEnd { epoch: vec![epoch; 16], revision, digest: digest_of(items) };
    state.snapshot_end(arriving, &end)
}

fn delta(from: u64, to: u64, upserts: &[v1::Item], removals: &[&v1::Item], result: &[v1::Item]) -> v1::Delta {
    let removals = removals.iter().map(|item| ItemKeyMessage { kind: item.kind, id: item.id.clone() }).collect();
    v1::Delta { from, to, upserts: upserts.to_vec(), removals, digest: digest_of(result) }
}

fn broken(mut item: v1::Item) -> v1::Item {
    item.body = vec![0xff; 3].into();
    item
}

fn token_id(n: u32) -> nla_domain::id::TokenId {
    format!("{n:012}").parse().unwrap()
}

#[test]
fn a_snapshot_and_deltas_make_one_state() {
    let mut state = state();
    let start = [settings(), database("shop", "shop"), credential("shop"), token(1, "ada")];
    let applied = take(&mut state, 1, 10, &start).unwrap();
    assert!(applied.refused.is_empty());
    assert_eq!(applied.snapshot.tokens.len(), 1);
    assert!(state.confirms(10, &digest_of(&start)));

    let next = [settings(), database("shop", "other"), token(1, "ada"), token(2, "bob")];
    let change = delta(10, 12, &[next[1].clone(), next[3].clone()], &[&start[2]], &next);
    let applied = state.delta(change).unwrap();
    assert_eq!(applied.snapshot.revision, Revision(12));
    assert_eq!(applied.snapshot.tokens.len(), 2);
    assert!(applied.snapshot.credentials.is_empty());
    assert_eq!(applied.snapshot.databases.values().next().unwrap().dbname, "other");
    assert!(!state.confirms(10, &digest_of(&start)) && state.confirms(12, &digest_of(&next)));
    assert!(!state.confirms(12, &digest_of(&start)), "the digest counts, not only the revision");
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let items = [settings(), token(1, "ada")];
    let more = [settings(), token(1, "ada"), token(2, "bob")];
    let cases: [(&str, v1::Delta); 5] = [
        ("a gap", delta(11, 12, &more[2..], &[], &more)),
        ("an old one", delta(9, 12, &more[2..], &[], &more)),
        ("backwards", delta(10, 9, &more[2..], &[], &more)),
        ("a wrong digest", delta(10, 11, &more[2..], &[], &items)),
        ("no settings", delta(10, 11, &[], &[&items[0]], &items[1..])),
    ];
    for (what, change) in cases {
        let mut state = state();
        take(&mut state, 1, 10, &items).unwrap();
        assert!(state.delta(change).is_err(), "{what}");
        assert!(state.confirms(10, &digest_of(&items)), "{what}");
    }
    assert!(matches!(state().delta(delta(0, 1, &items, &[], &items)), Err(StateError::Gap { .. })));
    assert!(matches!(take(&mut state(), 1, 1, &items[1..]), Err(StateError::NoSettings)));
}

#[test]
fn an_older_revision_of_the_same_epoch_is_refused() {
    let items = [settings()];
    let mut state = state();
    take(&mut state, 1, 10, &items).unwrap();
    assert!(matches!(take(&mut state, 1, 9, &items), Err(StateError::WentBack { .. })));
    take(&mut state, 1, 10, &items).unwrap();
    take(&mut state, 2, 3, &items).unwrap();
    assert_eq!(state.held().unwrap().revision, Revision(3));
}

#[test]
fn a_bad_item_keeps_its_last_good_value_and_blocks_nothing() {
    let mut state = state();
    let good = [settings(), database("shop", "good"), token(1, "ada")];
    take(&mut state, 1, 1, &good).unwrap();

    let next = [settings(), broken(database("shop", "x")), token(1, "ada"), broken(token(2, "x")), token(3, "eve")];
    let change = [next[1].clone(), next[3].clone(), next[4].clone()];
    let applied = state.delta(delta(1, 2, &change, &[], &next)).unwrap();
    let refused: Vec<String> = applied.refused.iter().map(|item| item.key.to_string()).collect();
    assert_eq!(refused, ["Database/shop", "Token/000000000002"]);
    assert_eq!(applied.snapshot.databases.values().next().unwrap().dbname, "good");
    assert!(applied.snapshot.tokens.contains_key(&token_id(3)));
    assert!(!applied.snapshot.tokens.contains_key(&token_id(2)));

    // The same bytes again, in a whole snapshot: still refused, still the old value.
    let applied = take(&mut state, 1, 3, &next).unwrap();
    assert_eq!(applied.refused.len(), 2);
    assert_eq!(applied.snapshot.databases.values().next().unwrap().dbname, "good");
    // In another epoch the old value is no last good value.
    let applied = take(&mut state, 2, 1, &next).unwrap();
    assert!(applied.snapshot.databases.is_empty());
    // Good again.
    let repaired = [settings(), database("shop", "new")];
    let applied = take(&mut state, 2, 2, &repaired).unwrap();
    assert!(applied.refused.is_empty());
    assert_eq!(applied.snapshot.databases.values().next().unwrap().dbname, "new");
}

#[test]
fn an_item_cannot_stand_in_for_another() {
    let mut state = state();
    let mut impostor = token(1, "ada");
    impostor.id = "000000000002".into();
    let applied = take(&mut state, 1, 1, &[settings(), impostor]).unwrap();
    assert_eq!(applied.refused.len(), 1);
    assert!(applied.snapshot.tokens.is_empty());
}

#[test]
fn a_revoked_token_stays_revoked_over_epochs() {
    let mut state = state();
    let before = [settings(), token(1, "ada"), token(2, "bob")];
    take(&mut state, 1, 1, &before).unwrap();
    let after = [settings(), token(2, "bob"), tombstone(1)];
    let applied = state.delta(delta(1, 2, &after[2..], &[&before[1]], &after)).unwrap();
    assert!(!applied.snapshot.tokens.contains_key(&token_id(1)));

    // A backup from before the revocation is restored.
    let applied = take(&mut state, 2, 1, &before).unwrap();
    assert!(!applied.snapshot.tokens.contains_key(&token_id(1)), "it came back to life");
    assert!(applied.snapshot.tokens.contains_key(&token_id(2)));
    // Neither does a delta bring it back.
    let renamed = [settings(), token(1, "eve"), token(2, "bob")];
    let applied = state.delta(delta(1, 2, &renamed[1..2], &[], &renamed)).unwrap();
    assert!(!applied.snapshot.tokens.contains_key(&token_id(1)));
}

#[test]
fn a_tombstone_counts_whatever_its_body_holds_and_beside_its_token() {
    let mut state = state();
    let items = [settings(), token(1, "ada"), broken(tombstone(1))];
    let applied = take(&mut state, 1, 1, &items).unwrap();
    assert!(applied.snapshot.tokens.is_empty());
}

#[test]
fn malformed_messages_are_refused() {
    let mut state = state();
    let unknown = v1::Item { kind: 99, ..token(1, "ada") };
    let mut arriving = Arriving::default();
    let chunk = v1::SnapshotChunk { items: vec![unknown] };
    assert!(matches!(state.collect(&mut arriving, chunk), Err(StateError::Malformed(_))));
    for end in [
        v1::SnapshotEnd { epoch: vec![1; 15], revision: 1, digest: vec![0; 32] },
        v1::SnapshotEnd { epoch: vec![1; 16], revision: 1, digest: vec![0; 31] },
    ] {
        assert!(matches!(state.snapshot_end(Arriving::default(), &end), Err(StateError::Malformed(_))));
    }
}

#[test]
fn a_state_that_is_too_large_is_refused() {
    let state = state();
    let mut arriving = Arriving { bytes: MAX_BYTES, ..Arriving::default() };
    let chunk = v1::SnapshotChunk { items: vec![settings()] };
    assert!(matches!(state.collect(&mut arriving, chunk), Err(StateError::TooLarge)));
}
