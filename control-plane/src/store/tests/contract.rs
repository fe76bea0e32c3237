//! What every store promises.

use nla_domain::{
    credential::Credential,
    database::{Database, DatabaseLimits, Endpoint, RolePolicy, SslMode},
    id::OperatorName,
    join::{CaPin, JoinToken},
    operator::Level,
    secret::Secret,
    snapshot::{Digest, ItemKind},
};
use zeroize::Zeroizing;

use super::*;

fn one_of_each() -> Vec<Record> {
    let at = Timestamp::from_micros(1_700_000_000_000_001);
    let revoked = Some(Revocation { at, by: "ada".into(), reason: "left".into() });
    let certificate = CertificateRecord { serial: vec![1, 2, 3], not_after: at };
    let database = Database {
        name: "shop".parse().unwrap(),
        description: "orders".into(),
        endpoint: Endpoint { host: "localhost".into(), port: 5432.try_into().unwrap() },
        dbname: "shop".into(),
        sslmode: SslMode::Disable,
        root_certificate_pem: None,
        limits: DatabaseLimits::default(),
        role_policy: RolePolicy::Warn,
    };
    let credential = Credential {
        database: "shop".parse().unwrap(),
        username: "reader".into(),
        password: Secret::new("s3cr3t"),
        generation: 2,
    };
    let joining = JoinToken::generate(CaPin([1; 32])).unwrap();
    let edge = "e1".parse().unwrap();
    let name: OperatorName = "ada".parse().unwrap();
    let old = token();
    let replaced = TokenRecord { predecessor: Some(old.token.id), revoked: revoked.clone(), ..token() };
    vec![
        settings().into(),
        old.into(),
        replaced.into(),
        database.into(),
        credential.into(),
        role("reader", "reads").into(),
        EdgeRecord {
            id: edge,
            certificate: certificate.clone(),
            previous: Some(CertificateRecord { serial: vec![1, 2], not_after: at }),
            revoked: revoked.clone(),
            draining: Some(Pause { since: at, reason: "upgrade".into() }),
            quarantine: Some(Pause { since: at, reason: "odd calls".into() }),
        }
        .into(),
        OperatorRecord { name, level: Level::Auditor, next: Some(certificate.clone()), certificate, revoked }.into(),
        JoinRecord {
            verifier: joining.verifier(),
            edge: "e1".parse().unwrap(),
            expires_at: at,
            spent_at: Some(at),
            allowed_cidrs: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        }
        .into(),
        CaRecord {
            slot: CaSlot::Next,
            trust_domain: "nla.local".into(),
            certificate_der: vec![1],
            key_pkcs8: Zeroizing::new(vec![2]),
        }
        .into(),
        AnswerRecord {
            actor: "ada".into(),
            key: "k".into(),
            request: Digest::of(b"r"),
            response: Zeroizing::new(vec![3]),
            at,
        }
        .into(),
        IngestRecord { edge: "e1".parse().unwrap(), boot: "b".into(), stored_through: 4, at }.into(),
    ]
}

#[tokio::test]
async fn each_kind_of_record_survives_a_restart() {
    let bench = Bench::new();
    let store = bench.create();
    let records = one_of_each();
    let put = records.clone();
    store
        .mutate("ada", move |draft| {
            draft.event(event("all"));
            put.into_iter().for_each(|record| drop(draft.put(record)));
            Ok(())
        })
        .await
        .unwrap();
    let before = store.state();
    store.close().await;
    let store = bench.open().unwrap();
    let after = store.state();
    assert_eq!((after.revision, after.epoch), (before.revision, before.epoch));
    for record in records {
        let key = record.key();
        let (before, after) = (before.entry(&key).unwrap(), after.entry(&key).unwrap());
        assert_eq!(codec::encode(&before), codec::encode(&after), "{key}");
        let (stored, meta) = codec::decode(&codec::encode(&after)).unwrap();
        assert_eq!((stored, &meta), (record, after.meta()), "{key}");
    }
    let report = store.verify().await.unwrap();
    assert_eq!((report.revision, report.records, report.audit_events), (Revision(2), 12, 2));
}

