//! Tables of what must not open.

use super::*;

fn kek(byte: u8) -> Kek {
    Kek::new(Key32::new([byte; 32]))
}

fn ring() -> Keyring {
    Keyring::create(&kek(1)).unwrap().0
}

#[test]
fn records_open_where_they_were_sealed() {
    let (ring, wrapped) = Keyring::create(&kek(1)).unwrap();
    let sealed = ring.seal(Tree::State, b"k", 7, b"content").unwrap();
    let again = Keyring::unwrap(&kek(1), &wrapped).unwrap();
    let opened = again.open(Tree::State, b"k", &sealed).unwrap();
    assert_eq!((opened.version, opened.plain.as_slice()), (7, b"content".as_slice()));
    assert_eq!(ring.open(Tree::State, b"e", &ring.seal(Tree::State, b"e", 0, b"").unwrap()).unwrap().plain.len(), 0);
    assert_ne!(sealed, ring.seal(Tree::State, b"k", 7, b"content").unwrap(), "nonces are fresh");
    assert!(!sealed.windows(7).any(|part| part == b"content"));
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let ring = ring();
    let sealed = ring.seal(Tree::State, b"key", 258, b"a record of some length").unwrap();
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut copy = sealed.clone();
            copy[at] ^= 1 << bit;
            assert!(ring.open(Tree::State, b"key", &copy).is_err(), "byte {at}, bit {bit}");
        }
        assert!(ring.open(Tree::State, b"key", &sealed[..at]).is_err(), "cut at {at}");
    }
    let longer = [sealed.as_slice(), b"x"].concat();
    assert!(ring.open(Tree::State, b"key", &longer).is_err());
}

#[test]
fn a_record_opens_at_its_own_place_only() {
    let (ring, wrapped) = Keyring::create(&kek(1)).unwrap();
    let other_store = self::ring();
    let sealed = ring.seal(Tree::State, b"key", 3, b"content").unwrap();
    let swapped = ring.seal(Tree::State, b"yek", 3, b"content").unwrap();
    // An older version under a newer one's header.
    let mut rewritten = sealed.clone();
    rewritten[5..13].copy_from_slice(&4_u64.to_be_bytes());
    let cases = [
        ("another key", ring.open(Tree::State, b"yek", &sealed)),
        ("swapped", ring.open(Tree::State, b"key", &swapped)),
        ("another tree", ring.open(Tree::Audit, b"key", &sealed)),
        ("a longer key", ring.open(Tree::State, b"key2", &sealed)),
        ("another store", other_store.open(Tree::State, b"key", &sealed)),
        ("another version", ring.open(Tree::State, b"key", &rewritten)),
    ];
    for (name, opened) in cases {
        assert_eq!(opened.unwrap_err(), Unsealed::Altered, "{name}");
    }
    assert!(Keyring::unwrap(&kek(1), &wrapped).unwrap().open(Tree::State, b"key", &sealed).is_ok());
}

/// Trees have keys of their own; the binding holds without that too.
#[test]
fn each_part_of_a_place_is_bound_under_one_key() {
    let key = DataKey::new(&[5; 32]);
    let (store, other) = ([1; 16], [2; 16]);
    let sealed = key.seal(Place { store: &store, tree: "state", key: b"key" }, 1, 1, b"content").unwrap();
    let cases = [
        (Place { store: &store, tree: "state", key: b"key" }, true),
        (Place { store: &other, tree: "state", key: b"key" }, false),
        (Place { store: &store, tree: "audit", key: b"key" }, false),
        (Place { store: &store, tree: "state", key: b"yek" }, false),
        (Place { store: &store, tree: "statek", key: b"ey" }, false),
    ];
    for (place, opens) in cases {
        assert_eq!(key.open(place, &sealed).is_ok(), opens, "{place:?}");
    }
}

#[test]
fn formats_and_generations_of_others_are_named() {
    let ring = ring();
    let sealed = ring.seal(Tree::State, b"key", 3, b"content").unwrap();
    let mut format = sealed.clone();
    format[0] = 9;
    assert_eq!(ring.open(Tree::State, b"key", &format).unwrap_err(), Unsealed::Format(9));
    let mut generation = sealed;
    generation[4] = 9;
    assert_eq!(ring.open(Tree::State, b"key", &generation).unwrap_err(), Unsealed::Generation(9));
}

