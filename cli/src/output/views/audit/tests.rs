//! One line for each event, whatever an agent puts into it.

use super::*;

fn call() -> v1::CallEvent {
    v1::CallEvent {
        action: "query_database".into(),
        edge: "edge-1".into(),
        token: "abcDEF012345".into(),
        owner: "ana".into(),
        database: "shop".into(),
        outcome: v1::Outcome::Succeeded.into(),
        rows: 3,
        duration: Some(nla_proto::convert::duration(Duration::from_millis(12))),
        sql: Some(v1::SqlText { form: v1::SqlAudit::Full.into(), text: "SELECT 1".into() }),
        ..Default::default()
    }
}

fn event(call: v1::CallEvent) -> Event {
    Event::from_wire(v1::AuditEvent {
        sequence: 7,
        at: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
        event: Some(v1::audit_event::Event::Call(call)),
    })
}

#[test]
fn calls() {
    let refused = v1::CallEvent {
        outcome: v1::Outcome::Refused.into(),
        reason: "statement_refused".into(),
        rule: "only-select".into(),
        ..call()
    };
    let cases = [
        (
            call(),
            "1970-01-01T00:00:00Z #7 succeeded query_database edge=edge-1 token=abcDEF012345 owner=ana database=shop rows=3 in 12 ms: SELECT 1",
        ),
        (
            refused,
            "1970-01-01T00:00:00Z #7 refused query_database edge=edge-1 token=abcDEF012345 owner=ana database=shop reason=statement_refused rule=only-select in 12 ms: SELECT 1",
        ),
    ];
    for (call, expected) in cases {
        assert_eq!(event(call).line(), expected);
    }
}

#[test]
fn an_agent_cannot_forge_a_line_or_a_pair() {
    let sql = v1::SqlText { form: 1, text: "SELECT 1\n1970-01-01T00:00:00Z #8 succeeded \u{1b}[2J".into() };
    let hostile = v1::CallEvent { sql: Some(sql), owner: "ana token=zzz".into(), ..call() };
    let line = event(hostile).line();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("owner=\"ana token=zzz\"") && !line.contains('\u{1b}'), "{line}");
}

#[test]
fn long_sql_is_cut_on_the_line_and_whole_in_json() {
    let sql = v1::SqlText { form: 1, text: "x".repeat(1_000) };
    let event = event(v1::CallEvent { sql: Some(sql), ..call() });
    assert!(event.line().ends_with('…') && event.line().len() < 400);
    let json = serde_json::to_value(&event).unwrap();
    assert_eq!(json["sql"].as_str().map(str::len), Some(1_000));
    assert_eq!((&json["kind"], &json["sequence"], &json["sql_form"]), (&"call".into(), &7.into(), &"full".into()));
}

#[test]
fn changes() {
    let admin = v1::AdminEvent {
        actor: "root".into(),
        action: "/nla.v1.Tokens/Revoke".into(),
        object: "token/abcDEF012345".into(),
        outcome: v1::Outcome::Succeeded.into(),
        revision: 9,
        before_json: r#"{"a":1}"#.into(),
        after_json: "not json".into(),
        ..Default::default()
    };
    let event =
        Event::from_wire(v1::AuditEvent { sequence: 1, at: None, event: Some(v1::audit_event::Event::Admin(admin)) });
    assert_eq!(event.line(), "- #1 succeeded Tokens/Revoke by=root object=token/abcDEF012345 revision=9");
    let json = serde_json::to_value(&event).unwrap();
    assert_eq!((&json["before"]["a"], &json["after"]), (&1.into(), &"not json".into()));
    assert_eq!(json["kind"], "admin");
}
