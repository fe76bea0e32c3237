//! Tokens from end to end of their life: the policy for it, labels, changes
//! without a new secret, rotation under race, and what lists select.

use std::{collections::BTreeMap, time::Duration};

use nla_domain::error::ErrorKind;
use nla_proto::{
    failure::Failure,
    v1::{self, audit_client::AuditClient, roles_client::RolesClient, tokens_client::TokensClient},
};
use tokio::task::JoinSet;
use tonic::{Status, transport::Channel};

use crate::plane::{Plane, once, role, token_request};

const DAY: i64 = 24 * 3600;

fn failure<T: std::fmt::Debug>(answer: Result<T, Status>) -> (ErrorKind, String) {
    let failure = Failure::from_status(&answer.unwrap_err());
    (failure.kind, failure.field.unwrap_or_default())
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn create(tokens: &mut TokensClient<Channel>, request: v1::CreateTokenRequest) -> v1::TokenView {
    tokens
        .create(v1::CreateTokenRequest { idempotency_key: once(), ..request })
        .await
        .unwrap()
        .into_inner()
        .token
        .unwrap()
}

fn rotation(id: &str) -> v1::RotateTokenRequest {
    v1::RotateTokenRequest { idempotency_key: once(), id: id.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn the_policy_decides_how_long_tokens_live() {
    let mut plane = Plane::start().await;
    plane.shop().await;
    let mut tokens = TokensClient::new(plane.admin_channel());
    let forever = || v1::CreateTokenRequest { never_expires: true, ..token_request() };
    let refused = tokens.create(forever()).await;
    assert!(refused.as_ref().unwrap_err().message().contains("tokens.allow_never"), "{refused:?}");
    assert_eq!(failure(refused), (ErrorKind::FailedPrecondition, "never_expires".into()));
    let both = v1::CreateTokenRequest { lifetime: seconds(DAY), ..forever() };
    assert_eq!(failure(tokens.create(both).await), (ErrorKind::InvalidArgument, "never_expires".into()));
    let made = create(&mut tokens, token_request()).await;
    let refused = tokens.rotate(v1::RotateTokenRequest { never_expires: true, ..rotation(&made.id) }).await;
    assert_eq!(failure(refused), (ErrorKind::FailedPrecondition, "never_expires".into()));

    plane.config.tokens.allow_never = true;
    plane.config.tokens.max_lifetime = Duration::from_secs(10 * 24 * 3600);
    plane.config.tokens.default_lifetime = Duration::from_secs(5 * 24 * 3600);
    plane.restart().await;
    let mut tokens = TokensClient::new(plane.admin_channel());
    let endless = create(&mut tokens, forever()).await;
    assert_eq!(endless.expires_at, None);
    let life = |token: &v1::TokenView| {
        token.expires_at.unwrap().seconds - token.meta.as_ref().unwrap().created_at.unwrap().seconds
    };
    assert_eq!(life(&create(&mut tokens, token_request()).await), 5 * DAY);
    let long = v1::CreateTokenRequest { lifetime: seconds(10 * DAY + 1), ..token_request() };
    assert_eq!(failure(tokens.create(long).await), (ErrorKind::InvalidArgument, "lifetime".into()));
    // Its successor ends, unless it is asked otherwise.
    let next = tokens.rotate(rotation(&endless.id)).await.unwrap().into_inner().token.unwrap();
    assert_eq!(life(&next), 5 * DAY);
    let rotated = tokens.rotate(v1::RotateTokenRequest { never_expires: true, ..rotation(&next.id) }).await;
    assert_eq!(rotated.unwrap().into_inner().token.unwrap().expires_at, None);
}

#[tokio::test]
async fn labels_are_bounded_kept_and_inherited() {
    let plane = Plane::start().await;
    plane.shop().await;
    let mut tokens = TokensClient::new(plane.admin_channel());
    let many = |count: usize| (0..count).map(|n| (format!("k{n}"), "v".to_owned())).collect();
    let with = |labels| v1::CreateTokenRequest { labels, ..token_request() };
    for bad in [labels(&[("Team", "data")]), labels(&[("team", "")]), labels(&[("team", "a,b")]), many(17)] {
        assert_eq!(failure(tokens.create(with(bad)).await), (ErrorKind::InvalidArgument, "labels".into()));
    }
    create(&mut tokens, with(many(16))).await;
    let made = create(&mut tokens, with(labels(&[("team", "data"), ("env", "prod")]))).await;
    assert_eq!(made.labels, labels(&[("team", "data"), ("env", "prod")]));
    // The order of labels in a message is not part of the request.
    let request = with(labels(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]));
    let first = tokens.create(request.clone()).await.unwrap().into_inner();
    for _ in 0..5 {
        assert_eq!(tokens.create(request.clone()).await.unwrap().into_inner(), first);
    }
    let next = tokens.rotate(rotation(&made.id)).await.unwrap().into_inner().token.unwrap();
    assert_eq!(next.labels, made.labels);
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_says_so() {
    let plane = Plane::start().await;
    plane.shop().await;
    let mut tokens = TokensClient::new(plane.admin_channel());
    let made =
        create(&mut tokens, v1::CreateTokenRequest { labels: labels(&[("team", "data")]), ..token_request() }).await;
    let revision = made.meta.as_ref().unwrap().revision;
    let update = |change: fn(&mut v1::UpdateTokenRequest)| {
        let mut request = v1::UpdateTokenRequest {
            idempotency_key: once(),
            id: made.id.clone(),
            expected_revision: revision,
            ..Default::default()
        };
        change(&mut request);
        request
    };
    type Change = fn(&mut v1::UpdateTokenRequest);
    let bad: [(Change, &str); 8] = [
        (|_| (), ""),
        (|r| r.expected_revision = 0, "expected_revision"),
        (|r| r.id = "x".into(), "id"),
        (|r| r.owner = Some(String::new()), "owner"),
        (|r| r.purpose = Some("a\nb".into()), "purpose"),
        (|r| r.allowed_cidrs = Some(v1::AddressRanges { cidrs: vec!["10.0.0.0/99".into()] }), "allowed_cidrs[0]"),
        (|r| r.labels = Some(v1::Labels { labels: labels(&[("a b", "c")]) }), "labels"),
        (|r| r.limits = Some(v1::TokenLimits { burst: 100_001, ..Default::default() }), "limits.burst"),
    ];
    for (change, field) in bad {
        let refused = failure(tokens.update(update(change)).await);
        assert_eq!(refused, (ErrorKind::InvalidArgument, field.to_owned()));
    }
    let change: Change = |r| {
        r.allowed_cidrs = Some(v1::AddressRanges { cidrs: vec!["10.0.0.0/8".into(), "2001:db8::/32".into()] });
        r.limits = Some(v1::TokenLimits { burst: 99, ..Default::default() });
    };
    let updated = tokens.update(update(change)).await.unwrap().into_inner();
    assert_eq!(updated.allowed_cidrs, ["10.0.0.0/8", "2001:db8::/32"]);
    assert_eq!(updated.limits, Some(v1::TokenLimits { burst: 99, ..made.limits.unwrap() }));
    assert_eq!((&updated.owner, &updated.labels, updated.expires_at), (&made.owner, &made.labels, made.expires_at));
    let stale = failure(tokens.update(update(change)).await);
    assert_eq!(stale, (ErrorKind::FailedPrecondition, "expected_revision".into()));

    let revision = updated.meta.unwrap().revision;
    let clear = v1::UpdateTokenRequest {
        expected_revision: revision,
        owner: Some("ana".into()),
        allowed_cidrs: Some(v1::AddressRanges::default()),
        labels: Some(v1::Labels::default()),
        ..update(|_| ())
    };
    let cleared = tokens.update(clear).await.unwrap().into_inner();
    assert_eq!((cleared.owner.as_str(), cleared.allowed_cidrs.len(), cleared.labels.len()), ("ana", 0, 0));

    let mut audit = AuditClient::new(plane.admin_channel());
    let filter = v1::AuditFilter { token: made.id.clone(), ..Default::default() };
    let request = v1::ListAuditRequest { filter: Some(filter), ..Default::default() };
    let events = audit.list(request).await.unwrap().into_inner().events;
    let Some(v1::audit_event::Event::Admin(event)) = &events[0].event else { panic!("{events:?}") };
    assert_eq!(event.action, "/nla.v1.Tokens/Update");
    assert!(event.before_json.contains("10.0.0.0/8") && !event.after_json.contains("10.0.0.0/8"), "{event:?}");

    let revoke = v1::RevokeTokenRequest { idempotency_key: once(), ids: vec![made.id.clone()], ..Default::default() };
    let revision = tokens.revoke(revoke).await.unwrap().into_inner().revision;
    let late = v1::UpdateTokenRequest { expected_revision: revision, ..update(change) };
    assert_eq!(failure(tokens.update(late).await), (ErrorKind::FailedPrecondition, "id".into()));
}

#[tokio::test]
async fn of_many_rotations_at_once_one_makes_the_successor() {
    let plane = Plane::start().await;
    plane.shop().await;
    let made = plane.token().await.token.unwrap();
    let mut racing = JoinSet::new();
    for _ in 0..8 {
        let mut tokens = TokensClient::new(plane.admin_channel());
        let request = v1::RotateTokenRequest { overlap: seconds(3600), ..rotation(&made.id) };
        racing.spawn(async move { tokens.rotate(request).await });
    }
    let (won, lost): (Vec<_>, Vec<_>) = racing.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 7));
    let successor = won.into_iter().next().unwrap().unwrap().into_inner().token.unwrap().id;
    for answer in lost {
        assert!(answer.as_ref().unwrap_err().message().contains(&successor), "{answer:?}");
    }
    let mut tokens = TokensClient::new(plane.admin_channel());
    let listed = tokens.list(v1::ListTokensRequest::default()).await.unwrap().into_inner().tokens;
    assert_eq!(listed.len(), 2);

    // The overlap is the old one's end, without anybody's help.
    plane.clock.advance(Duration::from_secs(3599));
    assert_eq!(tokens.list(v1::ListTokensRequest::default()).await.unwrap().into_inner().tokens.len(), 2);
    plane.clock.advance(Duration::from_secs(1));
    let left = tokens.list(v1::ListTokensRequest::default()).await.unwrap().into_inner().tokens;
    assert_eq!(left.iter().map(|token| token.id.as_str()).collect::<Vec<_>>(), [successor.as_str()]);
}

#[tokio::test]
async fn a_compromised_token_ends_with_its_reason() {
    let plane = Plane::start().await;
    plane.shop().await;
    let made = plane.token().await.token.unwrap();
    let mut tokens = TokensClient::new(plane.admin_channel());
    let compromised = |id: &str| v1::RotateTokenRequest {
        compromised: true,
        reason: "in a public repository".into(),
        ..rotation(id)
    };
    let both = v1::RotateTokenRequest { overlap: seconds(1), ..compromised(&made.id) };
    assert_eq!(failure(tokens.rotate(both).await), (ErrorKind::InvalidArgument, "overlap".into()));
    let rotated = tokens.rotate(compromised(&made.id)).await.unwrap().into_inner();
    let old = rotated.predecessor.unwrap();
    assert!(old.revoked_at.is_some() && rotated.revision > 0, "{old:?}");
    let mut audit = AuditClient::new(plane.admin_channel());
    let filter = v1::AuditFilter { token: made.id.clone(), ..Default::default() };
    let request = v1::ListAuditRequest { filter: Some(filter), ..Default::default() };
    let events = audit.list(request).await.unwrap().into_inner().events;
    let Some(v1::audit_event::Event::Admin(event)) = &events[0].event else { panic!("{events:?}") };
    assert_eq!(event.reason, "compromised: in a public repository");

    // What has been rotated already is to be revoked.
    let next = rotated.token.unwrap().id;
    let soft = v1::RotateTokenRequest { overlap: seconds(3600), ..rotation(&next) };
    tokens.rotate(soft).await.unwrap();
    let refused = tokens.rotate(compromised(&next)).await;
    assert!(refused.as_ref().unwrap_err().message().contains("revoke it"), "{refused:?}");
}

#[tokio::test]
async fn lists_select_by_everything_at_once() {
    let plane = Plane::start().await;
    plane.shop().await;
    let mut roles = RolesClient::new(plane.admin_channel());
    for role in [role("writer"), v1::Role { databases: vec![], ..role("empty") }] {
        roles.create(v1::CreateRoleRequest { idempotency_key: once(), role: Some(role) }).await.unwrap();
    }
    let mut tokens = TokensClient::new(plane.admin_channel());
    let plain = create(&mut tokens, token_request()).await.id;
    let team = v1::CreateTokenRequest {
        owner: "ana".into(),
        roles: vec!["reader".into(), "writer".into()],
        labels: labels(&[("team", "data")]),
        lifetime: seconds(DAY),
        ..token_request()
    };
    let team = create(&mut tokens, team).await.id;
    let narrow = v1::CreateTokenRequest { roles: vec!["empty".into()], ..token_request() };
    let narrow = create(&mut tokens, narrow).await.id;
    let now = plane.clock_now();
    let at = |seconds: i64| Some(prost_types::Timestamp { seconds: now + seconds, nanos: 0 });
    let all = v1::TokenFilter::default;
    let cases = [
        (all(), vec![&plain, &team, &narrow]),
        (v1::TokenFilter { owner: "ana".into(), ..all() }, vec![&team]),
        (v1::TokenFilter { role: "writer".into(), ..all() }, vec![&team]),
        (v1::TokenFilter { role: "reader".into(), ..all() }, vec![&plain, &team]),
        (v1::TokenFilter { database: "shop".into(), ..all() }, vec![&plain, &team]),
        (v1::TokenFilter { labels: labels(&[("team", "data")]), ..all() }, vec![&team]),
        (v1::TokenFilter { labels: labels(&[("team", "other")]), ..all() }, vec![]),
        (v1::TokenFilter { expires_before: at(2 * DAY), ..all() }, vec![&team]),
        (v1::TokenFilter { unused_since: at(10), ..all() }, vec![&plain, &team, &narrow]),
        // Younger than that.
        (v1::TokenFilter { unused_since: at(-10), ..all() }, vec![]),
        (v1::TokenFilter { owner: "ana".into(), role: "empty".into(), ..all() }, vec![]),
    ];
    for (filter, expected) in cases {
        let shown = format!("{filter:?}");
        let request = v1::ListTokensRequest { filter: Some(filter), include_ended: false };
        let mut found: Vec<String> =
            tokens.list(request).await.unwrap().into_inner().tokens.into_iter().map(|token| token.id).collect();
        let mut expected: Vec<String> = expected.into_iter().cloned().collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{shown}");
    }
    let bad = v1::TokenFilter { role: "No Role".into(), ..all() };
    let bad = v1::ListTokensRequest { filter: Some(bad), include_ended: false };
    assert_eq!(failure(tokens.list(bad).await), (ErrorKind::InvalidArgument, "role".into()));
}
