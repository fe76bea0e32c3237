//! The script in its other shapes: without schemas, with single tables, with
//! exclusions, with hostile names, and on the wrong server or role.

use nla_domain::secret::Secret;
use nla_sandbox::sample::{self, TemporarySample};
use tokio_postgres::{Client, error::SqlState};

use super::{nlactl, number, refused_by_rights};

/// The script, made without a control plane.
async fn script(dbname: &str, role: &str, more: &[&str]) -> String {
    let nowhere = tempfile::tempdir().unwrap();
    let words = ["database", "grant-sql", "any", "--offline", "--dbname", dbname, "--database-role", role];
    nlactl(nowhere.path(), &[&words[..], more].concat()).await
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Runs the script twice and logs in as its role.
async fn login(sample: &TemporarySample, admin: &Client, dbname: &str, role: &str, sql: &str) -> Client {
    for _ in 0..2 {
        admin.batch_execute(sql).await.unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
    }
    let password = Secret::new("only-for-this-test");
    let set = format!("ALTER ROLE {} PASSWORD '{}'", quoted(role), password.expose());
    admin.batch_execute(&set).await.unwrap();
    sample.postgres.connect(dbname, role, &password).await.unwrap()
}

async fn denied(client: &Client, query: &str) {
    let error = client.batch_execute(query).await.expect_err(query);
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{query}: {error:?}");
}

#[tokio::test]
async fn hostile_names_are_names_and_nothing_else() {
    let sample = sample::start_temporary().await.unwrap();
    let (dbname, schema) = ("we\"ird'; --\\ db", "sch\"e.m'a\n; DROP ROLE victim; --$nla$\u{2028}表\\");
    let (table, role) = ("t\"a.b'le", "re\"ad'er\\ $nla$ é");
    let owner = "ow\"ner'";
    let admin = sample.postgres.connect_as_superuser("postgres").await.unwrap();
    admin.batch_execute(&format!("CREATE DATABASE {}", quoted(dbname))).await.unwrap();
    let admin = sample.postgres.connect_as_superuser(dbname).await.unwrap();
    let (s, t, o) = (quoted(schema), quoted(table), quoted(owner));
    let furnish = format!(
        "CREATE ROLE victim; CREATE ROLE {o}; CREATE SCHEMA {s} AUTHORIZATION {o}; SET ROLE {o};
         CREATE TABLE {s}.{t} AS SELECT 5::bigint AS n; CREATE TABLE {s}.secret AS SELECT 6::bigint AS n; RESET ROLE"
    );
    admin.batch_execute(&furnish).await.unwrap();
    let exclude = format!("{}.secret", quoted(schema));
    let single = format!("{}.{}", quoted(schema), quoted(table));
    let shapes: [&[&str]; 4] = [
        &["--schema", schema, "--owner", owner],
        &["--schema", schema],
        &["--schema", schema, "--exclude-table", &exclude],
        &["--table", &single],
    ];
    for (at, more) in shapes.into_iter().enumerate() {
        let role = format!("{role}{at}");
        let sql = script(dbname, &role, more).await;
        let reader = login(&sample, &admin, dbname, &role, &sql).await;
        assert_eq!(number(&reader, &format!("SELECT n FROM {s}.{t}")).await, 5);
        let secret = format!("SELECT n FROM {s}.secret");
        if at < 2 {
            assert_eq!(number(&reader, &secret).await, 6)
        } else {
            denied(&reader, &secret).await
        }
        let later = format!("SET ROLE {o}; CREATE TABLE {s}.later{at} AS SELECT 7::bigint AS n; RESET ROLE");
        admin.batch_execute(&later).await.unwrap();
        let later = format!("SELECT n FROM {s}.later{at}");
        if at < 2 {
            assert_eq!(number(&reader, &later).await, 7)
        } else {
            denied(&reader, &later).await
        }
        refused_by_rights(&reader, &[&format!("CREATE TABLE {s}.mine (id int)"), "CREATE TEMP TABLE x (id int)"]).await;
    }
    assert_eq!(number(&admin, "SELECT count(*) FROM pg_roles WHERE rolname = 'victim'").await, 1);
}

#[tokio::test]
async fn without_schemas_all_are_open_and_an_excluded_table_takes_its_partitions_with_it() {
    let sample = sample::start_temporary().await.unwrap();
    let admin = sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
    let sql = script("shop", "everything", &[]).await;
    let reader = login(&sample, &admin, "shop", "everything", &sql).await;
    for query in ["SELECT count(*) FROM shop.payments_2025_03", "SELECT count(*) FROM analytics.monthly_revenue"] {
        assert!(number(&reader, query).await > 0, "{query}");
    }
    let later = "SET ROLE shop_owner; CREATE TABLE shop.later AS SELECT 7::bigint AS n; RESET ROLE";
    admin.batch_execute(later).await.unwrap();
    assert_eq!(number(&reader, "SELECT n FROM shop.later").await, 7);

    // The same role again, with less.
    let sql = script("shop", "everything", &["--exclude-table", "shop.payments"]).await;
    admin.batch_execute(&sql).await.unwrap();
    assert_eq!(number(&reader, "SELECT count(*) FROM shop.tenants").await, 2);
    denied(&reader, "SELECT FROM shop.payments").await;
    denied(&reader, "SELECT FROM shop.payments_2025_03").await;
    let later = "SET ROLE shop_owner; CREATE TABLE shop.after AS SELECT 8::bigint AS n; RESET ROLE";
    admin.batch_execute(later).await.unwrap();
    denied(&reader, "SELECT FROM shop.after").await;
}

#[tokio::test]
async fn nothing_happens_in_the_wrong_place_or_to_the_wrong_role() {
    let sample = sample::start_temporary().await.unwrap();
    let admin = sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
    let superuser = sample.postgres.superuser();
    for (dbname, role, part) in [
        ("elsewhere", "nla_new", "the script is for elsewhere"),
        ("shop", superuser, "SUPERUSER"),
        ("shop", sample::OWNER, "tables of its own"),
    ] {
        let error = admin.batch_execute(&script(dbname, role, &[]).await).await.unwrap_err();
        let error = error.as_db_error().unwrap().clone();
        assert!(error.message().contains(part), "{error:?}");
        admin.batch_execute("ROLLBACK").await.unwrap();
    }
    let new = "SELECT count(*) FROM pg_roles WHERE rolname = 'nla_new' OR rolname = current_user AND NOT rolsuper";
    assert_eq!(number(&admin, new).await, 0);
    let login = "SELECT count(*) FROM pg_roles WHERE rolname = 'shop_owner' AND rolcanlogin";
    assert_eq!(number(&admin, login).await, 0, "the owner has not become a login role");
}

#[tokio::test]
async fn an_owner_without_superuser_gets_as_far_as_an_owner_may() {
    let sample = sample::start_temporary().await.unwrap();
    let admin = sample.postgres.connect_as_superuser("postgres").await.unwrap();
    let password = Secret::new("only-for-this-test");
    let prepare = format!("CREATE ROLE dba LOGIN CREATEROLE PASSWORD '{}'", password.expose());
    admin.batch_execute(&prepare).await.unwrap();
    admin.batch_execute("CREATE DATABASE owned OWNER dba").await.unwrap();
    let dba = sample.postgres.connect("owned", "dba", &password).await.unwrap();
    dba.batch_execute("CREATE SCHEMA app; CREATE TABLE app.t AS SELECT 5::bigint AS n").await.unwrap();
    for (role, more) in [("by_owner", &["--schema", "app"][..]), ("by_owner2", &["--schema", "app", "--owner", "dba"])]
    {
        let sql = script("owned", role, more).await;
        let reader = login(&sample, &dba, "owned", role, &sql).await;
        dba.batch_execute(&format!("CREATE TABLE app.{role} AS SELECT 6::bigint AS n")).await.unwrap();
        assert_eq!(number(&reader, "SELECT n FROM app.t").await, 5);
        assert_eq!(number(&reader, &format!("SELECT n FROM app.{role}")).await, 6);
        refused_by_rights(&reader, &["CREATE TABLE app.mine (id int)", "CREATE TEMP TABLE x (id int)"]).await;
    }
}

#[tokio::test]
async fn public_keeps_its_rights_where_that_was_asked_for() {
    let sample = sample::start_temporary().await.unwrap();
    let admin = sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
    admin.batch_execute("GRANT TEMPORARY ON DATABASE shop TO PUBLIC").await.unwrap();
    let has = "SELECT (has_database_privilege('anybody', 'shop', 'TEMPORARY')::int
        + has_function_privilege('anybody', 'lo_create(oid)', 'EXECUTE')::int)::bigint";
    admin.batch_execute("CREATE ROLE anybody").await.unwrap();
    admin.batch_execute(&script("shop", "polite", &["--no-public"]).await).await.unwrap();
    assert_eq!(number(&admin, has).await, 2);
    admin.batch_execute(&script("shop", "polite", &[]).await).await.unwrap();
    assert_eq!(number(&admin, has).await, 0);
}
