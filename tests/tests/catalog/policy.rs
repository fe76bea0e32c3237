//! What a database's policy makes of its role's rights, for calls.

use std::time::{Duration, Instant};

use nla_domain::database::{Database, DatabaseLimits, RolePolicy};
use nla_edge::pipeline::DatabaseState;
use serde_json::json;

use super::bench::{AMPLE, Bench, SOON, text};

fn with_policy(bench: &Bench, role_policy: RolePolicy) -> Database {
    Database { role_policy, ..bench.database(DatabaseLimits::default()) }
}

async fn bench() -> Bench {
    Bench::with(DatabaseLimits::default(), |config| config.catalog_refresh = Duration::from_millis(100)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_superuser_is_refused_unless_the_policy_says_otherwise() {
    let bench = bench().await;
    bench.admin.batch_execute("ALTER ROLE reader SUPERUSER").await.unwrap();
    for (tool, arguments) in [
        ("query_database", json!({ "sql": "SELECT 1" })),
        ("explain_query", json!({ "sql": "SELECT 1" })),
        ("get_schema", json!({})),
    ] {
        let result = bench.call(tool, arguments).await;
        let refused = text(&result);
        assert!(result.is_error, "{refused}");
        assert!(refused.contains("is a superuser") && refused.contains("nlactl database grant-sql shop"), "{refused}");
        assert!(!refused.contains("reader") && !refused.contains("127.0.0.1"), "{refused}");
        let error = &result.meta.as_ref().unwrap()["nla/error"];
        assert_eq!(
            (&error["code"], &error["rule"]),
            (&json!("database_role_refused"), &json!("database_role.superuser"))
        );
    }
    assert_eq!(bench.running().await, 0);
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader' AND application_name NOT LIKE 'nla-catalog/%'";
    assert_eq!(bench.admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0, "no connection was leased");
    assert_eq!(bench.pipeline.database_reports()[0].state, DatabaseState::Refused);

    // A change of the policy counts at once and costs no look.
    bench.publish(2, with_policy(&bench, RolePolicy::Warn), bench.credential("reader secret", 1), Some(AMPLE));
    bench.query("SELECT 1").await;
    let report = &bench.pipeline.database_reports()[0];
    assert_eq!(report.state, DatabaseState::Ok);
    assert!(report.warnings[0].contains("superuser"), "{report:?}");
    bench.publish(
        3,
        with_policy(&bench, RolePolicy::RefuseSuperuser),
        bench.credential("reader secret", 1),
        Some(AMPLE),
    );
    assert!(bench.refused("SELECT 1").await.contains("is a superuser"));

    // So does what the operator mends, within the period.
    bench.admin.batch_execute("ALTER ROLE reader NOSUPERUSER").await.unwrap();
    let began = Instant::now();
    while bench.call("query_database", json!({ "sql": "SELECT 1" })).await.is_error {
        assert!(began.elapsed() < SOON);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_is_refused_only_where_the_policy_says_so() {
    let bench = bench().await;
    bench.admin.batch_execute("CREATE TABLE app.t (a int); ALTER TABLE app.t OWNER TO reader").await.unwrap();
    bench.query("SELECT * FROM app.t").await;
    bench.publish(2, with_policy(&bench, RolePolicy::Refuse), bench.credential("reader secret", 1), Some(AMPLE));
    let refused = bench.refused("SELECT * FROM app.t").await;
    assert!(refused.contains("owns") && refused.contains("(refuse)"), "{refused}");

    // A right that is given while the edge runs shows up within the period.
    bench.publish(
        3,
        with_policy(&bench, RolePolicy::RefuseSuperuser),
        bench.credential("reader secret", 1),
        Some(AMPLE),
    );
    bench.query("SELECT 1").await;
    bench.admin.batch_execute("GRANT pg_read_server_files TO reader").await.unwrap();
    let began = Instant::now();
    loop {
        let result = bench.call("query_database", json!({ "sql": "SELECT 1" })).await;
        if result.is_error {
            assert!(text(&result).contains("is a member of pg_read_server_files"), "{}", text(&result));
            break;
        }
        assert!(began.elapsed() < SOON);
    }
}
