//! When tokens were last used: kept without a revision, and all or nothing.

use nla_domain::{clock::Timestamp, id::TokenId};

use super::*;
use crate::store::TokenUse;

fn used(at: i64, calls: u64) -> TokenUse {
    let address = Some("2001:db8::1".parse().unwrap());
    TokenUse { at: Timestamp::from_micros(at), edge: "edge-1".parse().unwrap(), address, calls }
}

#[tokio::test]
async fn uses_are_kept_without_a_revision_and_outlive_a_restart() {
    let bench = Bench::new();
    let store = bench.create();
    let (one, two): (TokenId, TokenId) = ("aaaaaaaaaaaa".parse().unwrap(), "Zaaaaaaaaaaa".parse().unwrap());
    let (revision, events) = (store.state().revision, *store.audit_head().borrow());
    store.token_uses_put(vec![(one, used(1, 1)), (two, used(2, 2))]).await.unwrap();
    store.token_uses_put(vec![(one, used(5, 9))]).await.unwrap();
    assert_eq!((store.state().revision, *store.audit_head().borrow()), (revision, events));
    put_role(&store, "reader", "a change in between").await.unwrap();
    store.close().await;
    drop(store);

    let store = bench.open().unwrap();
    let state = store.state();
    assert_eq!((state.token_use(&one), state.token_use(&two)), (Some(&used(5, 9)), Some(&used(2, 2))));
    assert_eq!(state.token_use(&"aaaaaaaaaaab".parse().unwrap()), None);
    store.verify().await.unwrap();
}
