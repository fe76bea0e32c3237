//! Who is turned away and what is refused: the right answer, no work for the
//! database, exactly one event, and nothing changed.

use std::time::Duration;

use nla_domain::{secret::Secret, token::TokenText};
use nla_proto::{convert::duration, v1};
use nla_sandbox::{
    mcp::{Answer, McpClient},
    system::{Sandbox, analyst, sample_database, wait_for},
};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::calls::{database, error, event, events, query, request_id, sessions, text, token, until_running, watch};

/// The token's id with another secret and the right checksum.
fn forged(token: &Secret) -> Secret {
    const BASE62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let (body, _) = token.expose().rsplit_once('_').unwrap();
    let (id, _) = body.rsplit_once('_').unwrap();
    let body = format!("{id}_{}", "x".repeat(43));
    let mut crc = !0_u32;
    for byte in body.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    let mut rest = !crc as usize;
    let mut digits = [0; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[rest % 62];
        rest /= 62;
    }
    let text = format!("{body}_{}", std::str::from_utf8(&digits).unwrap());
    TokenText::parse(&text).unwrap();
    Secret::new(text)
}

fn check(answer: &Answer, status: u16, code: &str, challenge: Option<&str>) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.body["error"]["data"]["code"], code, "{}", answer.body);
    assert!(answer.body["error"]["message"].as_str().is_some_and(|text| text.len() > 10), "{}", answer.body);
    let shown = answer.headers.get("www-authenticate").map(|value| value.to_str().unwrap());
    assert_eq!(shown.is_some(), challenge.is_some(), "{shown:?}");
    if let (Some(shown), Some(challenge)) = (shown, challenge) {
        assert!(shown.starts_with("Bearer realm=\"nla\"") && shown.ends_with(challenge), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_turned_away_with_one_event_each() {
    let sandbox = Sandbox::with_edges(1).await.unwrap();
    let watch = watch(&sandbox).await;
    let (good_id, good) = token(&sandbox, &["analyst"], |_| ()).await;
    let (revoked_id, revoked) = token(&sandbox, &["analyst"], |_| ()).await;
    sandbox.admin.revoke_token(&revoked_id).await.unwrap();
    let (away_id, away) =
        token(&sandbox, &["analyst"], |request| request.allowed_cidrs = vec!["10.0.0.0/8".into()]).await;
    // The last change: with any later one the control plane takes it off the edge,
    // to which it is unknown then.
    let (expired_id, expired) =
        token(&sandbox, &["analyst"], |request| request.lifetime = Some(duration(Duration::from_secs(1)))).await;
    let unknown = TokenText::generate().unwrap();
    let client = sandbox.client(0, &good).unwrap();

    // By the clock alone; calls before it are answered.
    let lapsed = client.with_token(Some(expired));
    let list = || json!({ "name": "list_databases", "arguments": {} });
    wait_for("expiry", || async { lapsed.request("tools/call", list()).await.unwrap().status == 401 }).await.unwrap();

    let invalid = Some("error=\"invalid_token\", error_description=\"the token is not valid\"");
    let missing = Some("realm=\"nla\"");
    let cases = [
        ("auth.missing", None, 401, "missing_token", missing),
        ("auth.malformed", Some(Secret::new("nla_abc")), 401, "invalid_token", invalid),
        ("auth.unknown", Some(Secret::new(unknown.expose())), 401, "invalid_token", invalid),
        ("auth.wrong_secret", Some(forged(&good)), 401, "invalid_token", invalid),
        ("auth.unknown", Some(revoked), 401, "invalid_token", invalid),
        ("auth.address", Some(away), 403, "address_refused", None),
    ];
    for (rule, secret, status, code, challenge) in &cases {
        let answer = query(&client.with_token(secret.clone()), "SELECT 1").await;
        check(&answer, *status, code, *challenge);
        let shown = answer.body.to_string();
        assert!(!shown.contains("revoked") && !shown.contains("unknown"), "{rule}: {shown}");
    }
    assert_eq!(sessions(&watch).await, 0, "a refused call reached the database");

    // The last event tells that those before it are there, too.
    event(&sandbox, &request_id(&query(&client, "SELECT 1").await)).await;
    let mut told: Vec<(String, String, String)> = events(&sandbox, "")
        .await
        .into_iter()
        .filter(|event| event.outcome == i32::from(v1::Outcome::Refused))
        .map(|event| (event.rule, event.token, event.reason))
        .collect();
    told.sort();
    let event = |rule: &str, token: &str, reason: &str| (rule.to_owned(), token.to_owned(), reason.to_owned());
    let mut expected = [
        event("auth.address", &away_id, "address_refused"),
        event("auth.expired", &expired_id, "invalid_token"),
        event("auth.malformed", "", "invalid_token"),
        event("auth.missing", "", "missing_token"),
        event("auth.unknown", unknown.id().as_str(), "invalid_token"),
        event("auth.unknown", &revoked_id, "invalid_token"),
        event("auth.wrong_secret", &good_id, "invalid_token"),
    ];
    expected.sort();
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_open_their_databases_and_tools_only() {
    let sandbox = Sandbox::with_edges(1).await.unwrap();
    let watch = watch(&sandbox).await;
    database(&sandbox, "ledger", v1::DatabaseLimits::default()).await;
    sandbox.admin.create_role(analyst("bookkeeper", &["ledger"])).await.unwrap();
    let lister = v1::Role { tools: vec![v1::Tool::ListDatabases.into()], ..analyst("lister", &["shop"]) };
    sandbox.admin.create_role(lister).await.unwrap();
    let (bookkeeper_id, bookkeeper) = token(&sandbox, &["bookkeeper"], |_| ()).await;
    let (lister_id, lister) = token(&sandbox, &["lister"], |_| ()).await;
    let bookkeeper = sandbox.client(0, &bookkeeper).unwrap();
    let lister = sandbox.client(0, &lister).unwrap();

    let select = json!({ "sql": "SELECT 1", "database": "shop" });
    let schema = json!({ "database": "shop" });
    for (client, tool, arguments, code, rule) in [
        (&bookkeeper, "query_database", &select, "unknown_database", "policy.database"),
        (&bookkeeper, "explain_query", &select, "unknown_database", "policy.database"),
        (&bookkeeper, "get_schema", &schema, "unknown_database", "policy.database"),
        (&lister, "query_database", &select, "permission_denied", "policy.tool"),
        (&lister, "get_schema", &schema, "permission_denied", "policy.tool"),
    ] {
        let result = client.call(tool, arguments.clone()).await.unwrap();
        assert_eq!((&error(&result)["code"], &error(&result)["rule"]), (&json!(code), &json!(rule)), "{tool}");
    }
    assert_eq!(sessions(&watch).await, 0, "a refused call reached the database");
    // What exists elsewhere reads like what does not exist.
    let mut asked = ["shop", "nowhere"].map(|name| json!({ "sql": "SELECT 1", "database": name }));
    let mut texts = Vec::new();
    for arguments in &mut asked {
        let result = bookkeeper.call("query_database", arguments.take()).await.unwrap();
        texts.push(text(&result).replace("shop", "NAME").replace("nowhere", "NAME"));
    }
    assert_eq!(texts[0], texts[1]);
    let listed = bookkeeper.call("list_databases", json!({})).await.unwrap();
    assert_eq!(listed["structuredContent"]["databases"].as_array().unwrap().len(), 1);
    let tools = lister.request("tools/list", json!({})).await.unwrap();
    assert_eq!(tools.body["result"]["tools"].as_array().unwrap().len(), 1, "{}", tools.body);

    event(&sandbox, &request_id(&query(&bookkeeper, "SELECT 1").await)).await;
    for (id, rule, wanted) in [(&bookkeeper_id, "policy.database", 5), (&lister_id, "policy.tool", 2)] {
        let refused = events(&sandbox, id).await.into_iter().filter(|event| event.rule == rule).count();
        assert_eq!(refused, wanted, "{rule}");
    }
}

/// Everything that a statement might change and that lasts.
async fn fingerprint(watch: &Client) -> Vec<String> {
    let mut found = Vec::new();
    for sql in [
        "SELECT md5(string_agg(c::text, ',' ORDER BY id)) FROM shop.customers c",
        "SELECT md5(string_agg(o::text, ',' ORDER BY id)) FROM shop.orders o",
        "SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM shop.payments p",
        "SELECT md5(string_agg(format('%s %s %s', oid, relname, relacl), ',' ORDER BY oid)) FROM pg_class",
        "SELECT md5(string_agg(format('%s %s', oid, proname), ',' ORDER BY oid)) FROM pg_proc",
        "SELECT md5(string_agg(format('%s %s %s', rolname, rolsuper, rolcanlogin), ',' ORDER BY oid)) FROM pg_roles",
        "SELECT md5(string_agg(format('%s %s', name, setting), ',' ORDER BY name)) FROM pg_file_settings",
        "SELECT format('%s %s', last_value, is_called) FROM shop.numbers",
        "SELECT count(*)::text FROM pg_largeobject_metadata",
        "SELECT count(*)::text FROM pg_prepared_xacts",
        "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'",
    ] {
        found.push(format!(
            "{sql}: {}",
            watch.query_one(sql, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
        ));
    }
    found
}

const WRITES: [&str; 45] = [
    "INSERT INTO shop.tenants VALUES (3, 'three', 'Three', 'DE', now())",
    "UPDATE shop.customers SET city = 'X'",
    "DELETE FROM shop.payments",
    "MERGE INTO shop.tenants t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE",
    "TRUNCATE shop.order_items",
    "WITH gone AS (DELETE FROM shop.orders RETURNING *) SELECT count(*) FROM gone",
    "SELECT * INTO shop.stolen FROM shop.customers",
    "CREATE TABLE shop.stolen AS SELECT * FROM shop.customers",
    "CREATE TEMP TABLE t (id int)",
    "CREATE FUNCTION shop.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE mallory SUPERUSER LOGIN",
    "CREATE EXTENSION dblink",
    "ALTER TABLE shop.orders DISABLE TRIGGER ALL",
    "ALTER SYSTEM SET work_mem = '1GB'",
    "ALTER ROLE nla_reader SUPERUSER",
    "DROP TABLE shop.payments",
    "DROP SCHEMA shop CASCADE",
    "GRANT ALL ON ALL TABLES IN SCHEMA shop TO PUBLIC",
    "SELECT * FROM shop.orders FOR UPDATE",
    "SELECT * FROM shop.orders FOR KEY SHARE",
    "LOCK TABLE shop.orders",
    "SELECT setval('shop.numbers', 99)",
    "SELECT nextval('shop.numbers')",
    "SELECT pg_sleep(30)",
    "SELECT pg_catalog.pg_sleep(30)",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_create(4711)",
    "SELECT lo_import('/etc/passwd')",
    "SELECT set_config('role', 'postgres', false)",
    "SELECT query_to_xml('DELETE FROM shop.orders RETURNING 1', true, true, '')",
    "COPY shop.customers TO STDOUT",
    "COPY shop.customers TO PROGRAM 'cat > /tmp/stolen'",
    "COPY shop.tenants FROM '/etc/passwd'",
    "DO $$ BEGIN DELETE FROM shop.orders; END $$",
    "CALL shop.nothing()",
    "SET transaction_read_only = off",
    "RESET ALL",
    "BEGIN READ WRITE",
    "COMMIT",
    "SELECT 1; DELETE FROM shop.orders",
    "EXPLAIN ANALYZE DELETE FROM shop.orders",
    "PREPARE p AS DELETE FROM shop.orders",
    "VACUUM FULL shop.orders",
];

async fn all_refused(client: &McpClient, login: &str) {
    for sql in WRITES {
        let answer = query(client, sql).await;
        assert_eq!(answer.status, 200, "{login}: {sql}");
        let error = error(&answer.body["result"]);
        let known = ["statement_refused", "database_error"].map(Value::from);
        assert!(known.contains(&error["code"]), "{login}: {sql}: {error}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{login}: {sql}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_changes_whoever_the_edge_logs_in_as() {
    let sandbox = Sandbox::with_edges(1).await.unwrap();
    let watch = watch(&sandbox).await;
    watch
        .batch_execute(
            "CREATE SEQUENCE shop.numbers OWNED BY NONE; ALTER SEQUENCE shop.numbers OWNER TO shop_owner;
             CREATE ROLE shop_admin LOGIN PASSWORD 'owner secret' IN ROLE shop_owner",
        )
        .await
        .unwrap();
    let postgres = &sandbox.sample.postgres;
    // What holds when the role may do everything; by default it would not be used.
    let trusting = v1::Database {
        name: "trusting".into(),
        role_policy: v1::RolePolicy::Warn.into(),
        ..sample_database(postgres).unwrap()
    };
    sandbox.admin.create_database(trusting).await.unwrap();
    sandbox.admin.create_role(analyst("trusting", &["trusting"])).await.unwrap();
    let (id, secret) = token(&sandbox, &["trusting"], |_| ()).await;
    let client = sandbox.client(0, &secret).unwrap();
    let before = fingerprint(&watch).await;
    let reader = &sandbox.sample.sample;
    let logins = [
        (reader.reader, reader.reader_password.clone()),
        ("shop_admin", Secret::new("owner secret")),
        (postgres.superuser(), postgres.superuser_password().clone()),
    ];
    for (login, password) in &logins {
        sandbox.admin.set_credential("trusting", login, password).await.unwrap();
        sandbox.settled().await.unwrap();
        let who = client.query("SELECT current_user").await.unwrap();
        assert_eq!(who["rows"], json!([[login]]));
        all_refused(&client, login).await;
        until_running(&watch, 0).await;
        assert_eq!(fingerprint(&watch).await, before, "{login}");
    }

    event(&sandbox, &request_id(&query(&client, "SELECT 1").await)).await;
    let events = events(&sandbox, &id).await;
    assert_eq!(events.len(), logins.len() * (WRITES.len() + 1) + 1);
    let succeeded = events.iter().filter(|event| event.outcome == i32::from(v1::Outcome::Succeeded)).count();
    assert_eq!(succeeded, logins.len() + 1);
}
