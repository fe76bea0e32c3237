//! What is said of which token, and when.

use nla_domain::{
    clock::FixedClock,
    id::Revision,
    secret::Key32,
    snapshot::{DEFAULT_STANDARD_STALENESS, DEFAULT_STRICT_STALENESS, Settings},
    token::{Token, TokenText},
};

use super::*;
use crate::{
    crypto::Kek,
    store::{Meta, Revocation, StoreOptions},
};

const HOUR: u64 = 3600;

fn at(hours: u64) -> Timestamp {
    Timestamp::default().plus(Duration::from_secs(hours * HOUR))
}

/// A token that is made at hour 0 and lives for so many.
fn token(hours: Option<u64>) -> Stored<TokenRecord> {
    let text = TokenText::generate().unwrap();
    let token = Token {
        id: text.id(),
        verifier: text.verifier(&Key32::new([1; 32])),
        owner: "ada".into(),
        roles: vec![],
        databases: vec![],
        expires_at: hours.map(at),
        allowed_cidrs: vec![],
        staleness: Default::default(),
        limits: Default::default(),
    };
    let value = TokenRecord {
        token,
        purpose: "test".into(),
        revoked: None,
        predecessor: None,
        successor: None,
        labels: Default::default(),
        noticed: None,
    };
    let meta = Meta { revision: Revision(1), created_at: at(0), updated_at: at(0), created_by: "ada".into() };
    Stored { value, meta }
}

#[test]
fn notices_come_30_7_and_1_days_before_the_end() {
    use Notice::{Ended, Within1Day, Within7Days, Within30Days};
    // Life in days; hours after it was made; what is said then.
    let cases = [
        (90, 0, None),
        (90, 60 * 24 - 1, None),
        (90, 60 * 24, Some(Within30Days)),
        (90, 83 * 24 - 1, Some(Within30Days)),
        (90, 83 * 24, Some(Within7Days)),
        (90, 89 * 24, Some(Within1Day)),
        (90, 90 * 24 - 1, Some(Within1Day)),
        (90, 90 * 24, Some(Ended)),
        (90, 900 * 24, Some(Ended)),
        // No notice that is longer than the life.
        (30, 0, None),
        (30, 23 * 24, Some(Within7Days)),
        (7, 0, None),
        (7, 6 * 24, Some(Within1Day)),
        (1, 0, None),
        (1, 23, None),
        (1, 24, Some(Ended)),
    ];
    for (days, hour, expected) in cases {
        assert_eq!(notice(&token(Some(days * 24)), at(hour)), expected, "{days} days, hour {hour}");
    }
    assert_eq!(notice(&token(None), at(1_000_000)), None);
}

#[test]
fn nothing_is_said_twice_or_backwards() {
    let mut token = token(Some(90 * 24));
    for (said, hour, expected) in [
        (Notice::Within30Days, 60 * 24, None),
        (Notice::Within30Days, 83 * 24, Some(Notice::Within7Days)),
        (Notice::Within7Days, 60 * 24, None),
        (Notice::Within1Day, 90 * 24, Some(Notice::Ended)),
        (Notice::Ended, 90 * 24, None),
    ] {
        token.value.noticed = Some(said);
        assert_eq!(notice(&token, at(hour)), expected, "after {said:?} at hour {hour}");
    }
}

#[test]
fn a_successor_or_a_revocation_silences_the_notices() {
    let mut rotated = token(Some(90 * 24));
    rotated.value.successor = Some("abcDEF012345".parse().unwrap());
    assert_eq!(notice(&rotated, at(89 * 24)), None);
    assert_eq!(notice(&rotated, at(90 * 24)), Some(Notice::Ended));
    let mut revoked = token(Some(90 * 24));
    revoked.value.revoked = Some(Revocation { at: at(1), by: "ada".into(), reason: String::new() });
    assert_eq!(notice(&revoked, at(89 * 24)), None);
    assert_eq!(notice(&revoked, at(90 * 24)), None);
}

/// Actions in the audit log after the first event.
async fn said(store: &Store) -> Vec<String> {
    let events = store.audit_after(1, 1_000).await.unwrap();
    let actions = events.into_iter().filter_map(|event| match event.event {
        Some(v1::audit_event::Event::Admin(event)) => Some(format!("{} {}", event.action, event.reason)),
        _ => None,
    });
    actions.map(|text| text.split(',').next().unwrap().split(" at ").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn restarts_repeat_nothing_and_an_outage_leaves_only_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock::at(at(0)));
    let options =
        || StoreOptions { cache_bytes: 4 << 20, ..StoreOptions::new(folder.path().join("store"), clock.clone()) };
    let kek = Kek::new(Key32::new([7; 32]));
    let settings = Settings {
        pepper: Key32::new([9; 32]),
        strict_staleness: DEFAULT_STRICT_STALENESS,
        standard_staleness: DEFAULT_STANDARD_STALENESS,
    };
    // More of them than one change takes.
    let tokens: Vec<TokenRecord> = (0..MAX_AT_ONCE + 50).map(|_| token(Some(90 * 24)).value).collect();
    let count = tokens.len();
    let first = |draft: &mut Draft<'_>| {
        draft.event(v1::AdminEvent { action: "init".into(), ..Default::default() });
        tokens.into_iter().for_each(|token| drop(draft.put(token)));
        Ok(())
    };
    let (mut store, ()) = Store::create(options(), &kek, settings, first).unwrap();
    let mut expected: Vec<String> = Vec::new();
    for (hour, text) in [
        (0, None),
        (60 * 24, Some("token.expiring it ends within 30 days")),
        (60 * 24 + 1, None),
        // Away from day 60 to day 89: nothing of 7 days.
        (89 * 24, Some("token.expiring it ends within a day")),
        (91 * 24, Some("token.expired it has ended")),
        (99 * 24, None),
    ] {
        clock.advance(at(hour).since(clock.now()));
        for _ in 0..2 {
            Expiry::new(store.clone(), clock.clone()).look().await.unwrap();
        }
        expected.extend(text.map(|text| vec![text.to_owned(); count]).unwrap_or_default());
        assert_eq!(said(&store).await, expected, "hour {hour}");
        store.close().await;
        drop(store);
        store = Store::open(options(), &kek).unwrap();
    }
}
