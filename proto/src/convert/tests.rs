//! Round trips as properties, refusals as tables.

use std::num::NonZeroU16;

use nla_domain::{
    audit::{CallRecord, CallerRecord, Outcome, SqlRecord},
    credential::Credential,
    database::{Database, DatabaseLimits, Endpoint},
    error::ErrorKind,
    pepper::Peppers,
    role::Role,
    secret::{Key32, Secret},
    snapshot::Settings,
    token::{Token, TokenLimits, TokenVerifier},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;

const NAME: &str = "[a-z0-9][a-z0-9._-]{0,62}";
const TEXT: &str = "[^\\p{C}]{0,40}";
const QUALIFIED: &str = "[a-z_äß]{1,20}\\.[A-Z_é][A-Za-z_ é]{0,20}[a-z]";

fn time() -> impl Strategy<Value = Timestamp> {
    (-62_135_596_800_000_000_i64..=253_402_300_799_000_000).prop_map(Timestamp::from_micros)
}

prop_compose! {
    fn database()(
        name in NAME, description in TEXT, host in "[a-z0-9.]{1,40}", port in 1_u16.., dbname in "[^\\p{C}]{1,60}",
        mode in select(vec![SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull]),
        max_rows in 1_u32..=1_000_000, max_bytes in 1_024_u64..=(256 << 20), timeout_ms in 10_u64..=3_600_000,
        pool_size in 1_u32..=100, role_policy in select(RolePolicy::ALL.to_vec()),
    ) -> Database {
        Database {
            name: name.parse().unwrap(), description, dbname, sslmode: mode,
            endpoint: Endpoint { host, port: NonZeroU16::new(port).unwrap() },
            root_certificate_pem: (mode != SslMode::Require).then(|| "pem".to_owned()),
            limits: DatabaseLimits {
                max_rows, max_bytes, pool_size, statement_timeout: Duration::from_millis(timeout_ms),
            },
            role_policy,
        }
    }
}

prop_compose! {
    fn role()(
        name in NAME, description in TEXT, databases in vec(NAME, 0..4),
        tools in vec(select(Tool::ALL.to_vec()), 0..4), allow_explain_analyze: bool,
        max_rows in option::of(1_u32..), sql_audit in select(SqlAudit::ALL.to_vec()),
        functions in vec(QUALIFIED, 0..4), relations in vec(QUALIFIED, 0..4), operators in vec("[+<>=~!@#%^&|`?]{1,63}", 0..4),
        settings in vec("[a-z_][a-z0-9_$]{0,20}(\\.[a-z_]{1,20})?", 0..4),
    ) -> Role {
        let databases = databases.iter().map(|name| name.parse().unwrap()).collect();
        Role {
            name: name.parse().unwrap(), description, databases, tools, allow_explain_analyze, max_rows, sql_audit,
            functions, relations, operators, settings,
        }
    }
}

prop_compose! {
    fn token()(
        id in "[0-9A-Za-z]{12}", verifier: [u8; 32], owner in TEXT, roles in vec(NAME, 0..3),
        databases in vec(NAME, 0..3), expires_at in option::of(time()),
        cidrs in vec(select(vec!["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "0.0.0.0/0"]), 0..3),
        strict: bool, pepper_generation in 1_u32..5, limits in (1_u32..=100_000, 1_u32..=100_000, 1_u32..=100_000),
    ) -> Token {
        Token {
            id: id.parse().unwrap(), verifier: TokenVerifier::from_slice(&verifier).unwrap(), owner, pepper_generation,
            roles: roles.iter().map(|name| name.parse().unwrap()).collect(),
            databases: databases.iter().map(|name| name.parse().unwrap()).collect(),
            expires_at, allowed_cidrs: cidrs.iter().map(|net| net.parse().unwrap()).collect(),
            staleness: if strict { Staleness::Strict } else { Staleness::Standard },
            limits: TokenLimits { calls_per_second: limits.0, burst: limits.1, concurrent_calls: limits.2 },
        }
    }
}

prop_compose! {
    fn caller()(
        address in option::of(any::<std::net::IpAddr>()), token in option::of("[0-9A-Za-z]{12}"),
        owner in option::of("[a-z]{1,9}"), role in option::of(NAME), client_name in option::of("\\PC{1,20}"),
    ) -> CallerRecord {
        CallerRecord {
            address, owner, client_name,
            token: token.map(|id| id.parse().unwrap()), role: role.map(|name| name.parse().unwrap()),
        }
    }
}

prop_compose! {
    fn record()(
        at in time(), request_id in TEXT, action in NAME, caller in caller(), database in option::of(NAME),
        sql in option::of((0..3_u8, "\\PC{0,40}")), relations in vec("\\PC{1,9}", 0..3),
        outcome in select(Outcome::ALL.to_vec()), kind in option::of(select(ErrorKind::ALL.to_vec())),
        rule in option::of("[a-z.]{1,9}"), sqlstate in option::of("[0-9A-Z]{5}"), numbers: (u64, u64, bool, u32, u32),
    ) -> CallRecord {
        let sql = sql.map(|(form, text)| match form {
            0 => SqlRecord::Full(text),
            1 => SqlRecord::Fingerprint(text),
            _ => SqlRecord::Hash(text),
        });
        CallRecord {
            at, request_id, action, caller, sql, relations, outcome, rule, sqlstate,
            database: database.map(|name| name.parse().unwrap()), reason: kind.map(ErrorKind::reason),
            rows: numbers.0, bytes: numbers.1, truncated: numbers.2,
            duration: Duration::from_micros(numbers.3.into()), database_duration: Duration::from_micros(numbers.4.into()),
        }
    }
}

proptest! {
    #[test]
    fn databases(value in database()) {
        prop_assert_eq!(Database::try_from(v1::Database::from(&value)).unwrap(), value);
    }

    #[test]
    fn roles(value in role()) {
        prop_assert_eq!(Role::try_from(v1::Role::from(&value)).unwrap(), value);
    }

    #[test]
    fn tokens(value in token()) {
        prop_assert_eq!(Token::try_from(v1::Token::from(&value)).unwrap(), value);
    }

    #[test]
    fn records(value in record()) {
        prop_assert_eq!(CallRecord::try_from(v1::CallEvent::from(&value)).unwrap(), value);
    }

    #[test]
    fn credentials(database in NAME, username in "[a-z]{1,63}", password in "[^\0]{0,200}", generation: u64) {
        let value = Credential {
            database: database.parse().unwrap(), username, password: Secret::new(password), generation,
        };
        prop_assert_eq!(Credential::try_from(v1::CredentialItem::from(&value)).unwrap(), value);
    }

    #[test]
    fn settings(
        peppers in proptest::collection::btree_map(1_u32..9, any::<[u8; 32]>(), 1..5), bundle in TEXT,
        strict in 1_u64..=86_400, standard in 1_u64..=86_400,
    ) {
        let peppers = peppers.into_iter().map(|(generation, pepper)| (generation, Key32::new(pepper)));
        let value = Settings {
            peppers: Peppers::from_pairs(peppers).unwrap(), ca_bundle_pem: bundle,
            strict_staleness: Duration::from_secs(strict), standard_staleness: Duration::from_secs(standard),
        };
        prop_assert_eq!(Settings::try_from(v1::Settings::from(&value)).unwrap(), value);
    }

    #[test]
    fn times_and_durations(at in time(), nanos: u32, seconds in 0_u64..=315_576_000_000) {
        prop_assert_eq!(from_timestamp("at", &timestamp(at)).unwrap(), at);
        let of = Duration::new(seconds, nanos % 1_000_000_000);
        prop_assert_eq!(from_duration("of", &duration(of)).unwrap(), of);
    }
}

#[test]
fn refusals_name_the_field() {
    let good = v1::Database {
        name: "shop".into(),
        host: "localhost".into(),
        port: 5432,
        dbname: "shop".into(),
        sslmode: v1::SslMode::Disable.into(),
        ..Default::default()
    };
    assert!(Database::try_from(good.clone()).is_ok());
    type Change = fn(&mut v1::Database);
    let cases: [(Change, &str); 9] = [
        (|d| d.name = "Shop!".into(), "name"),
        (|d| d.port = 0, "port"),
        (|d| d.port = 65_536, "port"),
        (|d| d.sslmode = 0, "sslmode"),
        (|d| d.sslmode = 99, "sslmode"),
        (|d| d.role_policy = 4, "role_policy"),
        (|d| d.host = "db.example.com".into(), "sslmode"),
        (|d| d.limits = Some(v1::DatabaseLimits { max_rows: 2_000_000, ..Default::default() }), "max_rows"),
        (
            |d| {
                let statement_timeout = Some(prost_types::Duration { seconds: -1, nanos: 0 });
                d.limits = Some(v1::DatabaseLimits { statement_timeout, ..Default::default() });
            },
            "limits.statement_timeout",
        ),
    ];
    for (change, field) in cases {
        let mut wire = good.clone();
        change(&mut wire);
        assert_eq!(Database::try_from(wire).unwrap_err().field, field);
    }
    let role = v1::Role { name: "r".into(), tools: vec![0], sql_audit: 1, ..Default::default() };
    assert_eq!(Role::try_from(role).unwrap_err().field, "tools");
    let role =
        v1::Role { name: "r".into(), databases: vec!["ok".into(), "NO".into()], sql_audit: 1, ..Default::default() };
    assert_eq!(Role::try_from(role).unwrap_err().field, "databases[1]");
    let role = v1::Role { name: "r".into(), sql_audit: 1, ..Default::default() };
    let names = || vec!["ok.ok".to_owned(), "no".to_owned()];
    for (role, field) in [
        (v1::Role { functions: names(), ..role.clone() }, "functions[1]"),
        (v1::Role { relations: names(), ..role.clone() }, "relations[1]"),
        (v1::Role { operators: names(), ..role.clone() }, "operators[0]"),
        (v1::Role { settings: vec!["Work_Mem".into()], ..role.clone() }, "settings[0]"),
        (v1::Role { functions: vec!["a.b".into(); 101], ..role.clone() }, "functions"),
    ] {
        assert_eq!(Role::try_from(role).unwrap_err().field, field);
    }
    let settings = v1::Settings { pepper: vec![0; 31], ..Default::default() };
    assert_eq!(Settings::try_from(settings).unwrap_err().field, "pepper");
}

/// What a version without the newer fields stored and sent reads as the
/// strictest choice.
#[test]
fn absent_fields_are_the_strict_defaults() {
    let database = v1::Database {
        name: "shop".into(),
        host: "localhost".into(),
        port: 5432,
        dbname: "shop".into(),
        sslmode: v1::SslMode::Disable.into(),
        ..Default::default()
    };
    assert_eq!(Database::try_from(database).unwrap().role_policy, RolePolicy::RefuseSuperuser);
    let role = v1::Role { name: "r".into(), sql_audit: 1, ..Default::default() };
    assert!(Role::try_from(role).unwrap().is_without_exceptions());
}
