//! The guard's corpus through a real edge against a real database, once as a
//! superuser and once as the owner of the tables: what the guard would miss,
//! these two could do. Afterwards nothing has changed.

use super::bench::{SOON, wanted};
use nla_domain::secret::Secret;
use nla_proto::v1;
use nla_sandbox::{
    mcp::McpClient,
    sample,
    system::{Sandbox, analyst, sample_database},
};
use nla_tests::traces::traces;
use serde_json::json;

const HOSTILE: &str = include_str!("../../../guard/tests/corpus/hostile.sql");
const HARMLESS: &str = include_str!("../../../guard/tests/corpus/harmless.sql");

/// Undefined table, column, function and their kin, and casts and groupings
/// that do not fit: the corpus names what the sample does not have, or has with
/// other types.
const MISSING: [&str; 9] = ["42P01", "42703", "42883", "42704", "3F000", "42P02", "42804", "42846", "42803"];

struct Case {
    sql: &'static str,
    rule: Option<&'static str>,
    exceptions: Option<&'static str>,
}

/// The paragraphs of a corpus file; its head says how they are written.
fn cases(text: &'static str) -> Vec<Case> {
    let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.starts_with("-- Statements that must"));
    let case = |paragraph: &'static str| {
        let mut case = Case { sql: paragraph, rule: None, exceptions: None };
        while let Some((head, rest)) = case.sql.split_once('\n') {
            if let Some(rule) = head.strip_prefix("-- refuse: ") {
                case.rule = Some(rule);
            } else if let Some(exceptions) = head.strip_prefix("-- rules: ") {
                case.exceptions = Some(exceptions);
            } else {
                break;
            }
            case.sql = rest;
        }
        case
    };
    paragraphs.map(case).collect()
}

/// Names that hostile statements of the corpus would change or remove, so that
/// one that gets through is seen.
const TARGETS: &str = "
    SET search_path = shop;
    CREATE TABLE t AS SELECT n AS id, n AS a, n AS b, n AS x, 'text ' || n AS name FROM generate_series(1, 50) n;
    CREATE TABLE a AS SELECT * FROM t; CREATE TABLE b AS SELECT * FROM t; CREATE TABLE users AS SELECT * FROM t;
    CREATE TABLE accounts AS SELECT * FROM t;
    CREATE SEQUENCE s; CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM t;
    CREATE FUNCTION bump() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('shop.s') $$;
    SELECT lo_from_bytea(4711, 'large');";

async fn verdict(client: &McpClient, sql: &str) -> (bool, serde_json::Value) {
    let call = client.call("query_database", json!({ "sql": sql }));
    let result = tokio::time::timeout(SOON, call).await.unwrap_or_else(|_| panic!("no answer: {sql}"));
    let result = result.unwrap_or_else(|error| panic!("{sql}: {error:#}"));
    (result["isError"] == json!(true), result["_meta"]["nla/error"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_hostile_gets_through_and_nothing_changes() {
    let sandbox = Sandbox::with_edges(1).await.unwrap();
    let postgres = &sandbox.sample.postgres;
    let admin = postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
    let owner_password = Secret::new("the owner's password");
    let prepare = format!(
        "ALTER ROLE {owner} LOGIN PASSWORD '{}'; ALTER DATABASE {database} SET search_path = shop, public;
         ALTER SYSTEM SET autovacuum = off; {TARGETS}
         ALTER TABLE shop.t OWNER TO {owner}; ALTER TABLE shop.a OWNER TO {owner}; ALTER TABLE shop.b OWNER TO {owner};
         ALTER TABLE shop.users OWNER TO {owner}; ALTER TABLE shop.accounts OWNER TO {owner};
         ALTER SEQUENCE shop.s OWNER TO {owner}; ALTER MATERIALIZED VIEW shop.mv OWNER TO {owner};
         ALTER FUNCTION shop.bump() OWNER TO {owner}",
        owner_password.expose().replace('\'', "''"),
        owner = sample::OWNER,
        database = sample::DATABASE,
    );
    // One at a time: ALTER SYSTEM refuses to run beside others.
    for statement in prepare.split(';').filter(|statement| !statement.trim().is_empty()) {
        admin.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();

    let mut clients = Vec::new();
    for (name, user, password) in [
        ("as-superuser", postgres.superuser(), postgres.superuser_password()),
        ("as-owner", sample::OWNER, &owner_password),
    ] {
        let database = v1::Database {
            name: name.into(),
            // The corpus shows what holds when the role may do everything.
            role_policy: v1::RolePolicy::Warn.into(),
            ..sample_database(postgres).unwrap()
        };
        sandbox.admin.create_database(database).await.unwrap();
        sandbox.admin.set_credential(name, user, password).await.unwrap();
        let role = v1::Role { allow_explain_analyze: false, ..analyst(name, &[name]) };
        sandbox.admin.create_role(role).await.unwrap();
        let (_, token) = sandbox.admin.create_token(wanted(&[name])).await.unwrap();
        clients.push((name, sandbox.client(0, &token).unwrap()));
    }
    sandbox.settled().await.unwrap();
    // The connections are there before the first look.
    for (_, client) in &clients {
        client.query("SELECT 1").await.unwrap();
    }
    admin.batch_execute("CHECKPOINT").await.unwrap();
    let before = traces(&admin).await.unwrap();
    let (mut wrong, mut refused, mut answered, mut missing) = (Vec::new(), 0, 0, 0);
    let hostile = cases(HOSTILE);
    let harmless = cases(HARMLESS);
    assert!(hostile.len() >= 150 && harmless.len() >= 100);
    for (name, client) in &clients {
        for case in &hostile {
            let (is_error, error) = verdict(client, case.sql).await;
            // An exception of the case may have opened the way to another rule.
            let by_its_rule = case.exceptions.is_some() || error["rule"].as_str() == case.rule;
            if is_error && error["code"] == "statement_refused" && by_its_rule {
                refused += 1;
            } else {
                wrong.push(format!("{name}: {} must be refused by {:?}: {is_error} {error}", case.sql, case.rule));
            }
        }
        for case in harmless.iter().filter(|case| case.exceptions.is_none()) {
            let (is_error, error) = verdict(client, case.sql).await;
            match error["sqlstate"].as_str() {
                _ if !is_error => answered += 1,
                Some(state) if MISSING.contains(&state) => missing += 1,
                None if error["rule"] == "guard.relation.unknown" => missing += 1,
                _ => wrong.push(format!("{name}: {} must be answered: {error}", case.sql)),
            }
        }
        assert_eq!(client.query("SELECT 41 + 1").await.unwrap()["rows"], json!([[42]]));
    }
    let after = traces(&admin).await.unwrap();
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(before.len(), after.len(), "tables came or went");
    assert_eq!(refused, 2 * hostile.len());
    assert!(answered > missing, "{answered} answered, {missing} name what is not there");
}
