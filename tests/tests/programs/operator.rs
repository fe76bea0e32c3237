//! From `init` to a query, and what each program refuses on the way.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use nla_domain::secret::Secret;
use nla_proto::files::write_private;
use nla_sandbox::{
    mcp::McpClient,
    port::free_port,
    sample,
    system::{WebCertificate, wait_for},
};
use serde_json::json;

use nla_tests::programs::{
    binaries::program,
    plane::Plane,
    process::{Ended, Running},
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A file that others may read is refused by that program, which says what to
/// do; afterwards the mode is back.
fn refused_when_readable(path: &Path, command: &mut std::process::Command) {
    assert_eq!(mode(path), 0o600, "{}", path.display());
    set_mode(path, 0o644);
    let refused = Ended::of(command);
    set_mode(path, 0o600);
    assert_ne!(refused.code, 0, "{refused:?}");
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(refused.err.contains("chmod 600") && refused.err.contains(name), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_goes_from_nothing_to_a_query() {
    let sample = sample::start_temporary().await.unwrap();
    let (mut plane, made) = Plane::init();
    assert!(made.out.contains("Next:") && made.out.contains("nla-control-plane --config"), "{made:?}");
    let (key, operator) = (plane.folder().join("data.kek"), plane.operator_dir());
    assert_eq!((mode(&key), mode(&operator), mode(&plane.folder().join("data"))), (0o600, 0o700, 0o700));
    let again =
        Ended::of(program("nla-control-plane").current_dir(plane.folder()).args(["init", "--data-dir", "data"]));
    assert!(again.code == 1 && again.err.contains("overwrites nothing"), "{again:?}");
    refused_when_readable(&key, &mut plane.command(&[]));

    plane.start();
    let second = Ended::of(&mut plane.command(&["--listen", "127.0.0.1:0", "--enrolment-listen", "127.0.0.1:0"]));
    assert!(second.code == 1 && second.err.contains("is in use by process"), "{second:?}");
    refused_when_readable(&operator.join("operator.key"), &mut plane.nlactl(&["system", "status"]));

    // The database, a role, a token and a join token, all by nlactl.
    let folder = plane.folder().to_owned();
    fs::copy(sample.postgres.ca_file(), folder.join("db-ca.pem")).unwrap();
    write_private(&folder.join("shop.password"), sample.sample.reader_password.expose().as_bytes()).unwrap();
    let port = sample.postgres.port().to_string();
    plane.run(&[
        "database",
        "add",
        "shop",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--dbname",
        "shop",
        "--root-cert",
        "db-ca.pem",
    ]);
    plane.run(&["credential", "set", "shop", "--username", sample::READER, "--password-file", "shop.password"]);
    plane.run(&["role", "create", "reader", "--database", "shop"]);
    let made =
        ["token", "create", "--owner", "ada", "--purpose", "test", "--role", "reader", "--token-file", "ada.token"];
    plane.run(&made);
    plane.run(&["edge", "join-token", "edge-1", "--out", "edge-1.join"]);
    assert_eq!((mode(&folder.join("ada.token")), mode(&folder.join("edge-1.join"))), (0o600, 0o600));

    let web = WebCertificate::make(&folder).unwrap();
    let listen = free_port().unwrap();
    let config = format!(
        "join_token_file = \"edge-1.join\"\nstate_dir = \"edge-1\"\nlisten = \"127.0.0.1:{listen}\"\nshutdown_seconds = 5\n\
         [control_plane]\nurl = \"https://127.0.0.1:{}\"\nenrolment_url = \"https://127.0.0.1:{}\"\n\
         [tls]\ncertificate = \"web.pem\"\nkey = \"web.key\"\n",
        plane.port, plane.enrolment_port
    );
    fs::write(folder.join("edge.toml"), config).unwrap();
    let edge = || {
        let mut command = program("nla-edge");
        command.args(["--config", "edge.toml"]).current_dir(&folder);
        command
    };
    Ended::of(program("nla-edge").args(["check-config", "--config", "edge.toml"]).current_dir(&folder)).expect(0);
    refused_when_readable(&web.key, &mut edge());
    // A join token that others may read is not used; the edge waits for a better one.
    let join = folder.join("edge-1.join");
    set_mode(&join, 0o644);
    let mut running = Running::start(&mut edge(), &folder, "edge-1");
    let refused = || async { running.log().contains("chmod 600") && running.log().contains("edge-1.join") };
    wait_for("the edge's refusal of the file", refused).await.unwrap();
    assert!(fs::read_dir(folder.join("edge-1")).unwrap().next().is_none(), "it has not joined");
    set_mode(&join, 0o600);

    let token = fs::read_to_string(folder.join("ada.token")).unwrap().trim().to_owned();
    let client =
        McpClient::new(&format!("https://127.0.0.1:{listen}/mcp"), &web.ca, Some(Secret::new(token.as_str()))).unwrap();
    let question = "SELECT count(*) FROM shop.tenants";
    wait_for("an answer of the edge", || async { client.query(question).await.is_ok() }).await.unwrap();
    assert_eq!(client.query(question).await.unwrap()["rows"], json!([[2]]));
    assert!(plane.run(&["edge", "list"]).contains("edge-1"));
    plane.run(&["database", "test", "shop"]);

    // Without its control plane the edge goes on, and comes back to it.
    plane.stop();
    assert_eq!(client.query(question).await.unwrap()["rows"], json!([[2]]));
    plane.start();
    assert!(running.is_running());
    running.stop();

    // It comes back without a join token, unless others may read its key.
    fs::remove_file(folder.join("edge-1.join")).unwrap();
    let state: Vec<_> = fs::read_dir(folder.join("edge-1")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let own_key = state.iter().find(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("PRIVATE KEY")));
    refused_when_readable(own_key.expect("the edge keeps its key"), &mut edge());
    running = Running::start(&mut edge(), &folder, "edge-1");
    wait_for("an answer of the edge", || async { client.query(question).await.is_ok() }).await.unwrap();
    running.stop();
    plane.stop();
    for log in ["control-plane.log", "edge-1.log"] {
        let text = fs::read_to_string(folder.join(log)).unwrap();
        assert!(!text.contains(&token) && !text.contains(sample.sample.reader_password.expose()), "{log}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn an_admin_who_has_lost_the_certificate_gets_back_in_and_renews() {
    let (mut plane, _) = Plane::init();
    plane.start();
    let operator = plane.operator_dir();
    fs::remove_dir_all(&operator).unwrap();
    let recover = |folder: &Path| {
        let mut command = program("nla-control-plane");
        command.args(["operator-certificate", "ada", "--out", "data-operator", "--config", "control-plane.toml"]);
        Ended::of(command.current_dir(folder))
    };
    let running = recover(plane.folder()).expect(1);
    assert!(running.err.contains("stop that process first") && !operator.exists(), "{running:?}");
    plane.kill();
    recover(plane.folder()).expect(0);
    assert_eq!((mode(&operator), mode(&operator.join("operator.key"))), (0o700, 0o600));

    plane.start();
    assert!(plane.run(&["system", "status"]).contains("ada (admin)"));
    assert!(plane.run(&["audit", "list", "--kind", "admin"]).contains("operator-certificate"));
    let certificate = fs::read(operator.join("operator.crt")).unwrap();
    assert!(plane.run(&["operator", "renew"]).contains("Renewed"));
    assert_ne!(fs::read(operator.join("operator.crt")).unwrap(), certificate);
    assert!(plane.run(&["system", "status"]).contains("ada (admin)"));
    plane.stop();
}
