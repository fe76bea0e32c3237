//! The decisions as tables.

use std::{collections::HashMap, num::NonZeroU16};

use super::*;
use crate::{
    clock::Timestamp,
    database::{Endpoint, RolePolicy, SslMode},
    id::{Epoch, Revision},
    secret::{Key32, Secret},
    snapshot::{DEFAULT_STANDARD_STALENESS, DEFAULT_STRICT_STALENESS, Settings},
    token::{TokenLimits, TokenVerifier},
};

fn database(name: &str) -> Database {
    Database {
        name: name.parse().unwrap(),
        description: String::new(),
        endpoint: Endpoint { host: "localhost".into(), port: NonZeroU16::new(5432).unwrap() },
        dbname: name.into(),
        sslmode: SslMode::Disable,
        root_certificate_pem: None,
        limits: DatabaseLimits::default(),
        role_policy: RolePolicy::default(),
    }
}

fn role(name: &str, databases: &[&str], tools: &[Tool]) -> Role {
    Role {
        name: name.parse().unwrap(),
        description: String::new(),
        databases: databases.iter().map(|d| d.parse().unwrap()).collect(),
        tools: tools.to_vec(),
        allow_explain_analyze: false,
        max_rows: None,
        sql_audit: SqlAudit::Hash,
        functions: vec![],
        relations: vec![],
        operators: vec![],
        settings: vec![],
    }
}

fn token(text: &TokenText, pepper: &Key32) -> Token {
    Token {
        id: text.id(),
        verifier: text.verifier(pepper),
        owner: "ada@example.com".into(),
        roles: vec!["reader".parse().unwrap()],
        databases: vec![],
        expires_at: Some(Timestamp::from_micros(1_000)),
        allowed_cidrs: vec![],
        staleness: Staleness::Strict,
        limits: TokenLimits::default(),
    }
}

fn snapshot(roles: Vec<Role>, tokens: Vec<Token>) -> Snapshot {
    let names = ["crm", "shop", "spare"];
    Snapshot {
        epoch: Epoch::default(),
        revision: Revision(1),
        settings: Arc::new(Settings {
            pepper: Key32::new([9; 32]),
            strict_staleness: DEFAULT_STRICT_STALENESS,
            standard_staleness: DEFAULT_STANDARD_STALENESS,
        }),
        databases: names.iter().map(|n| (n.parse().unwrap(), Arc::new(database(n)))).collect(),
        credentials: ["crm", "shop"]
            .iter()
            .map(|n| {
                let credential = Credential {
                    database: n.parse().unwrap(),
                    username: "reader".into(),
                    password: Secret::new("p"),
                    generation: 1,
                };
                (n.parse().unwrap(), Arc::new(credential))
            })
            .collect(),
        roles: roles.into_iter().map(|r| (r.name.clone(), Arc::new(r))).collect(),
        tokens: tokens.into_iter().map(|t| (t.id, Arc::new(t))).collect::<HashMap<_, _>>(),
    }
}

#[test]
fn authentication() {
    let text = TokenText::generate().unwrap();
    let pepper = Key32::new([9; 32]);
    type Change = fn(&mut Token);
    let unchanged: Change = |_| {};
    let (v4, mapped): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "::ffff:192.0.2.1".parse().unwrap());
    let second = Duration::from_secs(1);
    let cases: [(Change, IpAddr, i64, Duration, Option<AuthFailure>); 11] = [
        (unchanged, v4, 999, second, None),
        (unchanged, v4, 1_000, second, Some(AuthFailure::Expired)),
        (|t| t.expires_at = None, v4, i64::MAX, second, None),
        (
            |t| t.verifier = TokenVerifier::from_slice(&[0; 32]).unwrap(),
            v4,
            5_000,
            second,
            Some(AuthFailure::WrongSecret),
        ),
        (|t| t.allowed_cidrs = vec!["192.0.2.0/24".parse().unwrap()], v4, 0, second, None),
        (|t| t.allowed_cidrs = vec!["192.0.2.0/24".parse().unwrap()], mapped, 0, second, None),
        (|t| t.allowed_cidrs = vec!["10.0.0.0/8".parse().unwrap()], v4, 0, second, Some(AuthFailure::Address)),
        (unchanged, v4, 0, DEFAULT_STRICT_STALENESS, None),
        (unchanged, v4, 0, DEFAULT_STRICT_STALENESS + second, Some(AuthFailure::Stale)),
        (|t| t.staleness = Staleness::Standard, v4, 0, DEFAULT_STANDARD_STALENESS, None),
        (|t| t.staleness = Staleness::Standard, v4, 0, DEFAULT_STANDARD_STALENESS + second, Some(AuthFailure::Stale)),
    ];
    for (at, (change, peer, now, age, expected)) in cases.into_iter().enumerate() {
        let mut token = token(&text, &pepper);
        change(&mut token);
        let snapshot = snapshot(vec![], vec![token]);
        let verdict = authenticate(&snapshot, &text, peer, Timestamp::from_micros(now), age);
        assert_eq!(verdict.err(), expected, "case {at}");
    }
    let stranger = TokenText::generate().unwrap();
    let verdict = authenticate(&snapshot(vec![], vec![]), &stranger, v4, Timestamp::default(), Duration::ZERO);
    assert_eq!(verdict.unwrap_err(), AuthFailure::Unknown);
}

