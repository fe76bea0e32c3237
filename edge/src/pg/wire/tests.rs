//! Messages as bytes: what is sent for a call, and what becomes of bytes that a
//! server, or whoever claims to be one, sends.

use bytes::BufMut;
use postgres_protocol::message::backend as tag;
use proptest::prelude::*;

use super::{Call, Reported, Row, WireError, decode, frames::Frames};

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// The kinds and bodies that were found.
type Found = Vec<(u8, Vec<u8>)>;

/// Feeds bytes in pieces of this size; what was found, and the most that was held.
fn read(bytes: &[u8], piece: usize, allowed: u64, longest_row: usize) -> (Found, usize, Option<WireError>) {
    let mut frames = Frames::new();
    frames.allow(allowed, longest_row);
    let (mut found, mut most, mut rest) = (Vec::new(), 0, bytes);
    loop {
        match frames.advance() {
            Ok(true) => found.push(frames.last().map(|(kind, body)| (kind, body.to_vec())).unwrap()),
            Ok(false) if rest.is_empty() => return (found, most, None),
            Ok(false) => match frames.room() {
                Ok((buffer, room)) => {
                    let (now, later) = rest.split_at(piece.min(room).min(rest.len()));
                    buffer.put_slice(now);
                    most = most.max(buffer.len());
                    frames.spend(now.len());
                    rest = later;
                }
                Err(error) => return (found, most, Some(error)),
            },
            Err(error) => return (found, most, Some(error)),
        }
    }
}

#[test]
fn a_call_has_one_sync_and_no_names() {
    let mut call = Call::default();
    call.control("BEGIN READ ONLY", &[]).unwrap();
    call.control("SELECT set_config('a', $1, true)", &["x\0y"]).unwrap();
    call.statement("SELECT 1", 0).unwrap();
    call.control("ROLLBACK", &[]).unwrap();
    let bytes = call.finish();
    let (found, _, error) = read(&bytes, usize::MAX, 1 << 20, 1 << 20);
    assert_eq!(error, None);
    let kinds: Vec<u8> = found.iter().map(|(kind, _)| *kind).collect();
    // The server's own reader: a Sync looks like a parameter to it.
    assert_eq!(String::from_utf8(kinds).unwrap(), "PBEPBEPDBEPBE");
    let length: usize = found.iter().map(|(_, body)| body.len() + 5).sum();
    assert_eq!(&bytes[length..], b"S\0\0\0\x04");
    let parses: Vec<&[u8]> = found.iter().filter(|(kind, _)| *kind == b'P').map(|(_, body)| body.as_slice()).collect();
    assert_eq!(
        parses,
        [
            &b"\0BEGIN READ ONLY\0\0\0"[..],
            b"\0SELECT set_config('a', $1, true)\0\0\0",
            b"\0SELECT 1\0\0\0",
            b"\0ROLLBACK\0\0\0"
        ]
    );
    // No rows at all cannot be asked for: it would mean all of them.
    assert_eq!(found[9], (b'E', b"\0\0\0\0\x01".to_vec()));
    assert_eq!(found[4].1, b"\0\0\0\0\0\x01\0\0\0\x03x\0y\0\0");
    assert!(Call::default().statement("SELECT '\0'", 1).is_err());
}

#[test]
fn messages_come_whole_in_any_pieces_without_what_nobody_reads() {
    let mut bytes = message(tag::PARAMETER_STATUS_TAG, b"a\0b\0");
    bytes.extend(message(tag::DATA_ROW_TAG, b"\0\x01\0\0\0\x01x"));
    bytes.extend(message(tag::NOTICE_RESPONSE_TAG, &[b'x'; 300_000]));
    bytes.extend(message(tag::READY_FOR_QUERY_TAG, b"I"));
    for piece in [1, 2, 7, 1_000, usize::MAX] {
        let (found, most, error) = read(&bytes, piece, 1 << 20, 100);
        assert_eq!(error, None);
        assert_eq!(found, [(b'D', b"\0\x01\0\0\0\x01x".to_vec()), (b'Z', b"I".to_vec())], "{piece}");
        assert!(most <= 16 << 10, "{most}");
    }
}

