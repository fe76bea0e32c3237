//! What a function of the database's own does to its session is gone with the
//! call: the next one, on the same connection, finds the session as the first
//! one did. The functions are called as their owner and as a superuser, and some
//! by an exception of the role, because the guard refuses what is volatile.

use nla_domain::secret::Secret;
use nla_proto::v1;
use nla_sandbox::{
    mcp::McpClient,
    sample,
    system::{analyst, sample_database},
};
use serde_json::{Value, json};

use super::bench::{Bench, beside_others, result, rows};

/// STABLE, as their authors say: nothing stops a stable function from this.
const CALM: [(&str, &str); 6] = [
    (
        "settings",
        "PERFORM set_config('search_path', 'evil, public', false), set_config('timezone', 'Asia/Tokyo', false), set_config('statement_timeout', '0', false), set_config('app.tenant', '7', false), set_config('datestyle', 'German', false)",
    ),
    (
        "limits",
        "PERFORM set_config('lock_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false), set_config('default_transaction_read_only', 'off', false)",
    ),
    ("identity", "PERFORM set_config('role', 'nla_reader', false)"),
    (
        "locks",
        "PERFORM pg_advisory_lock(4711), pg_advisory_lock_shared(4712), pg_try_advisory_lock(1, 2), pg_advisory_xact_lock(4713)",
    ),
    ("notes", "PERFORM pg_notify('leftover', 'x')"),
    ("objects", "PERFORM lo_create(4711)"),
];

/// Volatile: the role names them.
const WILD: [(&str, &str); 9] = [
    ("prepares", "EXECUTE 'PREPARE leftover AS SELECT 1'"),
    ("listens", "EXECUTE 'LISTEN leftover'"),
    ("holds", "EXECUTE 'DECLARE leftover CURSOR WITH HOLD FOR SELECT 1'"),
    ("tables", "EXECUTE 'CREATE TEMP TABLE leftover AS SELECT 1'"),
    (
        "sets",
        "EXECUTE 'SET SESSION search_path = evil, public'; EXECUTE 'SET timezone = ''Asia/Tokyo'''; EXECUTE 'SET app.tenant = ''7'''; EXECUTE 'SET statement_timeout = 0'",
    ),
    ("becomes", "EXECUTE 'SET SESSION AUTHORIZATION nla_reader'"),
    ("writes", "EXECUTE 'SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE'; EXECUTE 'DELETE FROM shop.payments'"),
    ("waits", "PERFORM pg_advisory_lock(4711), pg_advisory_lock(4711), pg_advisory_lock(4714)"),
    ("signals", "PERFORM pg_notify('leftover', 'x'), nextval('shop.leftover'), lo_from_bytea(4711, 'x')"),
];

