//! The script's shape. What it does to a server is shown in `cli/tests/roles`.

use super::*;

fn wish() -> Wish {
    Wish {
        database: "shop".into(),
        dbname: "shop".into(),
        reader: "nla_reader".into(),
        schemas: vec!["shop".into()],
        tables: vec![],
        excluded: vec![],
        owners: vec!["shop_owner".into()],
        connection_limit: Some(20),
        statement_timeout: Duration::from_secs(30),
        temp_file_limit_bytes: 1 << 30,
        from_public: true,
    }
}

/// The statements without comments.
fn bare(script: &str) -> String {
    script.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_was_asked_for_and_no_password() {
    let script = script(&wish());
    for part in [
        "CREATE ROLE \"nla_reader\" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT;",
        "ALTER ROLE \"nla_reader\" CONNECTION LIMIT 20;",
        "SET default_transaction_read_only = on;",
        "SET statement_timeout = '30000ms';",
        "SET temp_file_limit = '1048576kB';",
        "GRANT CONNECT ON DATABASE \"shop\" TO \"nla_reader\";",
        "REVOKE TEMPORARY, CREATE ON DATABASE \"shop\" FROM PUBLIC;",
        "GRANT SELECT ON ALL TABLES IN SCHEMA \"shop\" TO \"nla_reader\";",
        "ALTER DEFAULT PRIVILEGES FOR ROLE \"shop_owner\" IN SCHEMA \"shop\"\n  GRANT SELECT ON TABLES TO \"nla_reader\";",
    ] {
        assert!(script.contains(part), "{part}\n{script}");
    }
    assert!(!bare(&script).to_lowercase().contains("password"), "{script}");
    assert!(bare(&script).trim_start().starts_with("BEGIN;") && bare(&script).trim_end().ends_with("COMMIT;"));
}

#[test]
fn public_is_left_alone_where_that_was_asked_for() {
    let script = script(&Wish { from_public: false, ..wish() });
    assert!(!bare(&script).contains("FROM PUBLIC"), "{script}");
}

#[test]
fn no_limit_of_connections_unless_it_was_asked_for() {
    let script = script(&Wish { connection_limit: None, ..wish() });
    assert!(!bare(&script).contains("CONNECTION LIMIT"), "{script}");
}

#[test]
fn an_excluded_table_shuts_what_comes_later_in_its_schema() {
    let excluded = vec!["shop.payments".parse().unwrap()];
    let script = script(&Wish { excluded, schemas: vec!["shop".into(), "analytics".into()], ..wish() });
    assert!(script.contains("IN SCHEMA \"shop\"\n  REVOKE SELECT ON TABLES FROM \"nla_reader\";"), "{script}");
    assert!(script.contains("IN SCHEMA \"analytics\"\n  GRANT SELECT ON TABLES TO \"nla_reader\";"), "{script}");
}

/// The script falls into the same statements whatever the names hold.
#[test]
fn no_name_ends_the_part_that_it_stands_in() {
    let hostile = "a\"; DROP TABLE x; --\n'$nla$ \\ \u{2028}表";
    let relation = || vec![RelationName { schema: hostile.into(), name: hostile.into() }];
    let with = |name: &str, relation: Vec<RelationName>| Wish {
        dbname: name.into(),
        database: name.into(),
        reader: name.into(),
        schemas: vec![name.into()],
        tables: relation.clone(),
        excluded: relation,
        owners: vec![name.into()],
        ..wish()
    };
    let plain = script(&with("x", vec!["x.x".parse().unwrap()]));
    let hostile = script(&with(hostile, relation()));
    let (plain, hostile) = (statements(&plain), statements(&hostile));
    assert_eq!(plain.len(), hostile.len(), "{hostile:#?}");
    for (plain, hostile) in plain.iter().zip(&hostile) {
        let verb = |statement: &str| statement.split_whitespace().next().unwrap_or_default().to_owned();
        assert_eq!(verb(plain), verb(hostile));
    }
}

/// Splits a script where psql would. Written for this test alone, from the
/// manual's lexical rules: quotes, E strings, dollar quotes and line comments.
fn statements(script: &str) -> Vec<String> {
    let (mut list, mut rest, mut text) = (Vec::new(), script, String::new());
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '-' if rest.starts_with("--") => {
                rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
                continue;
            }
            '"' => closing(rest, "\"", false),
            '\'' => closing(rest, "'", text.ends_with('E')),
            '$' => {
                let tag = &rest[..rest[1..].find('$').unwrap() + 2];
                rest[tag.len()..].find(tag).unwrap() + 2 * tag.len()
            }
            ';' => {
                list.push(std::mem::take(&mut text).trim().to_owned());
                rest = &rest[1..];
                continue;
            }
            c => c.len_utf8(),
        };
        text.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    assert!(text.trim().is_empty(), "{text}");
    list
}

fn closing(rest: &str, quote: &str, escapes: bool) -> usize {
    let mut at = 1;
    loop {
        let next = rest[at..].find(['\\', quote.chars().next().unwrap()]).expect("the quote ends") + at;
        if rest[next..].starts_with('\\') {
            at = next + if escapes { 2 } else { 1 };
        } else if rest[next + 1..].starts_with(quote) {
            at = next + 2;
        } else {
            return next + 1;
        }
    }
}