#[tokio::test]
async fn a_change_moves_the_revision_and_says_who_made_it() {
    let bench = Bench::new();
    let store = bench.create();
    let mut revisions = store.revisions();
    assert_eq!(*revisions.borrow_and_update(), Revision(1));
    let made = put_role(&store, "reader", "one").await.unwrap();
    assert_eq!((made.revision, made.created_by.as_str()), (Revision(2), "ada"));
    assert!(revisions.has_changed().unwrap());
    assert_eq!(*revisions.borrow_and_update(), Revision(2));
    bench.clock.advance(Duration::from_secs(60));
    let changed = put_role(&store, "reader", "two").await.unwrap();
    assert_eq!((changed.revision, changed.created_at), (Revision(3), made.created_at));
    assert_eq!(changed.updated_at.since(made.updated_at), Duration::from_secs(60));
    let state = store.state();
    assert_eq!(state.roles["reader"].value.description, "two");
    // Events alone change nothing that anyone would want to hear of.
    store.audit_admin(event("refused")).await.unwrap();
    assert!(!revisions.has_changed().unwrap() || *revisions.borrow() == Revision(3));
    assert_eq!(store.state().revision, Revision(3));
}

#[tokio::test]
async fn a_refused_or_failing_change_leaves_no_trace() {
    let bench = Bench::new();
    let store = bench.create();
    put_role(&store, "reader", "one").await.unwrap();
    let refused: Result<(), Failure> = store
        .mutate("ada", |draft| {
            draft.put(role("reader", "two"));
            draft.put(role("new", ""));
            draft.remove(&RecordKey::Role("reader".parse().unwrap()));
            draft.event(event("no"));
            Err(Failure::new(ErrorKind::Conflict, "no"))
        })
        .await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Conflict);
    let silent = store.mutate("ada", |draft| Ok(draft.put(role("silent", "")))).await;
    assert_eq!(silent.unwrap_err().kind, ErrorKind::Internal);
    let panicked: Result<(), Failure> = store
        .mutate("ada", |draft| {
            draft.put(role("reader", "three"));
            panic!("expected by the test")
        })
        .await;
    assert_eq!(panicked.unwrap_err().kind, ErrorKind::Internal);
    let large = v1::AdminEvent { after_json: "x".repeat(300 << 10), ..event("large") };
    let large = store
        .mutate("ada", |draft| {
            draft.event(large);
            Ok(draft.put(role("large", "")))
        })
        .await;
    assert_eq!(large.unwrap_err().kind, ErrorKind::InvalidArgument);
    let unreadable = put_role(&store, "unreadable", "a control character\0").await.unwrap_err();
    assert_eq!((unreadable.kind, unreadable.field.as_deref()), (ErrorKind::InvalidArgument, Some("description")));
    let state = store.state();
    assert_eq!((state.revision, state.roles.len()), (Revision(2), 1));
    assert_eq!(state.roles["reader"].value.description, "one");
    assert_eq!(*store.audit_head().borrow(), 2);
    put_role(&store, "reader", "four").await.unwrap();
    store.close().await;
    assert_eq!(bench.open().unwrap().state().roles["reader"].value.description, "four");
}

