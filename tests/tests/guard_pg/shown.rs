//! Catalogs, views and settings that the guard shows to everybody: PostgreSQL
//! itself must show them to everybody too.

use super::bench::Bench;

/// Views of information_schema that PostgreSQL grants to nobody, though they
/// hold no more than the features of SQL and the transforms of pg_transform.
const OWN_TO_NOBODY: [&str; 2] = ["sql_parts", "transforms"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_shown_that_postgresql_keeps_from_ordinary_roles() {
    let bench = Bench::start().await;
    bench.admin.batch_execute("CREATE ROLE nobody_in_particular").await.unwrap();
    let rows = bench
        .admin
        .query(
            "SELECT n.nspname::text, c.relname::text, a.attname::text,
                    has_column_privilege('nobody_in_particular', c.oid, a.attnum, 'SELECT')
             FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
             WHERE nspname IN ('pg_catalog', 'information_schema') AND relkind IN ('r', 'v') AND attnum > 0
             ORDER BY 1, 2, a.attnum",
            &[],
        )
        .await
        .unwrap();
    let (mut shown, mut hidden, mut wrong) = (0, 0, Vec::new());
    for row in &rows {
        let (schema, relation, column, public): (&str, &str, &str, bool) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        if bench.judge(&format!("SELECT r.\"{column}\" FROM {schema}.\"{relation}\" AS r")).is_err() {
            hidden += 1;
        } else if public || OWN_TO_NOBODY.contains(&relation) {
            shown += 1;
        } else {
            wrong.push(format!("{schema}.{relation}.{column}"));
        }
    }
    assert!(wrong.is_empty(), "{} are shown: {}", wrong.len(), wrong.join(", "));
    assert!(shown > 500 && hidden > 500, "{shown} columns are shown, {hidden} are hidden");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_setting_is_shown_that_postgresql_keeps_from_ordinary_roles() {
    let bench = Bench::start().await;
    let settings = bench.texts("SELECT name FROM pg_settings ORDER BY 1").await;
    bench.admin.batch_execute("CREATE ROLE nobody_in_particular").await.unwrap();
    bench.admin.batch_execute("SET ROLE nobody_in_particular").await.unwrap();
    let (mut shown, mut hidden) = (0, 0);
    for name in &settings {
        let show = bench.judge(&format!("SHOW {name}"));
        let current = bench.judge(&format!("SELECT current_setting('{name}')"));
        assert_eq!(show.is_ok(), current.is_ok(), "{name}");
        let Ok(show) = show else {
            hidden += 1;
            continue;
        };
        shown += 1;
        let answer = bench.admin.simple_query(show.sql()).await;
        assert!(answer.is_ok(), "{name} is shown, but PostgreSQL keeps it from ordinary roles");
    }
    assert!(shown > 50 && hidden > 100, "{shown} settings are shown, {hidden} are hidden");
}