#[test]
fn what_is_too_large_is_not_held() {
    // Its header is enough to know.
    let row = message(tag::DATA_ROW_TAG, &[0; 5_000]);
    assert_eq!(read(&row[..5], 5, 1 << 20, 4_999), (vec![], 5, Some(WireError::TooLarge)));
    assert_eq!(read(&row, 5, 1 << 20, 5_000).0.len(), 1);
    assert_eq!(read(&row, 1_000, 4_000, 5_000), (vec![], 4_000, Some(WireError::TooLarge)));
    let description = [b'T', 0x7f, 0, 0, 0];
    assert_eq!(read(&description, 5, 1 << 20, 1 << 30).2, Some(WireError::Protocol));
    for length in [[0, 0, 0, 3], [0xff, 0, 0, 0], [0; 4]] {
        let header = [&[b'D'][..], &length].concat();
        assert_eq!(read(&header, 5, 1 << 20, 1 << 30).2, Some(WireError::Protocol), "{length:?}");
    }

    // A long error is told by its first part, and what follows it is found.
    let text = [&b"SERROR\0C22P02\0Mno number: "[..], &[b'9'; 200_000], b"\0Hhint\0\0"].concat();
    let mut bytes = message(tag::ERROR_RESPONSE_TAG, &text);
    bytes.extend(message(tag::READY_FOR_QUERY_TAG, b"E"));
    let (found, most, _) = read(&bytes, 10_000, 1 << 20, 100);
    assert_eq!((found.len(), &found[1]), (2, &(b'Z', b"E".to_vec())));
    assert!(most < 128 << 10, "{most}");
    let reported = Reported::read(&found[0].1);
    assert_eq!((reported.code.as_str(), reported.fatal), ("22P02", false));
    assert!(reported.message.starts_with("no number: 999"));
}

#[test]
fn an_error_says_what_it_says() {
    let reported = Reported::read(b"SFATAL\0VFATAL\0C57P01\0Mgoing\xffdown\0Hwait\0P12\0q1\0\0");
    let expected = Reported {
        fatal: true,
        code: "57P01".into(),
        message: "going\u{fffd}down".into(),
        hint: Some("wait".into()),
        position: Some(12),
    };
    assert_eq!(reported, expected);
    assert!(Reported::read("SFEHLER\0VFATAL\0\0".as_bytes()).fatal);
    for nothing in [&b""[..], b"\0", b"P\0", b"Px\0\0"] {
        assert_eq!(Reported::read(nothing), Reported::default(), "{nothing:?}");
    }
}

#[test]
fn rows_tell_null_from_empty_and_refuse_wrong_lengths() {
    let values = |body: &'static [u8]| Row::read(body).map(|row| row.values().collect::<Vec<_>>());
    assert_eq!(values(b"\0\0"), Ok(vec![]));
    assert_eq!(values(b"\0\x03\xff\xff\xff\xff\0\0\0\0\0\0\0\x02ab"), Ok(vec![None, Some(&b""[..]), Some(&b"ab"[..])]));
    for wrong in [&b""[..], b"\0", b"\0\0x", b"\0\x01", b"\0\x01\xff\xff\xff\xfe", b"\0\x01\0\0\0\x02a", b"\xff\xff"] {
        assert_eq!(values(wrong), Err(WireError::Protocol), "{wrong:?}");
    }
    let field = [&b"\0\x01a\xc3\xa9\0"[..], &[0, 0, 0, 1, 0, 2, 0, 0, 0, 23, 0, 4, 255, 255, 255, 255, 0, 0]].concat();
    assert_eq!(
        decode::fields(&field).map(|fields| (fields[0].name.clone(), fields[0].type_oid)),
        Ok(("aé".into(), 23))
    );
    for cut in 0..field.len() {
        assert_eq!(decode::fields(&field[..cut]), Err(WireError::Protocol), "{cut}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_allowed(
        bytes in prop::collection::vec(any::<u8>(), 0..2_000),
        kinds in prop::collection::vec(prop::sample::select(b"DTECZRKNSAsn12tI".to_vec()), 0..20),
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 20),
        cut in any::<prop::sample::Index>(),
        piece in 1..300_usize,
        allowed in 0..5_000_u64,
    ) {
        let mut whole: Vec<u8> = kinds.iter().zip(&bodies).flat_map(|(kind, body)| message(*kind, body)).collect();
        whole.extend_from_slice(&bytes);
        let cut = &whole[..cut.index(whole.len() + 1)];
        for stream in [cut, &bytes] {
            let (found, most, _) = read(stream, piece, allowed, 150);
            prop_assert!(u64::try_from(most).unwrap() <= allowed);
            for (kind, body) in found {
                prop_assert!(kind != b'D' || body.len() <= 150);
                let _ = Reported::read(&body);
                let _ = decode::fields(&body);
                if let Ok(row) = Row::read(&body) {
                    prop_assert_eq!(row.values().count(), row.len());
                }
            }
        }
    }
}

#[test]
fn a_code_is_five_digits_or_capitals_or_none_of_the_server() {
    for (sent, read) in [
        ("42P01", "42P01"),
        ("57014", "57014"),
        ("42p01", "XX000"),
        ("4201", "XX000"),
        ("42P01x", "XX000"),
        ("", "XX000"),
        ("4\u{7f}P01", "XX000"),
        (&"9".repeat(60_000), "XX000"),
    ] {
        let body = format!("C{sent}\0\0");
        assert_eq!(Reported::read(body.as_bytes()).code, read, "{:?}", &sent[..sent.len().min(9)]);
    }
}
