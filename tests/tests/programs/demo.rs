//! The demo's program: what scripts read from it, and that nothing stays.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::Stdio,
    sync::mpsc,
};

use nla_domain::secret::Secret;
use nla_sandbox::mcp::McpClient;
use serde_json::{Value, json};

use nla_tests::programs::{
    binaries::program,
    process::{Ended, LIMIT, send, until},
};

/// Processes whose command line names a folder.
fn processes_of(folder: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(folder)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_line_of_json_works_at_once_and_nothing_stays() {
    let mut demo = program("nla-demo");
    demo.args(["--output", "json", "--edges", "2"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut demo = demo.spawn().unwrap();
    let (line, ready) = mpsc::channel();
    let mut out = BufReader::new(demo.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_line(&mut text).unwrap();
        line.send(text).unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        rest
    });
    let Ok(text) = ready.recv_timeout(LIMIT) else {
        demo.kill().unwrap();
        panic!("the demo was not ready in time");
    };
    let said: Value = serde_json::from_str(&text).unwrap();
    let fields: Vec<_> = said.as_object().unwrap().keys().map(String::as_str).collect();
    let promised = ["mcp_urls", "token", "ca_cert", "control_plane", "operator_dir", "postgres_url", "data_dir"];
    assert_eq!(fields, promised);
    let field = |name: &str| said[name].as_str().unwrap().to_owned();

    let status = Ended::of(
        program("nlactl").args(["system", "status", "-o", "json"]).env("NLA_CONFIG_DIR", field("operator_dir")),
    );
    assert!(serde_json::from_str::<Value>(&status.expect(0).out).unwrap().is_object());
    // The same database as somebody's own, by a second demo beside the first.
    let url = field("postgres_url");
    let own = Ended::of(program("nla-demo").args(["--exit", "--edges", "1", "--postgres-url", &url]));
    assert!(own.expect(0).out.contains("shop "), "the example names the schemas of that database");
    let urls = said["mcp_urls"].as_array().unwrap();
    assert_eq!(urls.len(), 2);
    for url in urls {
        let client =
            McpClient::new(url.as_str().unwrap(), Path::new(&field("ca_cert")), Some(Secret::new(field("token"))));
        assert_eq!(client.unwrap().query("SELECT 6 * 7").await.unwrap()["rows"], json!([[42]]));
    }
    assert!(field("postgres_url").starts_with("postgres") && field("control_plane").starts_with("https://"));
    let folder = field("data_dir");
    assert!(!processes_of(&folder).is_empty(), "its PostgreSQL names the folder");

    send("INT", demo.id());
    let mut ended = None;
    until("the end of the demo", || {
        ended = demo.try_wait().unwrap();
        ended.is_some()
    });
    let mut errors = String::new();
    demo.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(ended.unwrap().code(), Some(0), "{errors}");
    assert_eq!((reader.join().unwrap().as_str(), errors.as_str()), ("", ""));
    assert!(!Path::new(&folder).exists(), "{folder} is left");
    assert_eq!(processes_of(&folder), Vec::<String>::new());
}

#[test]
fn an_example_alone_ends_well() {
    let place = tempfile::tempdir().unwrap();
    let ended = Ended::of(program("nla-demo").args(["--exit", "--edges", "1"])).expect(0);
    for part in ["Ready after", "What the audit log says", "edge-1", "succeeded"] {
        assert!(ended.out.contains(part), "{part}: {}", ended.out);
    }
    fs::write(place.path().join("mine"), "x").unwrap();
    let refused = Ended::of(program("nla-demo").arg("--exit").arg("--data-dir").arg(place.path()));
    assert!(refused.code == 1 && refused.err.contains("is not empty"), "{refused:?}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}