/// All that a session may carry, as one text. A stable function, so that it may
/// be called.
const LOOK: &str = "CREATE FUNCTION shop.look() RETURNS text STABLE LANGUAGE sql AS $$
    SELECT concat_ws(' | ',
        session_user, current_user, current_setting('search_path'), current_setting('timezone'), current_setting('datestyle'),
        current_setting('statement_timeout'), current_setting('lock_timeout'),
        current_setting('idle_in_transaction_session_timeout'), current_setting('transaction_read_only'),
        current_setting('default_transaction_read_only'), coalesce(nullif(current_setting('app.tenant', true), ''), 'no tenant'),
        (SELECT count(*) FROM pg_catalog.pg_listening_channels()) || ' channels',
        (SELECT count(*) FROM pg_catalog.pg_prepared_statements WHERE name LIKE 'leftover%') || ' statements',
        (SELECT count(*) FROM pg_catalog.pg_cursors WHERE name LIKE 'leftover%' OR is_holdable) || ' cursors',
        coalesce(pg_catalog.to_regclass('pg_temp.leftover')::text, 'no table'),
        (SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory') || ' locks')
    $$";

/// Logins that may do all of it, were they not read-only.
const OWNER_PASSWORD: &str = "owner secret";

async fn bench() -> Bench {
    let bench = Bench::start().await;
    let mut sql = format!(
        "ALTER ROLE {owner} LOGIN PASSWORD '{OWNER_PASSWORD}'; GRANT CONNECT, TEMP ON DATABASE {database} TO {owner};
         GRANT {reader} TO {owner}; CREATE SEQUENCE shop.leftover; CREATE SCHEMA evil AUTHORIZATION {owner};
         CREATE TABLE evil.tenants (id int, name text); SET search_path = shop; {LOOK};",
        owner = sample::OWNER,
        database = sample::DATABASE,
        reader = sample::READER,
    );
    for (kind, functions) in [("STABLE", CALM.as_slice()), ("VOLATILE", WILD.as_slice())] {
        for (name, body) in functions {
            sql += &format!(
                "CREATE FUNCTION shop.{name}() RETURNS int {kind} LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN 42; END $$;
                 ALTER FUNCTION shop.{name}() OWNER TO {};",
                sample::OWNER
            );
        }
    }
    bench.admin.batch_execute(&sql).await.unwrap();
    bench
}

/// A database whose calls all share one connection, and a role with exceptions.
async fn client(bench: &Bench, name: &str, login: &str, password: &Secret) -> McpClient {
    let database = v1::Database {
        name: name.into(),
        limits: Some(v1::DatabaseLimits { pool_size: 1, ..Default::default() }),
        role_policy: v1::RolePolicy::Warn.into(),
        ..sample_database(&bench.sandbox.sample.postgres).unwrap()
    };
    let admin = &bench.sandbox.admin;
    admin.create_database(database).await.unwrap();
    admin.set_credential(name, login, password).await.unwrap();
    let functions = WILD.iter().map(|(function, _)| format!("shop.{function}")).collect();
    admin.create_role(v1::Role { functions, ..analyst(name, &[name]) }).await.unwrap();
    bench.token(name).await.1
}

async fn look(client: &McpClient) -> Value {
    rows(
        client,
        "SELECT shop.look(), (SELECT count(*) FROM shop.payments), (SELECT name FROM shop.tenants WHERE id = 1)",
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stays_in_a_session() {
    let _turn = beside_others().await;
    let bench = bench().await;
    let postgres = &bench.sandbox.sample.postgres;
    let logins = [
        ("as-owner", sample::OWNER, Secret::new(OWNER_PASSWORD)),
        ("as-superuser", postgres.superuser(), postgres.superuser_password().clone()),
    ];
    let mut ran = 0;
    for (name, login, password) in &logins {
        let client = client(&bench, name, login, password).await;
        let before = look(&client).await;
        let shown = before[0][0].as_str().unwrap();
        for part in [login, "| on |", "0 channels | 0 statements | 0 cursors | no table | 0 locks", "no tenant"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        for (function, _) in CALM.iter().chain(&WILD) {
            for sql in [
                format!("SELECT shop.{function}()"),
                format!("SELECT shop.{function}(), 1 / (n - 2) FROM generate_series(1, 3) n"),
            ] {
                let result = result(&client, &sql).await;
                let rule = &result["_meta"]["nla/error"]["rule"];
                assert!(rule.is_null(), "{name}: {sql}: the guard has to let this one through: {result}");
                if result["structuredContent"]["rows"] == json!([[42]]) {
                    ran += 1;
                }
                let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
                assert_eq!(bench.count(locks).await, 0, "{name}: after {sql}, with the session idle");
                assert_eq!(look(&client).await, before, "{name}: after {sql}: {result}");
                bench.until_running(0).await;
            }
        }
    }
    println!("{ran} of the functions ran to their end");
    assert!(ran >= CALM.len(), "{ran}");
    assert_eq!(bench.count("SELECT count(*) FROM pg_largeobject_metadata").await, 0);
    assert_eq!(bench.count("SELECT last_value + is_called::int FROM shop.leftover").await, 1);
}
