//! Logins that PostgreSQL refuses: each is named, and once the cause is gone
//! the next call is answered, without a change on the edge.

use nla_domain::secret::Secret;
use nla_proto::v1;
use nla_sandbox::system::wait_for;
use serde_json::json;

use super::bench::{Bench, Case, ask};

/// Name, what breaks it, what mends it, the step and a part of the reason.
/// Every role has the password `right`.
const REFUSED: [(&str, &str, &str, (&str, &str)); 7] = [
    (
        "wrong-password",
        "ALTER ROLE wrong_password PASSWORD 'another'",
        "ALTER ROLE wrong_password PASSWORD 'right'",
        ("authenticate", "refused the configured credential"),
    ),
    (
        "no-login",
        "ALTER ROLE no_login NOLOGIN",
        "ALTER ROLE no_login LOGIN",
        ("authenticate", "refused the configured credential"),
    ),
    (
        "expired-password",
        "ALTER ROLE expired_password VALID UNTIL '2020-01-01'",
        "ALTER ROLE expired_password VALID UNTIL 'infinity'",
        ("authenticate", "refused the configured credential"),
    ),
    (
        "crowded",
        "ALTER ROLE crowded CONNECTION LIMIT 0",
        "ALTER ROLE crowded CONNECTION LIMIT -1",
        ("authenticate", "has no connection left"),
    ),
    (
        "not-granted",
        "REVOKE CONNECT ON DATABASE shop FROM not_granted",
        "GRANT CONNECT ON DATABASE shop TO not_granted",
        ("authenticate", "SQLSTATE 42501"),
    ),
    (
        "no-database",
        "DROP DATABASE IF EXISTS no_database",
        "CREATE DATABASE no_database",
        ("authenticate", "has no database of the configured name"),
    ),
    (
        "shut-off",
        "ALTER DATABASE shut_off ALLOW_CONNECTIONS false",
        "ALTER DATABASE shut_off ALLOW_CONNECTIONS true",
        ("authenticate", "SQLSTATE 55000"),
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_is_named_and_ends_with_its_cause() {
    let bench = Bench::start().await;
    bench.admin.batch_execute("CREATE DATABASE shut_off").await.unwrap();
    let mut cases = Vec::new();
    for (name, breaks, _, fails) in REFUSED {
        let role = name.replace('-', "_");
        for sql in [
            format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'right'"),
            format!("GRANT CONNECT ON DATABASE shop, shut_off TO \"{role}\""),
            breaks.to_owned(),
        ] {
            bench.admin.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
        let dbname = if ["no-database", "shut-off"].contains(&name) { role.clone() } else { "shop".to_owned() };
        let case = bench.case(name, |database| database.dbname = dbname);
        cases.push(Case { login: (role, Secret::new("right")), fails: Some(fails), ..case });
    }
    let client = bench.define(&cases).await;
    for (case, (name, _, mends, _)) in cases.iter().zip(REFUSED) {
        bench.check(&client, case).await;
        bench.admin.batch_execute(mends).await.unwrap_or_else(|error| panic!("{mends}: {error:?}"));
        wait_for(&format!("an answer of {name} after the cause is gone"), || async {
            ask(&client, name, "SELECT 41 + 1").await["structuredContent"]["rows"] == json!([[42]])
        })
        .await
        .unwrap();
    }

    let unknown = ask(&client, "nowhere", "SELECT 1").await;
    let error = &unknown["_meta"]["nla/error"];
    assert_eq!((&error["code"], &error["rule"]), (&json!("unknown_database"), &json!("policy.database")));
    assert!(error["message"].as_str().unwrap().contains("nowhere"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket() {
    let bench = Bench::start().await;
    let Some(folder) = bench.sandbox.sample.postgres.socket_folder().map(|folder| folder.display().to_string()) else {
        return; // The temporary folder's path is too long for a socket.
    };
    let local = |name: &str, change: &dyn Fn(&mut v1::Database)| {
        bench.case(name, |database| {
            database.host.clone_from(&folder);
            change(database);
        })
    };
    let nobody = Some(("connect", "does not accept connections"));
    let cases = [
        local("socket", &|database| {
            database.sslmode = v1::SslMode::Disable.into();
            database.root_certificate_pem = String::new();
        }),
        // As with libpq, a socket has no TLS, whatever the mode.
        local("socket-full", &|_| ()),
        Case { fails: nobody, ..local("other-port", &|database| database.port = 64_999) },
        Case { fails: nobody, ..local("no-folder", &|database| database.host = "/nonexistent".into()) },
        Case {
            login: ("nla_reader".into(), Secret::new("wrong")),
            fails: Some(("authenticate", "refused the configured credential (SQLSTATE 28P01)")),
            ..local("socket-wrong", &|_| ())
        },
    ];
    let client = bench.define(&cases).await;
    for case in &cases {
        bench.check(&client, case).await;
    }
    assert_eq!(bench.probe("socket").await.tls, "Unix socket");
}