#[tokio::test]
async fn a_refused_change_leaves_no_trace_in_a_shared_commit() {
    let bench = Bench::new();
    let store = bench.create();
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let first = store.mutate("ada", move |draft| {
        draft.event(event("first"));
        draft.put(role("a", "first"));
        // All others are waiting by the time this ends, and share a commit.
        wait.recv().unwrap();
        Ok(())
    });
    let refused = store.mutate("ada", |draft| {
        draft.event(event("refused"));
        draft.put(role("a", "refused"));
        draft.put(role("refused", ""));
        Err::<(), _>(Failure::new(ErrorKind::Conflict, "no"))
    });
    let silent = store.mutate("ada", |draft| Ok(draft.put(role("a", "silent"))));
    let panicked = store.mutate("ada", |draft| {
        draft.put(role("a", "panicked"));
        panic!("expected by the test") as Result<(), Failure>
    });
    let edge: EdgeId = "e1".parse().unwrap();
    let large_text = "x".repeat(300 << 10);
    let huge = v1::CallEvent { rule: large_text.clone(), ..call("r") };
    let (first, refused, silent, panicked, large, append, last, ()) = tokio::join!(
        first,
        refused,
        silent,
        panicked,
        put_role(&store, "large", &large_text),
        store.audit_append(&edge, "b", 1, vec![call("r"), huge]),
        put_role(&store, "last", "last"),
        async { release.send(()).unwrap() },
    );
    first.unwrap();
    assert!(refused.is_err() && silent.is_err() && panicked.is_err() && large.is_err() && append.is_err());
    assert_eq!(last.unwrap().revision, Revision(3));
    let check = |store: &Store| {
        let state = store.state();
        let roles: Vec<_> =
            state.roles.iter().map(|(name, role)| (name.as_str(), role.value.description.as_str())).collect();
        assert_eq!(roles, [("a", "first"), ("last", "last")]);
        assert_eq!((state.revision, *store.audit_head().borrow()), (Revision(3), 3));
        assert!(state.ingests.is_empty());
    };
    check(&store);
    store.verify().await.unwrap();
    put_role(&store, "a", "first").await.unwrap();
    store.verify().await.unwrap();
    store.close().await;
    bench.open().unwrap().verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_lose_no_update_and_share_commits() {
    const CALLERS: usize = 64;
    let bench = Bench::new();
    let store = bench.create();
    let start = put_role(&store, "reader", "0").await.unwrap().revision;
    let tasks: Vec<_> = (0..CALLERS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .mutate("ada", |draft| {
                        let count: u32 = draft.state().roles["reader"].value.description.parse().unwrap();
                        draft.event(event("count"));
                        draft.put(role("reader", &(count + 1).to_string()));
                        Ok(())
                    })
                    .await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(store.state().roles["reader"].value.description, CALLERS.to_string());
    assert_eq!(store.state().revision.0, start.0 + CALLERS as u64);
    // Of callers that read the same revision, one wins and all others learn it.
    let seen = store.state().roles["reader"].meta.revision.0;
    let tasks: Vec<_> = (0..CALLERS)
        .map(|at| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .mutate("ada", move |draft| {
                        draft.expect_revision(&RecordKey::Role("reader".parse().unwrap()), seen)?;
                        draft.event(event("race"));
                        draft.put(role("reader", &format!("won by {at}")));
                        Ok(())
                    })
                    .await
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => won += 1,
            Err(failure) => assert_eq!(failure.kind, ErrorKind::FailedPrecondition),
        }
    }
    assert_eq!(won, 1);
    store.verify().await.unwrap();
}

#[tokio::test]
async fn the_log_of_changes_names_what_changed() {
    let bench = Bench::new();
    let store = bench.create();
    put_role(&store, "a", "").await.unwrap(); // 2
    put_role(&store, "b", "").await.unwrap(); // 3
    put_role(&store, "a", "x").await.unwrap(); // 4
    let gone = RecordKey::Role("b".parse().unwrap());
    store
        .mutate("ada", move |draft| {
            draft.event(event("remove"));
            assert!(draft.remove(&gone) && !draft.remove(&gone));
            Ok(())
        })
        .await
        .unwrap(); // 5
    let id = token();
    let id_text = id.token.id.to_string();
    store
        .mutate("ada", move |draft| {
            draft.event(event("token"));
            draft.put(id);
            Ok(())
        })
        .await
        .unwrap(); // 6
    let check = |store: &Store| {
        let named = |from, to| -> Option<Vec<String>> {
            let items = store.changes(Revision(from), Revision(to))?;
            Some(items.iter().map(|item| format!("{:?} {}", item.kind, item.id)).collect())
        };
        let role = |name: &str| format!("{:?} {name}", ItemKind::Role);
        assert_eq!(named(1, 4), Some(vec![role("a"), role("b")]));
        assert_eq!(named(3, 4), Some(vec![role("a")]));
        assert_eq!(named(4, 5), Some(vec![role("b")]));
        assert_eq!(named(5, 6), Some(vec![format!("Token {id_text}"), format!("Tombstone {id_text}")]));
        assert_eq!(named(6, 6), Some(vec![]));
        assert_eq!(named(0, 1), Some(vec!["Settings ".to_owned()]));
        assert_eq!(named(6, 7), None, "the future is not known");
        assert_eq!(named(5, 4), None);
    };
    check(&store);
    store.close().await;
    let store = bench.open().unwrap();
    check(&store);
    assert!(!store.state().roles.contains_key("b"));
}

#[tokio::test]
async fn a_closed_store_refuses_and_gives_the_folder_free() {
    let bench = Bench::new();
    let store = bench.create();
    let other = store.clone();
    store.close().await;
    assert_eq!(put_role(&other, "a", "").await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(other.size_bytes().await.unwrap_err().kind, ErrorKind::Unavailable);
    assert!(matches!(other.verify().await, Err(StoreError::Closed)));
    bench.open().unwrap();
    // Dropping without closing gives it free as well.
    bench.open().unwrap();
}