#[test]
fn decisions() {
    let text = TokenText::generate().unwrap();
    let token = token(&text, &Key32::new([9; 32]));
    let query = &[Tool::QueryDatabase][..];
    let none = |text: &str| Denial::Database(text.into());
    type Case<'a> = (Vec<Role>, Option<&'a str>, Result<&'a str, Denial>);
    let cases: Vec<Case<'_>> = vec![
        (vec![role("reader", &["shop"], query)], Some("shop"), Ok("shop")),
        (vec![role("reader", &["shop"], query)], None, Ok("shop")),
        (vec![role("reader", &["shop"], query)], Some("crm"), Err(none("crm"))),
        (vec![role("reader", &["shop"], query)], Some("no such"), Err(none("no such"))),
        (vec![role("reader", &["shop"], &[Tool::GetSchema])], Some("shop"), Err(Denial::Tool(Tool::QueryDatabase))),
        (vec![role("reader", &["shop"], &[])], Some("shop"), Err(Denial::Tool(Tool::QueryDatabase))),
        (vec![role("reader", &[], query)], None, Err(Denial::NoDatabase)),
        (
            vec![role("reader", &["shop", "crm"], query)],
            None,
            Err(Denial::Ambiguous(vec!["crm".into(), "shop".into()])),
        ),
        (vec![role("reader", &["spare"], query)], None, Err(Denial::NoCredential("spare".parse().unwrap()))),
        (vec![role("other", &["shop"], query)], Some("shop"), Err(Denial::Tool(Tool::QueryDatabase))),
        (vec![], Some("shop"), Err(Denial::Tool(Tool::QueryDatabase))),
    ];
    for (at, (roles, database, expected)) in cases.into_iter().enumerate() {
        let snapshot = snapshot(roles, vec![]);
        let verdict = decide(&snapshot, &token, Tool::QueryDatabase, database);
        let verdict = verdict.map(|grant| grant.database.name.to_string());
        assert_eq!(verdict, expected.map(Into::into), "case {at}");
    }
}

#[test]
fn a_tool_of_one_role_does_not_open_the_database_of_another() {
    let text = TokenText::generate().unwrap();
    let mut token = token(&text, &Key32::new([9; 32]));
    token.roles = vec!["a".parse().unwrap(), "b".parse().unwrap()];
    let roles = vec![role("a", &["shop"], &[Tool::GetSchema]), role("b", &["crm"], &[Tool::QueryDatabase])];
    let snapshot = snapshot(roles, vec![]);
    assert!(decide(&snapshot, &token, Tool::QueryDatabase, Some("shop")).is_err());
    assert!(decide(&snapshot, &token, Tool::QueryDatabase, Some("crm")).is_ok());
}

#[test]
fn the_tokens_own_list_narrows_its_roles() {
    let text = TokenText::generate().unwrap();
    let mut token = token(&text, &Key32::new([9; 32]));
    token.databases = vec!["crm".parse().unwrap()];
    let snapshot = snapshot(vec![role("reader", &["shop", "crm"], &[Tool::QueryDatabase])], vec![]);
    let grant = decide(&snapshot, &token, Tool::QueryDatabase, None).unwrap();
    assert_eq!(grant.database.name.as_str(), "crm");
    assert!(decide(&snapshot, &token, Tool::QueryDatabase, Some("shop")).is_err());
}

