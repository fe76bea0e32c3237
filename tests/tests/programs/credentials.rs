//! A control plane that is killed while it rotates a credential: whenever that
//! is, the rotation ends when it is back, and one role is open.

use std::{fs, time::Duration};

use nla_domain::secret::Secret;
use nla_proto::files::write_private;
use nla_sandbox::{
    mcp::McpClient,
    port::free_port,
    sample,
    system::{WebCertificate, wait_for},
};
use serde_json::Value;

use nla_tests::programs::{
    binaries::program,
    plane::Plane,
    process::{Ended, Running, until},
};

const MANAGER_PASSWORD: &str = "manager-password-of-this-test";
/// Kills come that long after the start of a rotation, and longer each time.
const STRIDE: Duration = Duration::from_millis(35);
const ROUNDS: u32 = 8;

fn shown(plane: &Plane) -> Value {
    let text = plane.run(&["credential", "rotation", "show", "shop", "-o", "json"]);
    serde_json::from_str(&text).unwrap()
}

/// Runs the commands of docs/credential-rotation.md that need a database.
fn run_page(plane: &Plane, sample: &sample::TemporarySample) {
    const PAGE: &str = include_str!("../../../docs/credential-rotation.md");
    let (port, password) = (sample.postgres.port(), sample.sample.reader_password.expose());
    let line = format!("127.0.0.1:{port}:shop:{}:{password}\n", sample::READER);
    write_private(&plane.folder().join("shop.pgpass"), line.as_bytes()).unwrap();
    let uri = format!("postgres://{}:{password}@127.0.0.1:{port}/shop", sample::READER);
    write_private(&plane.folder().join("shop.uri"), uri.as_bytes()).unwrap();
    let blocks = PAGE.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let mut done = 0;
    for line in blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("nlactl ")) {
        let words: Vec<&str> = line.split('#').next().unwrap().split_whitespace().collect();
        // What was begun without watching has to end first.
        until("the end of the rotation", || shown(plane)["run"]["state"] == "done");
        let mut command = plane.nlactl(&words);
        let ended = Ended::of(command.env("PGPASSFILE", plane.folder().join("shop.pgpass"))).expect(0);
        assert!(!ended.out.contains(password) && !ended.err.contains(password), "{line}");
        done += 1;
    }
    assert!(done >= 10, "{done} commands");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_survives_kills_at_any_moment() {
    let sample = sample::start_temporary().await.unwrap();
    let (mut plane, _) = Plane::init();
    plane.start();
    let folder = plane.folder().to_owned();
    fs::copy(sample.postgres.ca_file(), folder.join("db-ca.pem")).unwrap();
    write_private(&folder.join("shop.password"), sample.sample.reader_password.expose().as_bytes()).unwrap();
    write_private(&folder.join("manager.password"), MANAGER_PASSWORD.as_bytes()).unwrap();
    let port = sample.postgres.port().to_string();
    let add = ["database", "add", "shop", "--host", "127.0.0.1", "--port", &port, "--dbname", "shop"];
    plane.run(&[&add[..], &["--root-cert", "db-ca.pem"]].concat());
    plane.run(&["credential", "set", "shop", "--username", sample::READER, "--password-file", "shop.password"]);
    plane.run(&["role", "create", "reader", "--database", "shop"]);
    plane.run(&["token", "create", "--owner", "a", "--purpose", "b", "--role", "reader", "--token-file", "a.token"]);
    plane.run(&["edge", "join-token", "edge-1", "--out", "edge-1.join"]);

    // The roles, as the operator's own script makes them.
    let admin = sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
    let script = plane.run(&["credential", "rotation-sql", "shop", "--reader", sample::READER]);
    for _ in 0..2 {
        admin.batch_execute(&script).await.unwrap();
    }
    admin.batch_execute(&format!("ALTER ROLE nla_manager PASSWORD '{MANAGER_PASSWORD}'")).await.unwrap();
    let configure = ["credential", "rotation", "configure", "shop", "--manager", "nla_manager"];
    let roles = ["--role", "nla_reader_shop_a", "--role", "nla_reader_shop_b", "--password-file", "manager.password"];
    plane.run(&[&configure[..], &roles[..]].concat());

    let web = WebCertificate::make(&folder).unwrap();
    let listen = free_port().unwrap();
    let config = format!(
        "join_token_file = \"edge-1.join\"\nstate_dir = \"edge-1\"\nlisten = \"127.0.0.1:{listen}\"\nshutdown_seconds = 5\n\
         [control_plane]\nurl = \"https://127.0.0.1:{}\"\nenrolment_url = \"https://127.0.0.1:{}\"\n\
         [tls]\ncertificate = \"web.pem\"\nkey = \"web.key\"\n",
        plane.port, plane.enrolment_port
    );
    fs::write(folder.join("edge.toml"), config).unwrap();
    let mut edge = program("nla-edge");
    edge.args(["--config", "edge.toml"]);
    let edge = Running::start(&mut edge, &folder, "edge-1");
    let token = Secret::new(fs::read_to_string(folder.join("a.token")).unwrap().trim());
    let client = McpClient::new(&format!("https://127.0.0.1:{listen}/mcp"), &web.ca, Some(token)).unwrap();
    wait_for("an answer of the edge", || async { client.query("SELECT 1").await.is_ok() }).await.unwrap();

    let first = Ended::of(&mut plane.nlactl(&["credential", "rotate", "shop", "-o", "json"])).expect(0);
    assert!(first.err.contains("verified-by-edge") || first.err.contains("published"), "{first:?}");
    let mut found = Vec::new();
    for round in 1..=ROUNDS {
        let before = shown(&plane)["run"]["new_role"].as_str().unwrap().to_owned();
        plane.run(&["credential", "rotate", "shop", "--no-wait"]);
        tokio::time::sleep(STRIDE * (round - 1)).await;
        plane.kill();
        // Without a control plane the edge serves on, whichever role it has.
        client.query("SELECT 1").await.unwrap();
        plane.start();
        found.push(shown(&plane)["run"]["step"].as_str().unwrap().to_owned());
        wait_for("the end of the rotation", || async { shown(&plane)["run"]["state"] == "done" }).await.unwrap();
        let run = shown(&plane)["run"].clone();
        assert!(run["new_role"] != before.as_str() && run["old_role"] == before.as_str(), "{run}");
        let open: Vec<String> = admin
            .query("SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'nla_reader_shop__' AND rolcanlogin", &[])
            .await
            .unwrap()
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert_eq!(open, [run["new_role"].as_str().unwrap()], "after {found:?}");
        let user = client.query("SELECT current_user").await.unwrap();
        assert_eq!(user["rows"][0][0], run["new_role"], "after {found:?}");
    }
    run_page(&plane, &sample);
    println!("steps at the first look after each kill: {found:?}");
    edge.stop();
    plane.stop();
    for log in ["control-plane.log", "edge-1.log"] {
        assert!(!fs::read_to_string(folder.join(log)).unwrap().contains(MANAGER_PASSWORD), "{log}");
    }
}
