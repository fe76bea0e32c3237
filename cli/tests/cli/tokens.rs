//! The life of tokens by `nlactl`: labels, selections, changes, rotation of
//! one and of many.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};

use crate::{
    control_plane::ControlPlane,
    support::{Ended, run},
};

async fn furnished() -> ControlPlane {
    let plane = ControlPlane::start().await;
    let dir = plane.operator();
    run(dir, &["database", "add", "shop", "--url", "postgres://127.0.0.1/shop?sslmode=disable"]).await.expect(0);
    run(dir, &["role", "create", "reporting", "--database", "shop"]).await.expect(0);
    plane
}

/// Makes a token; answers its id.
async fn token(plane: &ControlPlane, owner: &str, more: &[&str]) -> String {
    let words = ["token", "create", "--owner", owner, "--purpose", "test", "--role", "reporting", "-o", "json"];
    let made = run(plane.operator(), &[&words[..], more].concat()).await.expect(0).json();
    made["token"]["id"].as_str().unwrap().to_owned()
}

async fn nlactl(plane: &ControlPlane, words: &[&str]) -> Ended {
    run(plane.operator(), words).await
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_addresses_and_limits_change_without_a_new_token() {
    let plane = furnished().await;
    let id = token(&plane, "ana", &["--label", "team=data", "--label", "env=prod"]).await;
    let shown = nlactl(&plane, &["token", "show", &id]).await.expect(0);
    assert!(shown.out.contains("env=prod, team=data") && shown.out.contains("never"), "{shown:?}");
    let words = ["token", "update", &id, "--allow-cidr", "10.0.0.0/8", "--label", "env=test", "--remove-label", "team"];
    let updated = nlactl(&plane, &[&words[..], &["--burst", "99", "-o", "json"]].concat()).await.expect(0).json();
    assert_eq!((&updated["allowed_cidrs"], &updated["labels"]), (&json!(["10.0.0.0/8"]), &json!({ "env": "test" })));
    assert_eq!((&updated["limits"]["burst"], &updated["limits"]["calls_per_second"]), (&json!(99), &json!(20)));
    let updated = nlactl(&plane, &["token", "update", &id, "--any-address", "-o", "json"]).await.expect(0).json();
    assert_eq!((&updated["allowed_cidrs"], &updated["labels"]), (&json!([]), &json!({ "env": "test" })));

    let bad: [(&[&str], i32, &str); 6] = [
        (&["token", "update", "abcDEF012345", "--rate", "5"], 4, "abcDEF012345"),
        (&["token", "update", &id], 2, "--allow-cidr"),
        (&["token", "update", &id, "--allow-cidr", "here"], 2, "allowed_cidrs[0]"),
        (&["token", "update", &id, "--label", "Team=x"], 2, "label key"),
        (&["token", "update", &id, "--any-address", "--allow-cidr", "10.0.0.0/8"], 2, "cannot be used with"),
        (&["token", "rotate", &id, "--expires-in", "never", "--yes"], 5, "tokens.allow_never"),
    ];
    for (words, code, part) in bad {
        let ended = nlactl(&plane, words).await.expect(code);
        assert!(ended.err.contains(part), "{words:?}: {ended:?}");
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_select_and_a_lineage_is_in_order() {
    let plane = furnished().await;
    let first = token(&plane, "ana", &["--label", "team=data", "--expires-in", "2d"]).await;
    let other = token(&plane, "bob", &[]).await;
    for (words, expected) in [
        (&["--label", "team=data"][..], vec![&first]),
        (&["--expires-within", "3d"], vec![&first]),
        (&["--owner", "bob", "--role", "reporting", "--database", "shop"], vec![&other]),
        (&["--unused", "1d"], vec![]),
        (&["--role", "nobody"], vec![]),
    ] {
        let listed = nlactl(&plane, &[&["token", "list", "-o", "json"], words].concat()).await.expect(0).json();
        assert_eq!(ids(&listed), expected, "{words:?}");
    }
    let rotate = |id: String| ["token", "rotate", &id, "-o", "json"].map(str::to_owned);
    let mut chain = vec![first];
    for _ in 0..2 {
        let words = rotate(chain.last().unwrap().clone());
        let rotated = nlactl(&plane, &words.each_ref().map(String::as_str)).await.expect(0).json();
        chain.push(rotated["token"]["id"].as_str().unwrap().to_owned());
    }
    for id in &chain {
        let shown = nlactl(&plane, &["token", "lineage", id, "-o", "json"]).await.expect(0).json();
        assert_eq!(ids(&shown), chain);
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compromised_token_is_replaced_at_once() {
    let plane = furnished().await;
    let id = token(&plane, "ana", &[]).await;
    let unasked = nlactl(&plane, &["token", "rotate", &id, "--compromised"]).await.expect(2);
    assert!(unasked.err.contains("--yes"), "{unasked:?}");
    nlactl(&plane, &["token", "rotate", &id, "--compromised", "--overlap", "1h", "--yes"]).await.expect(2);
    let words = ["token", "rotate", &id, "--compromised", "--reason", "leaked", "--yes", "-o", "json"];
    let rotated = nlactl(&plane, &words).await.expect(0).json();
    assert_eq!((&rotated["predecessor"]["status"], &rotated["edges"]), (&json!("revoked"), &json!([])));
    let events = nlactl(&plane, &["audit", "list", "--token", &id, "-o", "json"]).await.expect(0);
    assert!(events.out.contains("compromised: leaked"), "{events:?}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tokens_are_replaced_by_a_plan() {
    let plane = furnished().await;
    let mut old = vec![token(&plane, "etl", &[]).await, token(&plane, "etl", &[]).await];
    let other = token(&plane, "ana", &[]).await;
    let done = token(&plane, "etl", &[]).await;
    let rotated = nlactl(&plane, &["token", "rotate", &done, "-o", "json"]).await.expect(0).json();
    let fresh = rotated["token"]["id"].as_str().unwrap();
    old.sort();

    let all = ["token", "rotate", "--all", "--where", "owner=etl"];
    let with = |more: &[&'static str]| [&all[..], more].concat();
    let plan = nlactl(&plane, &with(&["--dry-run", "-o", "json"])).await.expect(0).json();
    let mut planned = ids(&plan["tokens"]);
    planned.sort_unstable();
    assert_eq!(planned, old);
    let mut skipped = ids(&plan["skipped"]);
    skipped.sort_unstable();
    let mut expected = [done.as_str(), fresh];
    expected.sort_unstable();
    assert_eq!(skipped, expected);
    assert!(plan["skipped"].to_string().contains("has a successor already"), "{plan:#}");

    for (words, part) in [
        (with(&["--yes"]), "--token-dir"),
        (with(&["-o", "json"]), "Replace 2 tokens?"),
        (vec!["token", "rotate", "--all", "--where", "owner=", "--dry-run"], "owner has no value"),
        (vec!["token", "rotate", "--all", "--where", "colour=red", "--dry-run"], "there is no \"colour\""),
        (vec!["token", "rotate", "--where", "owner=etl"], "--all"),
        (vec!["token", "rotate", &other, "--all"], "cannot be used with"),
    ] {
        let ended = nlactl(&plane, &words).await.expect(2);
        assert!(ended.err.contains(part), "{words:?}: {ended:?}");
    }

    let dir = plane.folder().join("new");
    let dir = dir.to_str().unwrap();
    let words = [&all[..], &["--token-dir", dir, "--yes", "-o", "json"]].concat();
    let ended = nlactl(&plane, &words).await.expect(0);
    assert!(ended.err.contains("[2/2]") && ended.err.contains("2 tokens to replace, 2 skipped"), "{ended:?}");
    let made = ended.json();
    for token in made["tokens"].as_array().unwrap() {
        let file = token["token_file"].as_str().unwrap();
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        let text = nla_domain::token::TokenText::parse(fs::read_to_string(file).unwrap().trim()).unwrap();
        assert_eq!(text.id().as_str(), token["id"].as_str().unwrap());
        assert_eq!(token["token_text"], Value::Null);
    }
    assert_eq!(made["unconfirmed"], json!([]));
    // The same again finds all done; another one does not take the folder over.
    let again = nlactl(&plane, &words).await.expect(0).json();
    assert_eq!(again["tokens"].as_array().unwrap().len(), 2);
    let taken = nlactl(&plane, &["token", "rotate", "--all", "--token-dir", dir, "--yes"]).await.expect(2);
    assert!(taken.err.contains("other options"), "{taken:?}");
    assert_eq!(nlactl(&plane, &["token", "list", "--owner", "etl", "-q"]).await.expect(0).out.lines().count(), 6);

    // Printed, a line each; what was just made is left alone by a repetition.
    let words = ["token", "rotate", "--all", "--where", "owner=ana", "--yes", "-o", "json"];
    let printed = nlactl(&plane, &words).await.expect(0);
    let line: Value = serde_json::from_str(printed.out.trim()).unwrap();
    assert_eq!(line["predecessor"], json!(other));
    nla_domain::token::TokenText::parse(line["token_text"].as_str().unwrap()).unwrap();
    let again = nlactl(&plane, &words).await.expect(0);
    assert!(again.err.contains("0 tokens to replace, 2 skipped") && again.json()["tokens"] == json!([]), "{again:?}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_successor_got_lost_is_not_passed_over() {
    let plane = furnished().await;
    let id = token(&plane, "etl", &[]).await;
    let dir = plane.folder().join("new");
    let words =
        ["token", "rotate", "--all", "--token-dir", dir.to_str().unwrap(), "--compromised", "--yes", "-o", "json"];
    nlactl(&plane, &words).await.expect(0);
    // As if the answer had got lost longer ago than it is remembered for.
    let (file, manifest) = (dir.join(format!("{id}.token")), dir.join("rotation.json"));
    fs::remove_file(&file).unwrap();
    let mut run: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    run["run"] = json!("0123456789abcdef0123456789abcdef");
    fs::write(&manifest, run.to_string()).unwrap();
    let ended = nlactl(&plane, &words).await.expect(1);
    let failed = ended.json()["failed"][0]["error"].as_str().unwrap().to_owned();
    let command = failed.split('`').nth(1).unwrap().replace('\'', "");
    let command: Vec<&str> = command.split(' ').skip(1).collect();
    assert!(failed.contains("got lost") && command[..2] == ["token", "rotate"], "{failed}");
    nlactl(&plane, &command).await.expect(0);
    assert!(file.exists());
    nlactl(&plane, &words).await.expect(0);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_replaced_is_named() {
    let plane = furnished().await;
    let (one, two) = (token(&plane, "etl", &[]).await, token(&plane, "etl", &[]).await);
    let dir = plane.folder().join("new");
    let words = [
        "token",
        "rotate",
        "--all",
        "--where",
        "owner=etl",
        "--yes",
        "-o",
        "json",
        "--token-dir",
        dir.to_str().unwrap(),
    ];
    nlactl(&plane, &words).await.expect(0);
    // As after a kill that was repeated too late: one was replaced by somebody
    // else meanwhile, one file is gone and its answer is given again.
    let text = fs::read_to_string(dir.join(format!("{one}.token"))).unwrap();
    fs::remove_file(dir.join(format!("{one}.token"))).unwrap();
    fs::remove_file(dir.join(format!("{two}.token"))).unwrap();
    let manifest = fs::read_to_string(dir.join("rotation.json")).unwrap();
    nlactl(&plane, &words).await.expect(0);
    assert_eq!(fs::read_to_string(dir.join(format!("{one}.token"))).unwrap(), text, "the first answer again");
    let ended = token(&plane, "etl", &[]).await;
    nlactl(&plane, &["token", "revoke", &ended, "--yes"]).await.expect(0);
    fs::write(dir.join("rotation.json"), manifest.replace(&two, &ended)).unwrap();
    let failed = nlactl(&plane, &words).await.expect(1);
    assert!(failed.err.contains("1 of 2 tokens were not replaced") && failed.err.contains(&ended), "{failed:?}");
    assert_eq!(failed.json()["failed"][0]["id"], json!(ended));
    plane.stop().await;
}
