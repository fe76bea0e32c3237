//! `nlactl check`: the guard's verdict from outside.

use std::fs;

use serde_json::{Value, json};

use crate::{
    control_plane::ControlPlane,
    support::{run, run_with_input},
};

/// A folder that holds no context: without --role none is needed.
fn nowhere() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn the_verdict_without_a_control_plane() {
    let dir = nowhere();
    let cases: [(&str, i32, Option<&str>); 6] = [
        ("SELECT count(*) FROM shop.orders", 0, None),
        ("SELECT 'drop table x' AS \"delete\"; -- done", 0, None),
        ("DELETE FROM shop.orders", 7, Some("guard.statement.delete")),
        ("SELECT pg_read_file('x')", 7, Some("guard.function.refused")),
        ("SELECT 1; SELECT 2", 7, Some("guard.statement.many")),
        ("EXPLAIN ANALYZE SELECT 1", 7, Some("guard.explain.analyze")),
    ];
    for (sql, code, rule) in cases {
        let ended = run(dir.path(), &["check", sql, "-o", "json"]).await.expect(code);
        assert!(ended.err.is_empty(), "{ended:?}");
        let verdict = ended.json();
        assert_eq!(verdict["verdict"], if code == 0 { "allowed" } else { "refused" }, "{sql}");
        assert_eq!(verdict["code"].as_str(), rule, "{sql}");
        assert_eq!(verdict["statement"].is_object(), code == 0, "{sql}");
        assert_eq!(verdict["hint"].is_string() && verdict["message"].is_string(), code == 7, "{sql}");
        let quiet = run(dir.path(), &["check", sql, "-q"]).await.expect(code);
        assert_eq!(quiet.out, format!("{}\n", rule.unwrap_or("allowed")));
    }
    let analyze = ["check", "--explain-analyze", "EXPLAIN ANALYZE SELECT 1"];
    run(dir.path(), &analyze).await.expect(0);
}

#[tokio::test]
async fn people_see_the_place_and_what_to_do() {
    let dir = nowhere();
    let refused = run(dir.path(), &["check", "SELECT '表',\n  'ä', pg_read_file('x')"]).await.expect(7);
    let lines: Vec<_> = refused.out.lines().collect();
    assert_eq!(lines[0], "refused: guard.function.refused", "{refused:#?}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{refused:#?}");
    let at = lines.iter().position(|line| *line == "line 2, character 8:").unwrap();
    assert_eq!(lines[at + 1..at + 3], ["    'ä', pg_read_file('x')", "         ^"], "{refused:#?}");
    assert!(lines[at + 3].starts_with("hint: ") && refused.out.contains("without a catalog"), "{refused:#?}");
    let explained = run(dir.path(), &["check", "--explain", "SELECT lower(name) FROM shop.tenants"]).await.expect(0);
    for part in ["relation shop.tenants: by its name only", "function pg_catalog.lower: built into PostgreSQL"] {
        assert!(explained.out.contains(part), "{part}: {explained:?}");
    }
    let verdict = run(dir.path(), &["check", "SELECT 'ä',\n nextval('s')", "-o", "json"]).await.expect(7).json();
    assert_eq!(verdict["position"], json!({ "line": 2, "column": 2, "character": 14 }));
}

#[tokio::test]
async fn statements_come_from_stdin_and_files_and_bad_ones_are_named() {
    let dir = nowhere();
    let file = dir.path().join("statement.sql");
    let path = file.to_str().unwrap();
    let size = "x".repeat(1 << 20);
    let cases: [(&[u8], i32, &str); 6] = [
        (b"SELECT 1\n;\n", 0, "allowed"),
        (b"SELECT 1; SELECT 2", 7, "guard.statement.many"),
        (b"", 7, "guard.text.empty"),
        (b"SELECT \0 1", 7, "guard.text.nul"),
        (size.as_bytes(), 7, "guard.text.size"),
        (b"SELECT '\xff'", 2, "not UTF-8 from byte 8"),
    ];
    for (text, code, part) in cases {
        fs::write(&file, text).unwrap();
        let ended = run(dir.path(), &["check", "--file", path]).await.expect(code);
        assert!(ended.out.contains(part) || ended.err.contains(part), "{ended:?}");
    }
    fs::write(&file, "x".repeat((16 << 20) + 1)).unwrap();
    let ended = run(dir.path(), &["check", "--file", path]).await.expect(2);
    assert!(ended.err.contains("more than 16 MiB"), "{ended:?}");
    assert_eq!(run_with_input(dir.path(), &["check", "-", "-q"], "SELECT 1").await.expect(0).out, "allowed\n");
    for words in [&["check"][..], &["check", "--file", path, "SELECT 1"], &["check", "--database", "shop", "SELECT 1"]]
    {
        run(dir.path(), words).await.expect(2);
    }
    let missing = run(dir.path(), &["check", "--file", "/nowhere/x.sql"]).await.expect(1);
    assert!(missing.err.contains("/nowhere/x.sql"), "{missing:?}");
    let no_catalog = run(dir.path(), &["check", "--catalog", path, "SELECT 1"]).await.expect(1);
    assert!(no_catalog.err.contains("catalog-sql"), "{no_catalog:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roles_exceptions_count() {
    let plane = ControlPlane::start().await;
    let dir = plane.operator();
    for name in ["shop", "crm"] {
        let url = format!("postgres://127.0.0.1/{name}?sslmode=disable");
        run(dir, &["database", "add", name, "--url", &url]).await.expect(0);
    }
    run(dir, &["role", "create", "reporting", "--database", "shop"]).await.expect(0);
    let sessions = "SELECT state FROM pg_catalog.pg_stat_activity";
    let check = ["check", "--role", "reporting", "--database", "shop", sessions, "-o", "json"];
    let refused = run(dir, &check).await.expect(7).json();
    assert_eq!(
        (&refused["code"], &refused["basis"]["role"]),
        (&"guard.relation.sensitive".into(), &"reporting".into())
    );
    // Tried out first, then given.
    let tried = ["check", "--role", "reporting", "--allow-relation", "pg_catalog.pg_stat_activity", sessions];
    run(dir, &tried).await.expect(0);
    run(dir, &check).await.expect(7);
    let give = ["role", "update", "reporting", "--allow-relation", "pg_catalog.pg_stat_activity"];
    run(dir, &give).await.expect(0);
    assert_eq!(run(dir, &check).await.expect(0).json()["code"], Value::Null);
    let analyze = ["check", "--role", "reporting", "EXPLAIN ANALYZE SELECT 1"];
    run(dir, &analyze).await.expect(7);
    run(dir, &["role", "update", "reporting", "--explain-analyze"]).await.expect(0);
    run(dir, &analyze).await.expect(0);

    let elsewhere = run(dir, &["check", "--role", "reporting", "--database", "crm", "SELECT 1"]).await.expect(2);
    assert!(elsewhere.err.contains("may not query database crm"), "{elsewhere:?}");
    run(dir, &["check", "--role", "nobody", "SELECT 1"]).await.expect(4);
    plane.stop().await;
}
