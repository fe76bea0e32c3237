//! A rotation of many tokens whose `nlactl` is killed.

use std::{collections::BTreeSet, fs, process::Stdio};

use nla_domain::token::TokenText;
use serde_json::Value;

use nla_tests::programs::{
    plane::Plane,
    process::{Ended, until},
};

const TOKENS: usize = 50;

fn list(plane: &Plane) -> Vec<Value> {
    serde_json::from_str(&plane.run(&["token", "list", "--owner", "etl", "--output", "json"])).unwrap()
}

#[test]
fn a_killed_rotation_is_repeated_and_replaces_each_token_once() {
    let (mut plane, _) = Plane::init();
    plane.start();
    plane.run(&["database", "add", "shop", "--url", "postgres://127.0.0.1/shop?sslmode=disable"]);
    plane.run(&["role", "create", "reader", "--database", "shop"]);
    for number in 0..TOKENS {
        let purpose = format!("number {number}");
        let words = ["token", "create", "--owner", "etl", "--purpose", &purpose, "--role", "reader", "--quiet"];
        plane.run(&words);
    }
    let old: BTreeSet<String> = list(&plane).iter().map(|token| token["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(old.len(), TOKENS);
    let folder = plane.folder().join("new");
    let files = || {
        let entries = fs::read_dir(&folder).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
        entries.into_iter().filter(|entry| entry.path().extension().is_some_and(|end| end == "token")).count()
    };
    let words = ["token", "rotate", "--all", "--where", "owner=etl", "--overlap", "24h", "--token-dir", "new", "--yes"];
    // Killed twice, wherever it is by then.
    for enough in [5, 20] {
        let mut command = plane.nlactl(&words);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("the first files", || files() >= enough || child.try_wait().unwrap().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(files() < TOKENS, "it was killed too late");
    let ended = Ended::of(&mut plane.nlactl(&words)).expect(0);
    assert!(ended.err.contains("that was begun before goes on"), "{ended:?}");
    assert_eq!(files(), TOKENS);

    let tokens = list(&plane);
    assert_eq!(tokens.len(), 2 * TOKENS, "one successor each");
    for token in tokens.iter().filter(|token| old.contains(token["id"].as_str().unwrap())) {
        let (id, successor) = (token["id"].as_str().unwrap(), token["successor"].as_str().unwrap());
        let text = fs::read_to_string(folder.join(format!("{id}.token"))).unwrap();
        assert_eq!(TokenText::parse(text.trim()).unwrap().id().as_str(), successor);
    }
    plane.stop();
}
