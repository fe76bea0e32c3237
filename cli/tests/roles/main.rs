//! What the script of `nlactl database grant-sql` does to a real PostgreSQL: a
//! role that reads, that the server itself keeps from anything else, and about
//! which an edge has nothing to say.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod shapes;

use std::{path::Path, process::Stdio};

use nla_domain::secret::Secret;
use nla_sandbox::{sample, system::Sandbox};
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

/// Runs `nlactl`, which must end well, and gives its stdout.
async fn nlactl(config_dir: &Path, words: &[&str]) -> String {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_nlactl"));
    command.args(words).env_clear().env("NLA_CONFIG_DIR", config_dir).stdin(Stdio::null());
    let output = command.kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What the server refuses to a role by its rights, not by READ ONLY: first the
/// session lifts that, which anybody may.
async fn refused_by_rights(client: &Client, statements: &[&str]) {
    client.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    for statement in statements {
        let error = client.batch_execute(statement).await.expect_err(statement);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}: {error:?}");
    }
}

async fn number(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}")).get(0)
}

const READER: &str = "nla_app";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_reads_and_the_server_keeps_it_from_the_rest() {
    let sandbox = Sandbox::with_edges(1).await.unwrap();
    let postgres = &sandbox.sample.postgres;
    let dir = sandbox.control_plane.operator_dir();
    let admin = postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
    // As an ordinary server is: the sample's own script has closed these.
    let ordinary = "GRANT TEMPORARY ON DATABASE shop TO PUBLIC; GRANT USAGE, CREATE ON SCHEMA public TO PUBLIC;
        CREATE TABLE public.notes (note text)";
    admin.batch_execute(ordinary).await.unwrap();

    let words =
        ["database", "grant-sql", "shop", "--database-role", READER, "--schema", "shop", "--schema", "analytics"];
    let words = [&words[..], &["--owner", sample::OWNER, "--connection-limit", "7"]].concat();
    let sql = nlactl(dir, &words).await;
    for _ in 0..2 {
        admin.batch_execute(&sql).await.unwrap();
    }
    let password = Secret::new("only-for-this-test");
    admin.batch_execute(&format!("ALTER ROLE {READER} PASSWORD '{}'", password.expose())).await.unwrap();
    let reader = postgres.connect(sample::DATABASE, READER, &password).await.unwrap();

    for (query, expected) in [
        ("SELECT count(*) FROM shop.customers", 6_000),
        ("SELECT count(*) FROM shop.payments", 14_388),
        ("SELECT count(*) FROM analytics.monthly_revenue", 36),
    ] {
        assert_eq!(number(&reader, query).await, expected, "{query}");
    }
    let later = "SET ROLE shop_owner; CREATE TABLE shop.later AS SELECT 5::bigint AS n; RESET ROLE";
    admin.batch_execute(later).await.unwrap();
    assert_eq!(number(&reader, "SELECT n FROM shop.later").await, 5);

    for (setting, expected) in [
        ("default_transaction_read_only", "on"),
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("temp_file_limit", "1GB"),
    ] {
        let shown: String = reader.query_one(&format!("SHOW {setting}"), &[]).await.unwrap().get(0);
        assert_eq!(shown, expected, "{setting}");
    }
    assert_eq!(number(&admin, "SELECT rolconnlimit::bigint FROM pg_roles WHERE rolname = 'nla_app'").await, 7);
    refused_by_rights(
        &reader,
        &[
            "CREATE TABLE shop.mine (id int)",
            "CREATE TABLE public.mine (id int)",
            "CREATE TEMP TABLE mine (id int)",
            "CREATE SCHEMA mine",
            "SELECT lo_create(0)",
            "SELECT lo_from_bytea(0, 'x')",
            "SELECT pg_logical_emit_message(false, 'a', 'b')",
            "INSERT INTO shop.tenants VALUES (3, 'x', 'X', 'DE', now())",
            "UPDATE shop.customers SET note = NULL",
            "DELETE FROM shop.payments",
            "TRUNCATE shop.orders",
            "INSERT INTO shop.later VALUES (6)",
            "SELECT * FROM public.notes",
            "SET ROLE shop_owner",
        ],
    )
    .await;

    // What it sees is what `check` judges by.
    let catalog = nlactl(dir, &["database", "catalog-sql"]).await;
    let rows = reader.simple_query(&catalog).await.unwrap();
    let rows: Vec<_> = rows
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    let file = sandbox.folder().join("shop.catalog.json");
    std::fs::write(&file, rows.concat()).unwrap();
    let check = ["check", "--explain", "-o", "json", "--catalog", file.to_str().unwrap(), "SELECT n FROM shop.later"];
    let verdict: serde_json::Value = serde_json::from_str(&nlactl(dir, &check).await).unwrap();
    assert_eq!(verdict["verdict"], "allowed", "{verdict:#}");
    let decided = &verdict["statement"]["decided"][0];
    assert_eq!((&decided["kind"], &decided["name"]), (&"relation".into(), &"shop.later".into()), "{verdict:#}");
    assert!(decided["why"].as_str().unwrap().starts_with("of this database"), "{verdict:#}");
    assert!(verdict["basis"]["catalog"]["relations"].as_u64().unwrap() > 20, "{verdict:#}");
    assert!(verdict["basis"]["server_major"].as_u64().unwrap() >= 14, "{verdict:#}");

    // The edge logs in with it and finds nothing to warn about.
    sandbox.admin.set_credential("shop", READER, &password).await.unwrap();
    sandbox.settled().await.unwrap();
    let probes = nlactl(dir, &["database", "test", "shop", "-o", "json"]).await;
    let probes: serde_json::Value = serde_json::from_str(&probes).unwrap();
    assert_eq!((&probes[0]["ok"], &probes[0]["warnings"]), (&true.into(), &serde_json::json!([])), "{probes:#}");
    // And the strictest policy accepts it.
    nlactl(dir, &["database", "update", "shop", "--role-policy", "refuse"]).await;
    let (_, token) = sandbox.token(&["analyst"]).await.unwrap();
    let answer = sandbox.client(0, &token).unwrap().query("SELECT count(*) FROM shop.orders").await.unwrap();
    assert_eq!(answer["rows"], serde_json::json!([[15_000]]));
}
