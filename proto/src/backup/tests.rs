use super::*;
use crate::v1::BackupManifest;

fn key(byte: u8) -> BackupKey {
    BackupKey::new(&Zeroizing::new([byte; 32]))
}

fn pairs() -> Vec<BackupPair> {
    let pair = |tree, key: &[u8], value: &[u8]| BackupPair { tree, key: key.to_vec(), value: value.to_vec() };
    vec![pair(1, b"head", b"h"), pair(2, b"a", b"1"), pair(2, b"b", b""), pair(4, b"a", b"22")]
}

fn write(pairs: &[BackupPair]) -> (Vec<u8>, BackupSum) {
    let manifest = BackupManifest { revision: 7, version: "1".into(), ..Default::default() };
    let mut writer = BackupWriter::begin(Vec::new(), key(1), &manifest, b"header").unwrap();
    for pair in pairs {
        writer.pair(pair.tree, &pair.key, &pair.value).unwrap();
    }
    let (sum, bytes) = writer.finish().unwrap();
    (bytes, sum)
}

fn read(bytes: &[u8], key: Option<BackupKey>) -> Result<(Vec<BackupPair>, BackupSum), BackupError> {
    let mut reader = BackupReader::open(bytes)?;
    if let Some(key) = key {
        reader.authenticate(key)?;
    }
    let mut found = Vec::new();
    while let Some(pair) = reader.next_pair()? {
        found.push(pair);
    }
    Ok((found, reader.sum().unwrap()))
}

#[test]
fn what_was_written_is_read_with_and_without_the_key() {
    let (bytes, sum) = write(&pairs());
    assert_eq!((sum.pairs, sum.bytes), (4, bytes.len() as u64));
    assert_eq!(sum.sha256, nla_domain::snapshot::Digest::of(&bytes).0);
    for key in [None, Some(key(1))] {
        let (found, read_sum) = read(&bytes, key).unwrap();
        assert_eq!((found, read_sum), (pairs(), sum));
    }
    let reader = BackupReader::open(bytes.as_slice()).unwrap();
    assert_eq!((reader.manifest().revision, reader.header()), (7, b"header".as_slice()));
}

#[test]
fn every_cut_is_refused() {
    let (bytes, _) = write(&pairs());
    for length in 0..bytes.len() {
        for key in [None, Some(key(1))] {
            let error = read(&bytes[..length], key).expect_err(&length.to_string());
            let expected = if length < MAGIC.len() { "not a backup" } else { "cut off after" };
            assert!(error.to_string().contains(expected), "{length}: {error}");
        }
    }
}

#[test]
fn every_flipped_byte_is_refused() {
    let (bytes, _) = write(&pairs());
    for at in 0..bytes.len() {
        for bit in [0x01, 0x80] {
            let mut bytes = bytes.clone();
            bytes[at] ^= bit;
            assert!(read(&bytes, Some(key(1))).is_err(), "{at} {bit}");
            // Only the MACs themselves mean nothing without the key.
            let begin_mac = 20 + 4 + 5 + 4 + 6;
            let in_mac = (begin_mac..begin_mac + 32).contains(&at) || at >= bytes.len() - 32;
            assert!(in_mac || read(&bytes, None).is_err(), "{at} {bit} without the key");
        }
    }
}

#[test]
fn pairs_that_were_moved_repeated_or_taken_out_are_refused() {
    let good = pairs();
    let (moved, repeated) = ([&good[0], &good[2], &good[1], &good[3]], [&good[0], &good[1], &good[1], &good[3]]);
    for wrong in [moved, repeated] {
        // Even whoever has the key does not write such a file.
        let (bytes, _) = write(&wrong.map(Clone::clone));
        assert!(matches!(read(&bytes, Some(key(1))), Err(BackupError::Damaged { what }) if what.contains("order")));
    }
    // Somebody without the key takes one out and mends the checksum.
    let (fewer, _) = write(&[good[0].clone(), good[1].clone(), good[3].clone()]);
    let (whole, _) = write(&good);
    let mut forged = fewer.clone();
    let mac = forged.len() - 32;
    forged[mac..].copy_from_slice(&whole[whole.len() - 32..]);
    assert!(read(&forged, None).is_ok(), "the checksum alone cannot tell");
    assert!(matches!(read(&forged, Some(key(1))), Err(BackupError::Foreign)));
}

#[test]
fn other_files_keys_and_formats_are_told_apart() {
    let (bytes, _) = write(&pairs());
    assert!(matches!(read(&bytes, Some(key(2))), Err(BackupError::Foreign)));
    assert!(matches!(read(b"PNG and so on, long enough", None), Err(BackupError::NotABackup)));
    assert!(matches!(read(b"NLA backup format x\n", None), Err(BackupError::NotABackup)));
    assert!(matches!(read(b"NLA backup format 22\nfoo", None), Err(BackupError::Format { found: 22 })));
    let longer = [bytes.as_slice(), b"\n"].concat();
    assert!(matches!(read(&longer, None), Err(BackupError::Damaged { what }) if what.contains("after its end")));
    let huge = [b"NLA backup format 1\n".as_slice(), &[0xff; 4], &[0; 64]].concat();
    assert!(matches!(read(&huge, None), Err(BackupError::Damaged { .. })), "a length is no reason to allocate");
}
