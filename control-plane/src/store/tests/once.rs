//! A change with an idempotency key is made once.

use nla_domain::snapshot::Digest;
use zeroize::Zeroizing;

use super::*;

async fn create(store: &Store, actor: &str, key: &str, name: &str) -> Result<v1::Role, Failure> {
    let request = v1::Role { name: name.into(), ..Default::default() };
    let once = Once::new(key, "/nla.v1.Roles/Create", &request)?;
    let role = role(name, "");
    store
        .mutate_once(actor, once, move |draft| {
            draft.event(event("create"));
            let meta = draft.put(role);
            Ok(v1::Role { name: "made".into(), description: meta.revision.to_string(), ..Default::default() })
        })
        .await
}

#[tokio::test]
async fn a_repetition_gets_the_first_answer_and_changes_nothing() {
    let bench = Bench::new();
    let mut store = bench.create();
    let first = create(&store, "ada", "k1", "a").await.unwrap();
    for _ in 0..2 {
        assert_eq!(create(&store, "ada", "k1", "a").await.unwrap(), first);
        assert_eq!(store.state().revision, Revision(2));
        assert_eq!(*store.audit_head().borrow(), 2);
        store.close().await;
        store = bench.open().unwrap();
    }
    let conflict = create(&store, "ada", "k1", "b").await.unwrap_err();
    assert_eq!((conflict.kind, conflict.field.as_deref()), (ErrorKind::Conflict, Some("idempotency_key")));
    // Keys of two operators have nothing to do with each other.
    assert_ne!(create(&store, "bob", "k1", "b").await.unwrap(), first);
    bench.clock.advance(REMEMBERED - Duration::from_secs(1));
    assert_eq!(create(&store, "ada", "k1", "a").await.unwrap(), first);
    bench.clock.advance(Duration::from_secs(1));
    assert_ne!(create(&store, "ada", "k1", "a").await.unwrap(), first);
    assert_eq!(store.state().answers.len(), 1, "what has ended is forgotten");
    store.verify().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_repetitions_make_one_change() {
    let bench = Bench::new();
    let store = bench.create();
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { create(&store, "ada", "k", "a").await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(store.state().revision, Revision(2));
}

#[tokio::test]
async fn a_failure_is_not_remembered() {
    let bench = Bench::new();
    let store = bench.create();
    let request = v1::Role::default();
    let once = Once::new("k", "m", &request).unwrap();
    let refuse = |_: &mut Draft<'_>| Err::<v1::Role, _>(Failure::new(ErrorKind::NotFound, "no"));
    assert_eq!(store.mutate_once("ada", once.clone(), refuse).await.unwrap_err().kind, ErrorKind::NotFound);
    create(&store, "ada", "k", "a").await.unwrap();
}

#[test]
fn keys() {
    let long = "x".repeat(129);
    for (key, accepted) in [("k", true), (&long[1..], true), ("", false), (long.as_str(), false), ("a b", false)] {
        assert_eq!(Once::new(key, "m", &v1::Role::default()).is_ok(), accepted, "{key:?}");
    }
}

#[tokio::test]
async fn many_answers_of_one_operator_stop_neither_others_nor_the_next_hour() {
    let bench = Bench::new();
    let store = bench.create();
    let fill = async |actor: &'static str, count: u32| {
        for begin in (0..count).step_by(100) {
            let part = store.mutate(actor, move |draft| {
                let at = draft.now();
                for n in begin..begin + 100 {
                    let (actor, key) = (actor.to_owned(), n.to_string());
                    let response = Zeroizing::new(Vec::new());
                    draft.put(AnswerRecord { actor, key, request: Digest([0; 32]), response, at });
                }
                draft.event(event("fill"));
                Ok(())
            });
            part.await.unwrap();
        }
    };
    fill("eve", 100).await;
    assert_eq!(create(&store, "eve", "more", "a").await.unwrap_err().kind, ErrorKind::Overloaded);
    create(&store, "ada", "k", "b").await.unwrap();
    fill("mob", 400).await;
    assert_eq!(create(&store, "ada", "k2", "c").await.unwrap_err().kind, ErrorKind::Overloaded);
    bench.clock.advance(REMEMBERED);
    create(&store, "ada", "k3", "d").await.unwrap();
    create(&store, "eve", "k3", "e").await.unwrap();
}
