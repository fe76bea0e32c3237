//! When tokens were last used, as edges report it.

use nla_domain::{clock::WallClock as _, error::ErrorKind};
use nla_proto::{
    convert,
    failure::Failure,
    v1::{self, edge_message::Message as FromEdge, tokens_client::TokensClient},
};
use tokio::time::timeout;

use crate::plane::{DEADLINE, Follower, Held, Plane};

async fn get(plane: &Plane, id: &str) -> v1::TokenView {
    let request = v1::GetTokenRequest { id: id.to_owned() };
    TokensClient::new(plane.admin_channel()).get(request).await.unwrap().into_inner()
}

/// Waits until the control plane knows of so many calls.
async fn until(plane: &Plane, id: &str, calls: u64) -> v1::TokenLastUse {
    let waited = timeout(DEADLINE, async {
        loop {
            if let Some(used) = get(plane, id).await.last_use.filter(|used| used.calls >= calls) {
                return used;
            }
        }
    });
    waited.await.expect("the use was not noticed")
}

fn report(id: &str, at: prost_types::Timestamp, address: &str, calls: u64) -> v1::TokenUse {
    v1::TokenUse { token_id: id.to_owned(), last_used_at: Some(at), client_address: address.to_owned(), calls }
}

async fn send(follower: &Follower, token_uses: Vec<v1::TokenUse>) {
    follower.send(FromEdge::Usage(v1::Usage { token_uses, ..Default::default() })).await;
}

#[tokio::test]
async fn the_newest_use_is_shown_and_outlives_a_restart() {
    let mut plane = Plane::start().await;
    plane.shop().await;
    let (used, unused) = (plane.token().await.token.unwrap().id, plane.token().await.token.unwrap().id);
    let now = convert::timestamp(plane.clock.now());
    let before = |seconds: i64| prost_types::Timestamp { seconds: now.seconds - seconds, nanos: 0 };
    let (e1, e2) = (plane.edge("e1").await, plane.edge("e2").await);
    let first = Follower::connect(plane.channel(&e1), Held::default()).await.unwrap();
    let second = Follower::connect(plane.channel(&e2), Held::default()).await.unwrap();
    assert_eq!(get(&plane, &used).await.last_use, None);
    let revision = plane.revision().await;

    send(&first, vec![report(&used, before(50), "10.0.0.1", 2)]).await;
    let seen = until(&plane, &used, 2).await;
    assert_eq!((seen.edge_id.as_str(), seen.client_address.as_str()), ("e1", "10.0.0.1"));
    assert_eq!(seen.at, Some(before(50)));
    // Older, from another edge: it counts and does not replace. Nonsense does neither.
    let nonsense = [
        report("abcDEF012345", now, "10.0.0.9", 1),
        report("no token", now, "10.0.0.9", 1),
        v1::TokenUse { last_used_at: None, ..report(&used, now, "10.0.0.9", 1) },
    ];
    send(&second, nonsense.to_vec()).await;
    send(&second, vec![report(&used, before(99), "10.0.0.2", 3)]).await;
    assert_eq!(until(&plane, &used, 5).await.edge_id, "e1");
    // A clock that is ahead is cut back; a use after it counts.
    let ahead = prost_types::Timestamp { seconds: now.seconds + 1_000_000, nanos: 0 };
    send(&second, vec![report(&used, ahead, "somewhere", 1)]).await;
    let seen = until(&plane, &used, 6).await;
    assert_eq!((seen.at, seen.client_address.as_str()), (Some(now), ""));
    plane.clock.advance(std::time::Duration::from_secs(60));
    let later = prost_types::Timestamp { seconds: now.seconds + 30, nanos: 0 };
    send(&first, vec![report(&used, later, "2001:db8::1", 1)]).await;
    let seen = until(&plane, &used, 7).await;
    assert_eq!((seen.at, seen.client_address.as_str(), seen.edge_id.as_str()), (Some(later), "2001:db8::1", "e1"));
    assert_eq!(plane.revision().await, revision, "no use makes a revision");

    plane.restart().await;
    assert_eq!(get(&plane, &used).await.last_use, Some(seen));
    let mut tokens = TokensClient::new(plane.admin_channel());
    let idle = |since| {
        let filter = v1::TokenFilter { unused_since: Some(since), ..Default::default() };
        v1::ListTokensRequest { filter: Some(filter), include_ended: false }
    };
    let listed = tokens.list(idle(later)).await.unwrap().into_inner().tokens;
    assert_eq!(listed.iter().map(|token| token.id.as_str()).collect::<Vec<_>>(), [unused.as_str()]);
    let absurd = idle(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
    let refused = Failure::from_status(&tokens.list(absurd).await.unwrap_err());
    assert_eq!((refused.kind, refused.field.as_deref()), (ErrorKind::InvalidArgument, Some("unused_since")));
}
