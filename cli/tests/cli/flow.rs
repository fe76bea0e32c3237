//! The real `nlactl` against a real control plane.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::{
    control_plane::ControlPlane,
    support::{LIMIT, command, ended, run, run_with_input},
};

/// A database, a role and a credential, as most tests need them.
async fn furnished() -> ControlPlane {
    let plane = ControlPlane::start().await;
    let dir = plane.operator();
    run(dir, &["database", "add", "shop", "--url", "postgres://127.0.0.1/shop?sslmode=disable"]).await.expect(0);
    run(dir, &["role", "create", "reporting", "--database", "shop"]).await.expect(0);
    plane
}

const CREATE: [&str; 10] =
    ["token", "create", "--owner", "ana", "--purpose", "report", "--role", "reporting", "-o", "json"];

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {value:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_token() {
    let plane = furnished().await;
    let dir = plane.operator();
    let created = run(dir, &CREATE).await.expect(0);
    assert!(created.err.contains("not shown again"), "{created:?}");
    let created = created.json();
    let (id, secret) = (text(&created, "/token/id").to_owned(), text(&created, "/token_text").to_owned());
    nla_domain::token::TokenText::parse(&secret).unwrap();
    assert_eq!(created["token"]["limits"]["calls_per_second"], 20);

    let shown = run(dir, &["token", "show", &id, "-o", "yaml"]).await.expect(0);
    assert!(shown.out.contains("status: active") && !shown.out.contains(&secret), "{shown:?}");
    assert_eq!(run(dir, &["token", "list", "--owner", "ana", "-q"]).await.expect(0).out, format!("{id}\n"));

    let rotated = run(dir, &["token", "rotate", &id, "--overlap", "1h", "-o", "json"]).await.expect(0).json();
    assert_eq!(text(&rotated, "/token/predecessor"), id);
    assert_ne!(text(&rotated, "/token_text"), secret);
    assert!(!rotated["predecessor"]["expires_at"].is_null());

    let successor = text(&rotated, "/token/id");
    let revoked =
        run(dir, &["token", "revoke", successor, "--yes", "--reason", "test", "-o", "json"]).await.expect(0).json();
    assert_eq!((text(&revoked, "/tokens/0/status"), &revoked["receipt"]["edges"]), ("revoked", &serde_json::json!([])));
    let statuses = run(dir, &["token", "list", "--all", "-o", "json"]).await.expect(0).json();
    assert_eq!(statuses.as_array().map(Vec::len), Some(2), "{statuses:#}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_their_exit_codes_and_name_the_field() {
    let plane = furnished().await;
    let dir = plane.operator();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["token", "show", "abcDEF012345"], 4, "abcDEF012345"),
        (&["role", "show", "nobody"], 4, "nobody"),
        (&["role", "create", "reporting", "--database", "shop"], 5, "reporting"),
        (&["role", "create", "other", "--database", "nowhere"], 4, "field: role.databases"),
        (&["database", "remove", "shop", "--yes"], 5, "reporting"),
        (
            &["database", "add", "far", "--host", "db.example.com", "--dbname", "d", "--sslmode", "disable"],
            2,
            "sslmode",
        ),
        (&["database", "update", "shop", "--pool-size", "5000"], 2, "pool_size"),
        (&["edge", "revoke", "edge-1", "--yes"], 4, "edge-1"),
        (&["database", "test", "shop"], 1, "no edge is connected"),
    ];
    for (words, code, part) in cases {
        let ended = run(dir, words).await.expect(code);
        assert!(ended.err.contains(part), "{words:?}: {ended:?}");
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_change_what_is_given_and_nothing_else() {
    let plane = furnished().await;
    let dir = plane.operator();
    let before = run(dir, &["database", "show", "shop", "-o", "json"]).await.expect(0).json();
    let words = ["database", "update", "shop", "--max-bytes", "1MiB", "--statement-timeout", "10s", "-o", "json"];
    let after = run(dir, &words).await.expect(0).json();
    assert_eq!(
        (&after["limits"]["max_bytes"], &after["limits"]["statement_timeout_ms"]),
        (&(1 << 20).into(), &10_000.0.into())
    );
    for field in ["/host", "/port", "/dbname", "/sslmode", "/limits/max_rows", "/limits/pool_size"] {
        assert_eq!(after.pointer(field), before.pointer(field), "{field}");
    }
    let role = run(dir, &["role", "update", "reporting", "--tool", "get_schema", "-o", "json"]).await.expect(0).json();
    assert_eq!(
        (&role["tools"], &role["databases"]),
        (&serde_json::json!(["get_schema"]), &serde_json::json!(["shop"]))
    );
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn role_policy_and_exceptions() {
    let plane = furnished().await;
    let dir = plane.operator();
    let shown = run(dir, &["database", "show", "shop"]).await.expect(0);
    assert!(shown.out.contains("refuse-superuser"), "{shown:?}");
    let words = ["database", "update", "shop", "--role-policy", "warn", "-o", "json"];
    assert_eq!(run(dir, &words).await.expect(0).json()["role_policy"], "warn");
    // Another change leaves it as it is.
    let words = ["database", "update", "shop", "--max-rows", "7", "-o", "yaml"];
    assert!(run(dir, &words).await.expect(0).out.contains("role_policy: warn"));
    let unknown = run(dir, &["database", "update", "shop", "--role-policy", "ignore"]).await.expect(2);
    assert!(unknown.err.contains("refuse-superuser, refuse, warn"), "{unknown:?}");

    let update = ["role", "update", "reporting", "-o", "json"];
    let with = |more: &'static [&'static str]| [&update[..], more].concat();
    let words = with(&[
        "--allow-function",
        "shop.total",
        "--allow-function",
        "shop.tax",
        "--allow-relation",
        "pg_catalog.pg_stat_activity",
        "--allow-operator",
        "->",
        "--allow-setting",
        "Work_Mem",
    ]);
    let role = run(dir, &words).await.expect(0).json();
    let lists = |role: &Value| ["functions", "relations", "operators", "settings"].map(|name| role[name].clone());
    let expected = [
        serde_json::json!(["shop.tax", "shop.total"]),
        serde_json::json!(["pg_catalog.pg_stat_activity"]),
        serde_json::json!(["->"]),
        serde_json::json!(["work_mem"]),
    ];
    assert_eq!(lists(&role), expected);
    let role = run(dir, &with(&["--allow-function", "", "--allow-setting", "datestyle"])).await.expect(0).json();
    assert_eq!((&role["functions"], &role["settings"]), (&serde_json::json!([]), &serde_json::json!(["datestyle"])));
    assert_eq!(role["relations"], expected[1]);
    let shown = run(dir, &["role", "show", "reporting"]).await.expect(0);
    assert!(shown.out.contains("Allowed relations") && !shown.out.contains("Allowed functions"), "{shown:?}");
    for (option, value) in [("function", "total"), ("relation", "a.b.c"), ("operator", "like"), ("setting", "a b")] {
        let ended = run(dir, &["role", "update", "reporting", &format!("--allow-{option}"), value]).await.expect(2);
        assert!(ended.err.contains("must be"), "{ended:?}");
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_goes_in_and_never_comes_out() {
    let plane = furnished().await;
    let dir = plane.operator();
    let set = ["credential", "set", "shop", "--username", "reader", "--password-stdin", "-o", "json"];
    for generation in [1, 2] {
        let ended = run_with_input(dir, &set, "hunter2\n").await.expect(0);
        assert_eq!(ended.json()["generation"], generation);
        assert!(!ended.out.contains("hunter2") && !ended.err.contains("hunter2"), "{ended:?}");
    }
    for words in [&["credential", "list", "-o", "json"][..], &["audit", "list", "-o", "json"]] {
        let ended = run(dir, words).await.expect(0);
        assert!(ended.out.contains("shop") && !ended.out.contains("hunter2"), "{ended:?}");
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_operator_can_work_at_once_and_only_as_far_as_the_level_goes() {
    let plane = furnished().await;
    let dir = plane.operator();
    let folder = plane.folder().join("vera");
    let words = ["operator", "create", "vera", "--level", "viewer", "--out", folder.to_str().unwrap()];
    run(dir, &words).await.expect(0);
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("."), mode("operator.key"), mode("config.yaml")), (0o700, 0o600, 0o600));
    let status = run(&folder, &["system", "status", "-o", "json"]).await.expect(0).json();
    assert_eq!((text(&status, "/caller"), text(&status, "/caller_level")), ("vera", "viewer"));
    run(&folder, &["token", "list"]).await.expect(0);
    let refused = run(&folder, &CREATE).await.expect(3);
    assert!(refused.out.is_empty() && refused.err.contains("system status"), "{refused:?}");
    run(&folder, &["audit", "list"]).await.expect(3);
    // The folder is there already, and a name is taken only once.
    run(dir, &words).await.expect(2);
    let other = plane.folder().join("other");
    let words = ["operator", "create", "vera", "--level", "admin", "--out", other.to_str().unwrap()];
    run(dir, &words).await.expect(5);
    assert!(!other.exists());
    run(dir, &["operator", "revoke", "vera", "--yes"]).await.expect(0);
    run(&folder, &["system", "status"]).await.expect(3);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_goes_to_a_private_file() {
    let plane = ControlPlane::start().await;
    let dir = plane.operator();
    let path = plane.folder().join("edge-1.join");
    let words = ["edge", "join-token", "edge-1", "--ttl", "5m", "--out", path.to_str().unwrap(), "-o", "json"];
    let ended = run(dir, &words).await.expect(0);
    let token = fs::read_to_string(&path).unwrap();
    nla_domain::join::JoinToken::parse(token.trim_end()).unwrap();
    assert!(!ended.out.contains(token.trim_end()), "{ended:?}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_followed_and_resumed() {
    let plane = furnished().await;
    let dir = plane.operator();
    let newest = run(dir, &["audit", "list", "--limit", "1", "-o", "json"]).await.expect(0).json();
    let newest = newest[0]["sequence"].as_u64().unwrap();
    let words = ["audit", "tail", "-f", "-o", "json", "--after", &(newest - 1).to_string()];
    let mut child = command(dir, &words).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    assert_eq!(next().await["sequence"], newest);
    run(dir, &["role", "create", "later", "--database", "shop"]).await.expect(0);
    let event = next().await;
    assert_eq!((&event["sequence"], text(&event, "/object")), (&(newest + 1).into(), "role/later"));
    assert_eq!((text(&event, "/kind"), text(&event, "/outcome")), ("admin", "succeeded"));
    let id = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ended = ended(child).await.expect(0);
    assert!(ended.err.contains(&format!("--after {}", newest + 1)), "{ended:?}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_is_gone_cannot_be_reached() {
    let folder = ControlPlane::start().await.stop().await;
    let ended = run(&folder.path().join("data-operator"), &["system", "status"]).await.expect(6);
    assert!(ended.out.is_empty() && ended.err.contains("check that the control plane runs at"), "{ended:?}");
}
