//! What a token, a new token and a revocation look like.

use super::*;

fn view() -> v1::TokenView {
    v1::TokenView {
        id: "abcDEF012345".into(),
        owner: "ana@example.com".into(),
        purpose: "weekly report".into(),
        roles: vec!["reporting".into()],
        expires_at: Some(prost_types::Timestamp { seconds: 4_102_444_800, nanos: 0 }),
        staleness: v1::Staleness::Standard.into(),
        ..Default::default()
    }
}

fn applied(edge: &str, after_ms: Option<u64>) -> v1::EdgeApplied {
    v1::EdgeApplied {
        edge_id: edge.into(),
        applied: after_ms.is_some(),
        after: after_ms.map(|ms| nla_proto::convert::duration(Duration::from_millis(ms))),
    }
}

#[test]
fn status() {
    let past = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    let cases = [
        (view(), "active"),
        (v1::TokenView { expires_at: past, ..view() }, "expired"),
        (v1::TokenView { revoked_at: past, ..view() }, "revoked"),
        (v1::TokenView { revoked_at: past, expires_at: past, ..view() }, "revoked"),
        (v1::TokenView { expires_at: None, ..view() }, "active"),
    ];
    for (view, expected) in cases {
        assert_eq!(Token::from_wire(view).status, expected);
    }
}

#[test]
fn json_fields_are_stable() {
    let json = serde_json::to_value(Token::from_wire(view())).unwrap();
    let fields: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "id",
            "status",
            "owner",
            "purpose",
            "roles",
            "databases",
            "expires_at",
            "allowed_cidrs",
            "staleness",
            "limits",
            "revoked_at",
            "revoked_by",
            "predecessor",
            "successor",
            "labels",
            "last_use",
            "revision",
            "created_at",
            "updated_at",
            "created_by"
        ]
    );
    assert_eq!(json["expires_at"], "2100-01-01T00:00:00Z");
    assert_eq!(json["staleness"], "standard");
    assert!(json["revoked_by"].is_null());
}

#[test]
fn a_new_token_stands_whole_on_a_line_of_its_own() {
    let secret = format!("nla_{}", "x".repeat(120));
    let new = NewToken::new(Token::from_wire(view()), Delivery::Shown(Secret::new(secret.clone())), None);
    assert!(new.table().render(40, false).lines().any(|line| line == secret));
    assert_eq!(serde_json::to_value(&new).unwrap()["token_text"], secret.as_str());
    assert_eq!(new.essence(), std::slice::from_ref(&secret));
    assert!(!format!("{new:?}").contains(&secret));
    let filed = NewToken::new(Token::from_wire(view()), Delivery::File("/tmp/t".into()), None);
    let json = serde_json::to_value(&filed).unwrap();
    assert_eq!((json["token_text"].is_null(), &json["token_file"]), (true, &"/tmp/t".into()));
}

#[test]
fn revocations() {
    let cases = [
        (vec![applied("edge-1", Some(12)), applied("edge-2", Some(14))], "revoked on 2/2 edges in 14 ms", 0),
        (vec![applied("edge-1", Some(12)), applied("edge-2", None)], "revoked on 1/2 edges in 12 ms", 1),
        (vec![applied("edge-1", None)], "revoked on 0/1 edges", 1),
        (vec![], "no edge was connected", 0),
    ];
    for (edges, summary, silent) in cases {
        let answer = v1::RevokeTokenResponse { token: Some(view()), revision: 7, edges };
        let revocation = Revocation::from_wire(answer);
        let text = revocation.table().render(80, false);
        assert!(text.lines().last().unwrap().ends_with(summary), "{text}");
        assert_eq!(revocation.silent().len(), silent);
        assert_eq!(revocation.applied_everywhere, silent == 0);
    }
    let answer = v1::RevokeTokenResponse { edges: vec![applied("edge-1", Some(12))], ..Default::default() };
    let text = Revocation::from_wire(answer).table().render(80, false);
    assert!(text.starts_with("edge-1  applied in 12 ms\n"), "{text}");
}

#[test]
fn a_list_fits_80_columns() {
    let long = v1::TokenView { purpose: "a long purpose ".repeat(9), roles: vec!["reporting".into(); 5], ..view() };
    let text = Token::list(&[Token::from_wire(long), Token::from_wire(view())]).render(80, false);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("abcDEF012345"), "{text}");
}
