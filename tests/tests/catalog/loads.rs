//! What a look costs: one for all callers, none for other databases, and a
//! bounded one for a large catalog.

use std::{sync::Arc, time::Duration};

use nla_domain::{
    database::{Database, DatabaseLimits},
    id::Revision,
    snapshot::Snapshot,
    token::{Token, TokenText},
};
use nla_edge::{
    clock::BootClock,
    mcp::{handler::Handler, outcome::Outcome},
    pg::{ConnectionSettings, Inspector, InspectorSettings, PgError},
};
use nla_guard::catalog::Catalog;
use nla_sandbox::system::wait_for;
use serde_json::{Value, json};

use super::bench::{Bench, parts, text, tool_call};

fn inspector() -> Inspector {
    Inspector::new(InspectorSettings {
        connection: ConnectionSettings {
            application_name: "nla-catalog/test".into(),
            connect_timeout: Duration::from_secs(5),
        },
        refresh: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(60),
        clock: Arc::new(BootClock),
    })
}

/// The same state with that many tokens.
fn with_tokens(snapshot: &Snapshot, tokens: &[TokenText]) -> Snapshot {
    let model = snapshot.tokens.values().next().unwrap();
    let (_, pepper) = snapshot.settings.peppers.newest();
    Snapshot {
        epoch: snapshot.epoch,
        revision: Revision(snapshot.revision.0 + 1),
        settings: Arc::clone(&snapshot.settings),
        databases: snapshot.databases.clone(),
        credentials: snapshot.credentials.clone(),
        roles: snapshot.roles.clone(),
        tokens: tokens
            .iter()
            .map(|text| {
                let token = Token { id: text.id(), verifier: text.verifier(pepper), ..Token::clone(model) };
                (text.id(), Arc::new(token))
            })
            .collect(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_tokens_on_a_cold_edge_make_one_look() {
    let bench = Bench::start(DatabaseLimits::default()).await;
    for sql in [
        "ALTER SYSTEM SET log_statement = 'all'",
        "ALTER SYSTEM SET log_line_prefix = '<%a> '",
        "SELECT pg_reload_conf()",
    ] {
        bench.admin.batch_execute(sql).await.unwrap();
    }
    wait_for("the log's settings", || async {
        let log = std::fs::read_to_string(bench.postgres.log_file()).unwrap();
        bench.admin.batch_execute("SELECT 'marked'").await.unwrap();
        log.contains("marked")
    })
    .await
    .unwrap();
    let tokens: Vec<TokenText> = (0..20).map(|_| TokenText::generate().unwrap()).collect();
    bench.holder.publish(Arc::new(with_tokens(&bench.holder.current().unwrap(), &tokens)));
    let calls = tokens.iter().map(|token| {
        let (handler, parts) = (Arc::clone(&bench.handler), parts(&format!("Bearer {}", token.expose())));
        tokio::spawn(async move {
            let admitted = handler.admit(&parts).await.unwrap();
            match handler.call_tool(&admitted, tool_call("query_database", json!({ "sql": "SELECT 1" }))).await {
                Outcome::Done(result) => assert!(!result.is_error, "{}", text(&result)),
                other => panic!("{other:?}"),
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let log = std::fs::read_to_string(bench.postgres.log_file()).unwrap();
    let looks = log.lines().filter(|line| line.starts_with("<nla-catalog/edge-1>") && line.contains("BEGIN READ ONLY"));
    assert_eq!(looks.count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_database_holds_up_no_other() {
    let bench = Bench::start(DatabaseLimits::default()).await;
    bench.admin.batch_execute("CREATE DATABASE slow").await.unwrap();
    let limits = DatabaseLimits::default();
    let slow = Database { name: "slow".parse().unwrap(), dbname: "slow".into(), ..bench.database(limits) };
    let (quick, slow) = (
        bench.grant(bench.database(limits), bench.credential("reader secret", 1)),
        bench.grant(slow, bench.credential("reader secret", 1)),
    );
    let locked = bench.postgres.connect_as_superuser("slow").await.unwrap();
    locked.batch_execute("BEGIN; LOCK TABLE pg_catalog.pg_rewrite IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let inspector = Arc::new(inspector());
    let waiting = tokio::spawn({
        let (inspector, slow) = (Arc::clone(&inspector), slow.clone());
        async move { inspector.facts(&slow).await.map(drop) }
    });
    wait_for("the slow look", || async {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'slow' AND wait_event_type = 'Lock'";
        bench.admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await
    .unwrap();
    for _ in 0..10 {
        inspector.facts(&quick).await.unwrap();
    }
    assert!(!waiting.is_finished());
    // A caller who leaves takes the look from nobody.
    let second = tokio::spawn({
        let (inspector, slow) = (Arc::clone(&inspector), slow.clone());
        async move { inspector.facts(&slow).await.map(drop) }
    });
    waiting.abort();
    locked.batch_execute("ROLLBACK").await.unwrap();
    second.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_says_what_a_connection_would() {
    let bench = Bench::start(DatabaseLimits::default()).await;
    let grant = bench.grant(bench.database(DatabaseLimits::default()), bench.credential("wrong", 1));
    let error = inspector().facts(&grant).await.unwrap_err();
    let PgError::Unavailable(error) = error else { panic!("{error:?}") };
    assert_eq!(error.to_string(), "its server refused the configured credential (SQLSTATE 28P01)");
}

/// A catalog of that many tables, as a server would describe it.
fn catalog_of(tables: u32) -> String {
    let rows = (0..tables).map(|number| {
        let oid = 20_000 + number * 4;
        json!([
            oid,
            "app",
            format!("table_{number}"),
            "r",
            oid + 2,
            false,
            null,
            null,
            null,
            null,
            null,
            null,
            false,
            null
        ])
    });
    json!({
        "server_version_num": 150_018, "path": ["public"], "catalog_relations": ["pg_class"],
        "builtin_functions": null, "builtin_relations": null, "relations": rows.collect::<Vec<Value>>(),
        "functions": null, "operators": null, "types": null, "casts": null,
    })
    .to_string()
}

#[test]
fn a_huge_catalog_is_cut_and_says_so() {
    let whole = Catalog::from_json(catalog_of(20_000).as_bytes()).unwrap();
    assert_eq!((whole.relation_count(), whole.is_complete()), (20_000, true));
    let cut = Catalog::from_json(catalog_of(100_001).as_bytes()).unwrap();
    assert!(!cut.is_complete() && cut.relation_count() <= 100_001, "{cut:?}");
}
