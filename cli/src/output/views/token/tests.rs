//! What a token and a new token look like.

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
fn a_list_fits_80_columns() {
    let long = v1::TokenView { purpose: "a long purpose ".repeat(9), roles: vec!["reporting".into(); 5], ..view() };
    let text = Token::list(&[Token::from_wire(long), Token::from_wire(view())]).render(80, false);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("abcDEF012345"), "{text}");
}
