//! What changes do: references, revisions, idempotency, bounds, audit events.

use std::time::Duration;

use nla_domain::{error::ErrorKind, token::TokenText};
use nla_proto::{
    failure::Failure,
    v1::{
        self, audit_client::AuditClient, audit_ingest_client::AuditIngestClient, credentials_client::CredentialsClient,
        databases_client::DatabasesClient, operators_client::OperatorsClient, roles_client::RolesClient,
        system_client::SystemClient, tokens_client::TokensClient,
    },
};
use tokio::time::timeout;
use tonic::Status;

use crate::plane::{DEADLINE, Plane, database, key_and_csr, once, role, token_request};

fn failure<T: std::fmt::Debug>(answer: Result<T, Status>) -> (ErrorKind, String) {
    let failure = Failure::from_status(&answer.unwrap_err());
    (failure.kind, failure.field.unwrap_or_default())
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

#[tokio::test]
async fn references_must_lead_somewhere_and_hold_what_they_lead_to() {
    let plane = Plane::start().await;
    let channel = plane.admin_channel();
    let mut roles = RolesClient::new(channel.clone());
    let mut credentials = CredentialsClient::new(channel.clone());
    let mut tokens = TokensClient::new(channel.clone());
    let mut databases = DatabasesClient::new(channel);
    let create_role = || v1::CreateRoleRequest { idempotency_key: once(), role: Some(role("reader")) };
    assert_eq!(failure(roles.create(create_role()).await), (ErrorKind::NotFound, "role.databases".into()));
    let set = v1::SetCredentialRequest {
        idempotency_key: once(),
        database: "shop".into(),
        username: "u".into(),
        password: "p".into(),
        expected_revision: 0,
    };
    assert_eq!(failure(credentials.set(set).await), (ErrorKind::NotFound, "database".into()));
    assert_eq!(failure(tokens.create(token_request()).await), (ErrorKind::NotFound, "roles".into()));

    plane.shop().await;
    let unknown = v1::CreateTokenRequest { databases: vec!["other".into()], ..token_request() };
    assert_eq!(failure(tokens.create(unknown).await), (ErrorKind::NotFound, "databases".into()));
    let request = v1::CreateDatabaseRequest { idempotency_key: once(), database: Some(database("other")) };
    databases.create(request).await.unwrap();
    let closed = v1::CreateTokenRequest { databases: vec!["other".into()], ..token_request() };
    assert_eq!(failure(tokens.create(closed).await), (ErrorKind::InvalidArgument, "databases".into()));
    let delete =
        |name: &str| v1::DeleteDatabaseRequest { idempotency_key: once(), name: name.into(), expected_revision: 0 };
    let error = databases.delete(delete("shop")).await.unwrap_err();
    assert!(error.message().contains("role/reader"), "{error}");
    databases.delete(delete("other")).await.unwrap();

    let token = plane.token().await.token.unwrap();
    let delete_role = || v1::DeleteRoleRequest { idempotency_key: once(), name: "reader".into(), expected_revision: 0 };
    let error = roles.delete(delete_role()).await.unwrap_err();
    assert!(error.message().contains(&token.id), "{error}");
    let revoke = v1::RevokeTokenRequest { idempotency_key: once(), ids: vec![token.id], ..Default::default() };
    tokens.revoke(revoke).await.unwrap();
    roles.delete(delete_role()).await.unwrap();
    databases.delete(delete("shop")).await.unwrap();
    let left = credentials.list(v1::ListCredentialsRequest {}).await.unwrap().into_inner().credentials;
    assert!(left.is_empty(), "the credential goes with its database");
}

#[tokio::test]
async fn updates_need_the_revision_that_was_read() {
    let plane = Plane::start().await;
    plane.shop().await;
    let mut databases = DatabasesClient::new(plane.admin_channel());
    let read = databases.get(v1::GetDatabaseRequest { name: "shop".into() }).await.unwrap().into_inner();
    let revision = read.meta.unwrap().revision;
    let update = |expected_revision| v1::UpdateDatabaseRequest {
        idempotency_key: once(),
        database: Some(v1::Database { description: "new".into(), ..database("shop") }),
        expected_revision,
    };
    assert_eq!(failure(databases.update(update(0)).await), (ErrorKind::InvalidArgument, "expected_revision".into()));
    let updated = databases.update(update(revision)).await.unwrap().into_inner();
    assert!(updated.meta.unwrap().revision > revision);
    let stale = failure(databases.update(update(revision)).await);
    assert_eq!(stale, (ErrorKind::FailedPrecondition, "expected_revision".into()));
}

#[tokio::test]
async fn a_repeated_request_changes_nothing_and_gives_the_same_answer() {
    let plane = Plane::start().await;
    plane.shop().await;
    let mut tokens = TokensClient::new(plane.admin_channel());
    let request = token_request();
    let first = tokens.create(request.clone()).await.unwrap().into_inner();
    let again = tokens.create(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.token_text, again.token_text);
    assert_eq!(tokens.list(v1::ListTokensRequest::default()).await.unwrap().into_inner().tokens.len(), 1);
    let other = v1::CreateTokenRequest { owner: "other".into(), ..request.clone() };
    assert_eq!(failure(tokens.create(other).await), (ErrorKind::Conflict, "idempotency_key".into()));
    let none = v1::CreateTokenRequest { idempotency_key: String::new(), ..request };
    assert_eq!(failure(tokens.create(none).await), (ErrorKind::InvalidArgument, "idempotency_key".into()));
}

#[tokio::test]
async fn bad_fields_are_named() {
    let plane = Plane::start().await;
    plane.shop().await;
    let mut tokens = TokensClient::new(plane.admin_channel());
    type Change = fn(&mut v1::CreateTokenRequest);
    let cases: [(Change, &str); 9] = [
        (|r| r.owner.clear(), "owner"),
        (|r| r.purpose = "a\nb".into(), "purpose"),
        (|r| r.roles.clear(), "roles"),
        (|r| r.roles = vec!["No Role".into()], "roles[0]"),
        (|r| r.lifetime = seconds(0), "lifetime"),
        (|r| r.lifetime = seconds(366 * 24 * 3600), "lifetime"),
        (|r| r.lifetime = seconds(-1), "lifetime"),
        (|r| r.allowed_cidrs = vec!["10.0.0.0/8".into(), "here".into()], "allowed_cidrs[1]"),
        (|r| r.staleness = 99, "staleness"),
    ];
    for (change, field) in cases {
        let mut request = token_request();
        change(&mut request);
        assert_eq!(failure(tokens.create(request).await), (ErrorKind::InvalidArgument, field.to_owned()));
    }
    let mut databases = DatabasesClient::new(plane.admin_channel());
    let mut plain = database("far");
    plain.host = "db.example.com".into();
    let request = v1::CreateDatabaseRequest { idempotency_key: once(), database: Some(plain) };
    assert_eq!(failure(databases.create(request).await), (ErrorKind::InvalidArgument, "database.sslmode".into()));
    let mut fake = database("far");
    fake.root_certificate_pem = "no certificate".into();
    let request = v1::CreateDatabaseRequest { idempotency_key: once(), database: Some(fake) };
    let named = (ErrorKind::InvalidArgument, "database.root_certificate_pem".into());
    assert_eq!(failure(databases.create(request).await), named);
    let request = v1::CreateDatabaseRequest { idempotency_key: once(), database: Some(database("shop")) };
    assert_eq!(failure(databases.create(request).await), (ErrorKind::Conflict, "database.name".into()));
    let unknown = v1::Database { role_policy: 99, ..database("far") };
    let request = v1::CreateDatabaseRequest { idempotency_key: once(), database: Some(unknown) };
    assert_eq!(failure(databases.create(request).await), (ErrorKind::InvalidArgument, "database.role_policy".into()));

    let mut roles = RolesClient::new(plane.admin_channel());
    type Exception = fn(&mut v1::Role);
    let cases: [(Exception, &str); 5] = [
        (|r| r.functions = vec!["shop.total".into(), "total".into()], "role.functions[1]"),
        (|r| r.relations = vec!["\"Shop\".orders".into()], "role.relations[0]"),
        (|r| r.operators = vec!["like".into()], "role.operators[0]"),
        (|r| r.settings = vec!["Work_Mem".into()], "role.settings[0]"),
        (|r| r.operators = vec!["<".into(); 101], "role.operators"),
    ];
    for (change, field) in cases {
        let mut role = role("other");
        change(&mut role);
        let request = v1::CreateRoleRequest { idempotency_key: once(), role: Some(role) };
        assert_eq!(failure(roles.create(request).await), (ErrorKind::InvalidArgument, field.to_owned()));
    }
}

#[tokio::test]
async fn the_role_policy_and_a_roles_exceptions_are_kept_and_audited() {
    let plane = Plane::start().await;
    plane.shop().await;
    let mut databases = DatabasesClient::new(plane.admin_channel());
    let before = databases.get(v1::GetDatabaseRequest { name: "shop".into() }).await.unwrap().into_inner();
    // Absent on the wire: what is stored is the strict default by its name.
    assert_eq!(before.database.unwrap().role_policy(), v1::RolePolicy::RefuseSuperuser);
    let update = v1::UpdateDatabaseRequest {
        idempotency_key: once(),
        database: Some(v1::Database { role_policy: v1::RolePolicy::Warn.into(), ..database("shop") }),
        expected_revision: before.meta.unwrap().revision,
    };
    let after = databases.update(update).await.unwrap().into_inner();
    assert_eq!(after.database.unwrap().role_policy(), v1::RolePolicy::Warn);

    let mut roles = RolesClient::new(plane.admin_channel());
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let wanted = v1::Role {
        functions: names(&["shop.total", "shop.tax", "shop.total"]),
        relations: names(&["pg_catalog.pg_stat_activity"]),
        operators: names(&["<%"]),
        settings: names(&["work_mem"]),
        ..role("other")
    };
    let request = v1::CreateRoleRequest { idempotency_key: once(), role: Some(wanted) };
    let made = roles.create(request).await.unwrap().into_inner().role.unwrap();
    assert_eq!(made.functions, ["shop.tax", "shop.total"]);
    let got = roles.get(v1::GetRoleRequest { name: "other".into() }).await.unwrap().into_inner().role.unwrap();
    assert_eq!(got, made);

    let mut audit = AuditClient::new(plane.admin_channel());
    let events = audit.list(v1::ListAuditRequest::default()).await.unwrap().into_inner().events;
    let shown = format!("{events:?}");
    for part in ["refuse-superuser", "warn", "shop.tax", "pg_stat_activity", "<%", "work_mem"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[tokio::test]
async fn a_token_lives_90_days_and_is_shown_once() {
    let plane = Plane::start().await;
    plane.shop().await;
    let made = plane.token().await;
    let token = made.token.unwrap();
    assert_eq!(TokenText::parse(&made.token_text).unwrap().id().as_str(), token.id);
    let lives = token.expires_at.unwrap().seconds - token.meta.unwrap().created_at.unwrap().seconds;
    assert_eq!(lives, 90 * 24 * 3600);
    let secret = &made.token_text[20..50];
    let mut audit = AuditClient::new(plane.admin_channel());
    let events = audit.list(v1::ListAuditRequest::default()).await.unwrap().into_inner().events;
    let shown = format!("{events:?}");
    assert!(shown.contains(&token.id));
    assert!(!shown.contains(secret) && !shown.contains("hunter2"), "{shown}");

    let mut tokens = TokensClient::new(plane.admin_channel());
    plane.clock.advance(Duration::from_secs(91 * 24 * 3600));
    let list = |include_ended| v1::ListTokensRequest { include_ended, ..Default::default() };
    assert_eq!(tokens.list(list(false)).await.unwrap().into_inner().tokens.len(), 0);
    assert_eq!(tokens.list(list(true)).await.unwrap().into_inner().tokens.len(), 1);
}

#[tokio::test]
async fn rotation_hands_over_with_an_overlap_or_at_once() {
    let plane = Plane::start().await;
    plane.shop().await;
    let mut tokens = TokensClient::new(plane.admin_channel());
    let rotate = |id: &str, overlap| v1::RotateTokenRequest {
        idempotency_key: once(),
        id: id.into(),
        overlap,
        ..Default::default()
    };
    let old = plane.token().await.token.unwrap();
    let rotated = tokens.rotate(rotate(&old.id, seconds(3600))).await.unwrap().into_inner();
    let (next, before) = (rotated.token.unwrap(), rotated.predecessor.unwrap());
    assert_eq!((next.predecessor.as_str(), before.successor.as_str()), (old.id.as_str(), next.id.as_str()));
    assert_eq!((&next.roles, &next.owner, &next.purpose), (&old.roles, &old.owner, &old.purpose));
    assert_eq!(before.revoked_at, None);
    assert_eq!(before.expires_at.unwrap().seconds - old.meta.unwrap().created_at.unwrap().seconds, 3600);
    assert_eq!(failure(tokens.rotate(rotate(&old.id, None)).await), (ErrorKind::FailedPrecondition, "id".into()));

    let last = tokens.rotate(rotate(&next.id, None)).await.unwrap().into_inner();
    assert!(last.predecessor.unwrap().revoked_at.is_some(), "no overlap ends the old token now");
    assert_eq!(failure(tokens.rotate(rotate(&next.id, None)).await), (ErrorKind::FailedPrecondition, "id".into()));
    assert_eq!(failure(tokens.rotate(rotate("abcDEF012345", None)).await), (ErrorKind::NotFound, "id".into()));
}

#[tokio::test]
async fn revoking_twice_is_no_error() {
    let plane = Plane::start().await;
    plane.shop().await;
    let token = plane.token().await.token.unwrap();
    let mut tokens = TokensClient::new(plane.admin_channel());
    let revoke =
        || v1::RevokeTokenRequest { idempotency_key: once(), ids: vec![token.id.clone()], ..Default::default() };
    let first = tokens.revoke(revoke()).await.unwrap().into_inner();
    let again = tokens.revoke(revoke()).await.unwrap().into_inner();
    assert_eq!(first, again);
}

#[tokio::test]
async fn operators_come_and_go_but_one_admin_stays() {
    let plane = Plane::start().await;
    let mut operators = OperatorsClient::new(plane.admin_channel());
    let revoke = |name: &str| v1::RevokeOperatorRequest { idempotency_key: once(), name: name.into() };
    assert_eq!(failure(operators.revoke(revoke("admin")).await), (ErrorKind::FailedPrecondition, "name".into()));
    let second = plane.operator("bob", v1::Level::Admin).await;
    let (_, csr_pem) = key_and_csr();
    let again = v1::CreateOperatorRequest {
        idempotency_key: once(),
        name: "bob".into(),
        level: v1::Level::Viewer.into(),
        csr_pem,
        lifetime: None,
    };
    assert_eq!(failure(operators.create(again).await), (ErrorKind::Conflict, "name".into()));
    let mut operators = OperatorsClient::new(plane.channel(&second));
    operators.revoke(revoke("admin")).await.unwrap();
    let listed = operators.list(v1::ListOperatorsRequest {}).await.unwrap().into_inner().operators;
    let names: Vec<(&str, bool)> = listed.iter().map(|o| (o.name.as_str(), o.revoked_at.is_some())).collect();
    assert_eq!(names, [("admin", true), ("bob", false)]);
}

#[tokio::test]
async fn edges_deliver_events_once_and_auditors_follow_them() {
    let plane = Plane::start().await;
    let edge = plane.edge("e1").await;
    let auditor = plane.operator("ada", v1::Level::Auditor).await;
    let mut audit = AuditClient::new(plane.channel(&auditor));
    let filter = v1::AuditFilter { kind: "call".into(), ..Default::default() };
    let tail = v1::TailAuditRequest { filter: Some(filter.clone()), after_sequence: 0 };
    let mut tail = audit.tail(tail).await.unwrap().into_inner();
    let mut ingest = AuditIngestClient::new(plane.channel(&edge));
    let call = |id: &str| v1::CallEvent {
        at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        request_id: id.into(),
        action: "query_database".into(),
        outcome: v1::Outcome::Succeeded.into(),
        edge: "somebody-else".into(),
        ..Default::default()
    };
    let batch = v1::AppendRequest { boot_id: "b1".into(), first_sequence: 1, events: vec![call("r1"), call("r2")] };
    for _ in 0..2 {
        assert_eq!(ingest.append(batch.clone()).await.unwrap().into_inner().stored_through, 2);
    }
    let listed = audit.list(v1::ListAuditRequest { filter: Some(filter), ..Default::default() }).await.unwrap();
    let events = listed.into_inner().events;
    assert_eq!(events.len(), 2, "each event is stored once");
    for (at, id) in [(1, "r1"), (0, "r2")] {
        let Some(v1::audit_event::Event::Call(call)) = &events[at].event else { panic!("{events:?}") };
        assert_eq!((call.request_id.as_str(), call.edge.as_str()), (id, "e1"), "the certificate says which edge");
    }
    for event in events.iter().rev() {
        let seen = timeout(DEADLINE, tail.message()).await.unwrap().unwrap().unwrap();
        assert_eq!(seen, *event);
    }
    // The stream of a dismissed auditor ends with the next event.
    let request = v1::RevokeOperatorRequest { idempotency_key: once(), name: "ada".into() };
    OperatorsClient::new(plane.admin_channel()).revoke(request).await.unwrap();
    let end = timeout(DEADLINE, tail.message()).await.unwrap();
    assert_eq!(end.unwrap_err().code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn the_status_says_who_asks_and_counts() {
    let plane = Plane::start().await;
    plane.shop().await;
    plane.token().await;
    plane.edge("e1").await;
    let status = SystemClient::new(plane.admin_channel()).status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.caller.as_str(), status.caller_level()), ("admin", v1::Level::Admin));
    let counts = (status.tokens_active, status.databases, status.roles, status.edges_enrolled, status.edges_connected);
    assert_eq!(counts, (1, 1, 1, 1, 0));
    assert!(status.audit_events > 0 && status.revision > 0 && status.store_bytes > 0);
    assert!(status.ca_expires_at.is_some());
}