#[test]
fn a_wrong_key_and_damage_are_told_apart() {
    let (_, wrapped) = Keyring::create(&kek(1)).unwrap();
    assert_eq!(Keyring::unwrap(&kek(2), &wrapped).unwrap_err(), KeyringError::WrongKek);
    for at in 0..wrapped.sealed.len() {
        let mut copy = wrapped.clone();
        copy.sealed[at] ^= 1;
        assert_eq!(Keyring::unwrap(&kek(1), &copy).unwrap_err(), KeyringError::Damaged, "byte {at}");
    }
    let mut copy = wrapped;
    copy.store_id[0] ^= 1;
    assert!(Keyring::unwrap(&kek(1), &copy).is_err());
}

#[test]
fn index_keys_tell_records_apart_and_reveal_no_name() {
    let ring = ring();
    let names: [(&str, &[&[u8]]); 6] = [
        ("role", &[b"shop"]),
        ("database", &[b"shop"]),
        ("answer", &[b"ab", b"c"]),
        ("answer", &[b"a", b"bc"]),
        ("answer", &[b"abc"]),
        ("settings", &[]),
    ];
    let keys: std::collections::BTreeSet<[u8; 32]> =
        names.iter().map(|(kind, parts)| ring.index(kind, parts)).collect();
    assert_eq!(keys.len(), names.len());
    assert_eq!(ring.index("role", &[b"shop"]), ring.index("role", &[b"shop"]));
    assert_ne!(ring.index("role", &[b"shop"]), self::ring().index("role", &[b"shop"]));
}

#[test]
fn a_new_kek_opens_what_the_old_one_did_and_the_old_one_opens_nothing() {
    let (ring, wrapped) = Keyring::create(&kek(1)).unwrap();
    assert_eq!(wrapped.kek_generation(), 1);
    let sealed = ring.seal(Tree::State, b"k", 1, b"content").unwrap();
    let again = wrapped.rewrapped(&kek(1), &kek(2), 2).unwrap();
    assert_eq!(again.kek_generation(), 2);
    assert!(Keyring::unwrap(&kek(2), &again).unwrap().open(Tree::State, b"k", &sealed).is_ok());
    assert_eq!(Keyring::unwrap(&kek(1), &again).unwrap_err(), KeyringError::WrongKek);
    assert_eq!(wrapped.rewrapped(&kek(3), &kek(2), 2).unwrap_err(), KeyringError::WrongKek);
    for at in 0..again.sealed.len() {
        let mut copy = again.clone();
        copy.sealed[at] ^= 1;
        assert_eq!(Keyring::unwrap(&kek(2), &copy).unwrap_err(), KeyringError::Damaged, "byte {at}");
    }
}

#[test]
fn generations_come_and_go() {
    let (ring, wrapped) = Keyring::create(&kek(1)).unwrap();
    let old = ring.seal(Tree::Audit, b"k", 1, b"old").unwrap();
    let two = wrapped.with_generation(&kek(1), 2).unwrap();
    ring.adopt(&kek(1), &two).unwrap();
    assert_eq!((ring.generations(), ring.newest(Tree::Audit)), (vec![1, 2], 2));
    let new = ring.seal(Tree::Audit, b"k", 1, b"new").unwrap();
    assert_eq!((sealed::generation(&old), sealed::generation(&new)), (Ok(1), Ok(2)));
    assert_eq!(ring.open(Tree::Audit, b"k", &old).unwrap().plain.as_slice(), b"old");
    // A record of one generation under the other's number does not open.
    let mut renumbered = old.clone();
    renumbered[4] = 2;
    assert_eq!(ring.open(Tree::Audit, b"k", &renumbered).unwrap_err(), Unsealed::Altered);

    let one = two.without_before(&kek(1), 2).unwrap();
    ring.adopt(&kek(1), &one).unwrap();
    assert_eq!(ring.generations(), [2]);
    assert_eq!(ring.open(Tree::Audit, b"k", &old).unwrap_err(), Unsealed::Generation(1));
    assert!(ring.open(Tree::Audit, b"k", &new).is_ok());
    assert_eq!(one.without_before(&kek(1), 3).unwrap_err(), KeyringError::Damaged, "never without any key");
    let (_, other) = Keyring::create(&kek(1)).unwrap();
    assert_eq!(ring.adopt(&kek(1), &other).unwrap_err(), KeyringError::Damaged);
}