#[test]
fn limits_of_several_roles_combine() {
    let text = TokenText::generate().unwrap();
    let mut token = token(&text, &Key32::new([9; 32]));
    token.roles = vec!["a".parse().unwrap(), "b".parse().unwrap()];
    let mut a = role("a", &["shop"], &[Tool::QueryDatabase]);
    a.max_rows = Some(10);
    a.allow_explain_analyze = true;
    let mut b = role("b", &["shop"], &[Tool::QueryDatabase]);
    b.max_rows = Some(20);
    b.sql_audit = SqlAudit::Full;
    a.functions = vec!["shop.total".into()];
    b.functions = vec!["shop.tax".into()];
    b.relations = vec!["pg_catalog.pg_stat_activity".into()];
    let snapshot = snapshot(vec![a, b], vec![]);
    let grant = decide(&snapshot, &token, Tool::QueryDatabase, None).unwrap();
    assert_eq!(grant.limits.max_rows, 20);
    assert!(grant.allow_explain_analyze);
    assert_eq!(grant.sql_audit, SqlAudit::Full);
    assert_eq!(grant.role.name.as_str(), "a");
    assert_eq!(grant.role.functions, ["shop.total", "shop.tax"]);
    assert_eq!(grant.role.relations, ["pg_catalog.pg_stat_activity"]);
    assert_eq!(snapshot.roles["a"].functions, ["shop.total"]);
}

#[test]
fn a_role_that_does_not_allow_the_call_lends_no_exceptions() {
    let text = TokenText::generate().unwrap();
    let mut token = token(&text, &Key32::new([9; 32]));
    token.roles = vec!["a".parse().unwrap(), "b".parse().unwrap(), "c".parse().unwrap()];
    let a = role("a", &["shop"], &[Tool::QueryDatabase]);
    let mut b = role("b", &["crm"], &[Tool::QueryDatabase]);
    b.functions = vec!["shop.total".into()];
    let mut c = role("c", &["shop"], &[Tool::GetSchema]);
    c.relations = vec!["pg_catalog.pg_stat_activity".into()];
    let snapshot = snapshot(vec![a, b, c], vec![]);
    let grant = decide(&snapshot, &token, Tool::QueryDatabase, Some("shop")).unwrap();
    assert!(grant.role.is_without_exceptions(), "{:?}", grant.role);
}

#[test]
fn address_ranges() {
    let cases = [
        ("192.0.2.1/32", "192.0.2.1", true),
        ("192.0.2.1/32", "192.0.2.2", false),
        ("192.0.2.0/24", "::ffff:192.0.2.9", true),
        ("192.0.2.0/24", "::ffff:192.0.3.9", false),
        ("0.0.0.0/0", "192.0.2.1", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("2001:db8::/32", "2001:db8:9::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("2001:db8::1/128", "2001:db8::1", true),
        // Ranges of IPv4 as IPv6 writes them, and wider ones.
        ("::ffff:192.0.2.0/120", "192.0.2.9", true),
        ("::ffff:192.0.2.0/120", "::ffff:192.0.2.9", true),
        ("::ffff:192.0.2.0/120", "192.0.3.9", false),
        ("::ffff:0.0.0.0/96", "192.0.2.9", true),
        ("::/96", "192.0.2.9", false),
        ("::/0", "192.0.2.9", false),
        ("::/0", "2001:db8::1", true),
    ];
    let text = TokenText::generate().unwrap();
    let pepper = Key32::new([9; 32]);
    for (net, peer, accepted) in cases {
        let token = Token { allowed_cidrs: vec![net.parse().unwrap()], ..token(&text, &pepper) };
        let snapshot = snapshot(vec![], vec![token]);
        let peer = peer.parse().unwrap();
        let verdict = authenticate(&snapshot, &text, peer, Timestamp::default(), Duration::ZERO);
        assert_eq!(verdict.err(), (!accepted).then_some(AuthFailure::Address), "{peer} in {net}");
    }
}
