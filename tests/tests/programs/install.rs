//! Runs docs/install.md: its configuration files are written, its SQL is run by
//! the database's administrator, and each of its commands in its order in one
//! shell, with the real programs, a real database and ports of their own.

use std::{fs, process::Stdio, time::Duration};

use nla_domain::secret::Secret;
use nla_proto::files::write_private;
use nla_sandbox::{
    mcp::McpClient,
    port::free_port,
    sample,
    system::{WebCertificate, wait_for},
};
use serde_json::json;

use nla_tests::programs::{binaries, process::Ended};

const PAGE: &str = include_str!("../../../docs/install.md");

/// The page's blocks of one kind.
fn blocks(kind: &str) -> Vec<&'static str> {
    let blocks = PAGE.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(kind)?.strip_prefix('\n')).collect()
}

/// Where the page's servers listen, and where these do.
struct Ports(Vec<(&'static str, String)>);

impl Ports {
    fn in_text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_the_page_works() {
    let sample = sample::start_temporary().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut ports =
        vec![("db.example.com", "127.0.0.1".to_owned()), (":5432/", format!(":{}/", sample.postgres.port()))];
    let edge_port = free_port().unwrap();
    ports.extend([("nla.internal", "127.0.0.1".to_owned()), ("0.0.0.0", "127.0.0.1".to_owned())]);
    ports.extend(
        [(":7443", free_port().unwrap()), (":7444", free_port().unwrap()), (":8443", edge_port)]
            .map(|(from, to)| (from, format!(":{to}"))),
    );
    let ports = Ports(ports);

    // What a reader of the page has or makes beforehand.
    for block in blocks("toml") {
        let (head, _) = block.split_once('\n').unwrap();
        let name = head.strip_prefix("# ").expect("a configuration begins with its file's name");
        fs::write(folder.path().join(name), ports.in_text(block)).unwrap();
    }
    let web = WebCertificate::make(folder.path()).unwrap();
    fs::copy(sample.postgres.ca_file(), folder.path().join("db-ca.pem")).unwrap();
    let admin = sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
    let password = "a password of the page";
    for block in blocks("sql") {
        for statement in block.split_inclusive(";\n") {
            let statement = statement.replace("'...'", &format!("'{password}'"));
            admin.batch_execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        }
    }
    write_private(&folder.path().join("shop.password"), password.as_bytes()).unwrap();

    // A line that fails ends the script and names itself.
    let lines: Vec<_> = blocks("console").into_iter().flat_map(str::lines).collect();
    assert!(lines.len() > 10);
    let script: String = lines
        .iter()
        .map(|line| line.strip_prefix("$ ").expect("blocks hold commands only"))
        .map(|line| {
            let shown = line.replace('"', "'").replace('$', "\\$");
            // Kept by hand: dash forgets its jobs in `$(jobs -p)`.
            let kept = if line.ends_with('&') { "pids=\"$pids $!\"\n" } else { "" };
            format!(
                "{}\ncode=$?; [ $code = 0 ] || {{ echo \"line: {shown}: $code\" >&2; exit 9; }}\n{kept}",
                ports.in_text(line)
            )
        })
        .collect();
    // What runs in the background is ended as an operator would, and must end well.
    let script = format!(
        "pids=\ntrap '[ -z \"$pids\" ] || kill -KILL $pids 2>/dev/null' EXIT\n{script}echo served\nread go_on\n\
         ended=0; for pid in $pids; do kill -TERM $pid; wait $pid || {{ echo \"ended with $?\" >&2; exit 8; }}; \
         ended=$((ended + 1)); done; pids=; echo \"$ended ended well\"\n"
    );
    let path = format!("{}:{}", binaries::folder().display(), std::env::var("PATH").unwrap());
    let mut shell = tokio::process::Command::new("sh");
    shell.arg("-c").arg(script).env_clear().env("PATH", path).env("HOME", folder.path()).current_dir(folder.path());
    let log = |name: &str| fs::File::create(folder.path().join(name)).unwrap();
    shell.stdin(Stdio::piped()).stdout(log("out.log")).stderr(log("err.log"));
    let mut shell = shell.kill_on_drop(true).spawn().unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    wait_for("the last command of the page", || {
        let ended = shell.try_wait().unwrap();
        assert!(ended.is_none(), "{}\n{}", read("out.log"), read("err.log"));
        std::future::ready(read("out.log").ends_with("served\n"))
    })
    .await
    .unwrap_or_else(|error| panic!("{error:#}\n{}\n{}", read("out.log"), read("err.log")));

    let token = read("ana.token").trim().to_owned();
    let url = format!("https://127.0.0.1:{edge_port}/mcp");
    let client = McpClient::new(&url, &web.ca, Some(Secret::new(token.as_str()))).unwrap();
    let counted = client.query("SELECT count(*) FROM shop.tenants").await.unwrap();
    assert_eq!(counted["rows"], json!([[2]]));
    // The role of the page reads and nothing else.
    let reader = sample.postgres.connect(sample::DATABASE, "nla_shop", &Secret::new(password)).await.unwrap();
    reader.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    for sql in ["DELETE FROM shop.tenants", "CREATE TEMP TABLE x (a int)", "CREATE TABLE shop.x (a int)"] {
        let refused = reader.batch_execute(sql).await.unwrap_err();
        assert_eq!(refused.code().map(|code| code.code()), Some("42501"), "{sql}: {refused:?}");
    }

    use tokio::io::AsyncWriteExt as _;
    shell.stdin.take().unwrap().write_all(b"go on\n").await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), shell.wait()).await.expect("it ends").unwrap();
    let everything = format!("{}\n{}", read("out.log"), read("err.log"));
    assert_eq!(ended.code(), Some(0), "{everything}");
    assert!(everything.contains("2 ended well"), "the control plane and the edge: {everything}");
    assert!(!everything.contains(password) && !everything.contains(&token), "a secret was shown");
}

#[test]
fn the_units_start_what_the_page_installs() {
    let deploy = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/systemd");
    for (unit, program) in [("nla-control-plane.service", "nla-control-plane"), ("nla-edge.service", "nla-edge")] {
        let text = fs::read_to_string(deploy.join(unit)).unwrap();
        assert!(PAGE.contains(unit), "docs/install.md does not name {unit}");
        let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/")).unwrap();
        let mut words = start.split(' ');
        assert_eq!(words.next(), Some(program));
        // The program knows the flags.
        let flags: Vec<_> = words.filter(|word| word.starts_with("--")).collect();
        let help = Ended::of(binaries::program(program).arg("--help")).expect(0).out;
        assert!(!flags.is_empty() && flags.iter().all(|flag| help.contains(*flag)), "{start}");
        for hardening in ["NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=\n", "UMask=0077"] {
            assert!(text.contains(hardening), "{unit}: {hardening}");
        }
    }
}
