//! What `nlactl` does without a control plane: contexts, completion, refusals.

use std::{fs, path::Path};

use crate::support::{run, run_with_input};

#[tokio::test]
async fn nothing_but_results_on_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["frobnicate"], 2, "unrecognized"),
        (&["token", "revoke", "abcDEF012345"], 2, "--yes"),
        (&["edge", "revoke", "edge-1"], 2, "--yes"),
        (&["operator", "revoke", "ana"], 2, "--yes"),
        (&["database", "remove", "shop"], 2, "--yes"),
        (&["role", "remove", "r"], 2, "--yes"),
        (&["token", "rotate", "abcDEF012345", "--overlap", "0s"], 2, "--yes"),
        (&["database", "update", "shop"], 2, "nothing to change"),
        (&["system", "status"], 1, "nla-control-plane init"),
    ];
    for (words, code, part) in cases {
        let ended = run(folder.path(), words).await.expect(code);
        assert!(ended.out.is_empty() && ended.err.contains(part), "{words:?}: {ended:?}");
    }
}

#[tokio::test]
async fn a_password_in_a_url_is_refused_and_never_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["database", "add", "shop", "--url", "postgres://u:hunter2@db/shop"];
    let ended = run(folder.path(), &words).await.expect(2);
    assert!(ended.err.contains("password") && !ended.err.contains("hunter2"), "{ended:?}");
}

#[tokio::test]
async fn version_and_completion() {
    let folder = tempfile::tempdir().unwrap();
    let version = run(folder.path(), &["version", "-o", "json"]).await.expect(0);
    assert_eq!(version.json()["version"], env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(folder.path(), &["completion", shell]).await.expect(0);
        assert!(script.out.contains("join-token") && script.err.is_empty(), "{shell}");
    }
    let help = run(folder.path(), &["--help"]).await.expect(0);
    assert!(help.out.contains("Exit codes:"), "{help:?}");
}

/// An operator's certificate, key and CA that only the file checks see.
fn identity(folder: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.subject_alt_names = vec![rcgen::SanType::URI("spiffe://test/operator/ana".try_into().unwrap())];
    let certificate = params.self_signed(&key).unwrap();
    fs::write(folder.join("ana.crt"), certificate.pem()).unwrap();
    fs::write(folder.join("ca.crt"), certificate.pem()).unwrap();
    nla_proto::files::write_private(&folder.join("ana.key"), key.serialize_pem().as_bytes()).unwrap();
}

#[tokio::test]
async fn contexts() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new");
    identity(folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key, ca) = (file("ana.crt"), file("ana.key"), file("ca.crt"));
    let add = |name: &'static str, url: &'static str| {
        let words = ["config", "add-context", name, "--url", url, "--certificate"];
        let files = [certificate.as_str(), "--key", &key, "--ca", &ca].map(str::to_owned);
        words.map(str::to_owned).into_iter().chain(files).collect::<Vec<_>>()
    };
    for (name, url, code) in [
        ("prod", "https://127.0.0.1:1", 0),
        ("test", "https://127.0.0.1:2", 0),
        ("bad", "http://127.0.0.1:2", 2),
        ("test", "https://127.0.0.1:3", 0),
    ] {
        let words = add(name, url);
        run(&dir, &words.iter().map(String::as_str).collect::<Vec<_>>()).await.expect(code);
    }
    let list = run(&dir, &["config", "get-contexts", "-o", "json"]).await.expect(0).json();
    let seen: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["name"].as_str(), c["url"].as_str(), c["current"].as_bool()))
        .collect();
    assert_eq!(
        seen,
        [
            (Some("prod"), Some("https://127.0.0.1:1"), Some(true)),
            (Some("test"), Some("https://127.0.0.1:3"), Some(false))
        ]
    );
    assert_eq!(run(&dir, &["config", "current-context"]).await.expect(0).out, "prod\n");
    run(&dir, &["config", "use-context", "nowhere"]).await.expect(2);
    run(&dir, &["config", "use-context", "test"]).await.expect(0);
    assert_eq!(run(&dir, &["config", "current-context"]).await.expect(0).out, "test\n");
    let unknown = run(&dir, &["--context", "x", "system", "status"]).await.expect(2);
    assert!(unknown.err.contains("prod, test"), "{unknown:?}");
    // Nobody listens there: the certificate was accepted, the connection was not.
    let away = run(&dir, &["--context", "prod", "system", "status"]).await.expect(6);
    assert!(away.err.contains("https://127.0.0.1:1") && away.out.is_empty(), "{away:?}");
}

#[tokio::test]
async fn passwords_are_taken_only_where_nobody_else_can_read_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    identity(folder.path());
    let config = "current_context: a\ncontexts: [{name: a, url: 'https://127.0.0.1:1', certificate: ana.crt, key: ana.key, ca: ca.crt}]\n";
    fs::write(folder.path().join("config.yaml"), config).unwrap();
    let path = folder.path().join("pw");
    fs::write(&path, "hunter2\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let set = ["credential", "set", "shop", "--username", "u"];
    let file = [&set[..], &["--password-file", path.to_str().unwrap()]].concat();
    let ended = run(folder.path(), &file).await.expect(1);
    assert!(ended.err.contains("chmod 600") && !ended.err.contains("hunter2"), "{ended:?}");
    let ended = run(folder.path(), &set).await.expect(2);
    assert!(ended.err.contains("--password-stdin"), "{ended:?}");
    let stdin = [&set[..], &["--password-stdin"]].concat();
    run_with_input(folder.path(), &stdin, "").await.expect(2);
    // A good password gets as far as the connection.
    let ended = run_with_input(folder.path(), &stdin, "hunter2\n").await.expect(6);
    assert!(!ended.err.contains("hunter2"), "{ended:?}");
}
