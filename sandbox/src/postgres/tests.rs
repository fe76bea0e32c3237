//! The private server against the real programs of this machine.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use tempfile::TempDir;
use tokio_postgres::error::SqlState;

use super::*;

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("nla-pg-").tempdir().unwrap()
}

fn exists(pid: u32) -> bool {
    // An ended process that its new parent has not reaped yet has no memory.
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains("VmRSS"))
}

fn gone(program: &std::process::Child) -> bool {
    !exists(program.id())
}

async fn one_text(client: &Client, query: &str) -> String {
    client.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_server_starts_verifies_in_full_and_leaves_no_process() {
    let folder = folder();
    let postgres = Postgres::start(Options::new(folder.path()).throw_away()).await.unwrap();
    let pid = postgres.pid();
    assert!(exists(pid));

    let client = postgres.connect_as_superuser("postgres").await.unwrap();
    let tls = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(one_text(&client, tls).await, "TLSv1.3");
    let method = "SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = 'postgres'";
    assert_eq!(one_text(&client, method).await, "SCRAM-SHA-256");

    let password_file = folder.path().join("superuser-password");
    assert_eq!(fs::metadata(&password_file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&password_file).unwrap(), postgres.superuser_password().expose());
    let data = fs::metadata(folder.path().join("data")).unwrap();
    assert_ne!(data.uid(), 0, "the server never runs as root");
    assert_eq!(data.permissions().mode() & 0o777, 0o700);
    assert!(!format!("{postgres:?}").contains(postgres.superuser_password().expose()));

    postgres.stop().await;
    assert!(!exists(pid), "stop waits for the end");
    assert!(!folder.path().join("data/postmaster.pid").exists(), "an orderly end removes the lock file");
}

#[tokio::test]
async fn a_wrong_password_and_a_strange_authority_are_refused() {
    let (first, second) = (folder(), folder());
    // Both at once: they must not take each other's port.
    let (first, second) = tokio::join!(
        Postgres::start(Options::new(first.path()).throw_away()),
        Postgres::start(Options::new(second.path()).throw_away()),
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first.port(), second.port());

    let wrong = client::connect(first.tls().unwrap(), first.port(), "postgres", SUPERUSER, second.superuser_password());
    assert_eq!(wrong.await.unwrap_err().code(), Some(&SqlState::INVALID_PASSWORD));
    let strange =
        client::connect(second.tls().unwrap(), first.port(), "postgres", SUPERUSER, first.superuser_password());
    let error = strange.await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("certificate"), "{cause}");
}

#[tokio::test]
async fn a_stopped_server_comes_back_with_its_data_password_and_certificate() {
    let folder = folder();
    let options = Options::new(folder.path()).throw_away();
    let postgres = Postgres::start(options.clone()).await.unwrap();
    let client = postgres.connect_as_superuser("postgres").await.unwrap();
    client.batch_execute("CREATE TABLE kept AS SELECT 42 AS answer").await.unwrap();
    let (port, tls, password) = (postgres.port(), postgres.tls().unwrap(), postgres.superuser_password().clone());
    drop(postgres);

    let postgres = Postgres::start(options.port(port)).await.unwrap();
    assert_eq!(postgres.port(), port);
    let client = client::connect(tls, port, "postgres", SUPERUSER, &password).await.unwrap();
    assert_eq!(client.query_one("SELECT answer FROM kept", &[]).await.unwrap().get::<_, i32>(0), 42);
}

#[tokio::test]
async fn a_taken_port_is_reported_with_the_servers_log() {
    let folder = folder();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let options = Options::new(folder.path()).throw_away().port(taken.local_addr().unwrap().port());
    let error = Postgres::start(options).await.unwrap_err();
    assert!(matches!(&error, PostgresError::Exited { log } if port_was_taken(log)), "{error}");
}

#[tokio::test]
async fn a_closed_folder_on_the_way_is_named() {
    if !Account::choose().unwrap().is_other() {
        return; // Only root starts the server as somebody else.
    }
    let closed = folder();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let error = Postgres::start(Options::new(closed.path().join("inside"))).await.unwrap_err();
    assert!(matches!(&error, PostgresError::Unreachable { path, .. } if path == closed.path()), "{error}");
}

/// The server must end even when nothing of the program that started it runs
/// any more. The program is this test, run again with a variable set.
#[test]
fn the_server_ends_when_its_program_is_killed() {
    const FOLDER: &str = "NLA_TEST_KILLED_FOLDER";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(folder) = std::env::var_os(FOLDER) {
        let postgres = runtime.block_on(Postgres::start(Options::new(folder).throw_away())).unwrap();
        let pid = postgres.pid().to_string();
        fs::write(postgres.folder().join("pid"), pid).unwrap();
        loop {
            std::thread::park();
        }
    }
    let folder = folder();
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "postgres::tests::the_server_ends_when_its_program_is_killed"])
        .env(FOLDER, folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + READY_WITHIN;
    let wait_for = |what: &str, done: &dyn Fn() -> bool| {
        while !done() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::park_timeout(RETRY_EVERY);
        }
    };
    let pid_file = folder.path().join("pid");
    let pid = || fs::read_to_string(&pid_file).ok().and_then(|pid| pid.parse::<u32>().ok());
    // Unwrapped in the program: whatever it fails by stands above, so end early.
    wait_for("the program starts its server", &|| pid().is_some() || gone(&program));
    let pid = pid().unwrap();
    assert!(exists(pid));
    program.kill().unwrap();
    program.wait().unwrap();
    wait_for("the server ends with its program", &|| !exists(pid));
}
