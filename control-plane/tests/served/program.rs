//! The program itself: made, started, asked to stop, refused when it should be.

use std::{
    path::Path,
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(30);

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nla-control-plane"));
    command.current_dir(folder).env_clear().kill_on_drop(true).stdin(Stdio::null());
    command
}

async fn output(command: &mut Command) -> Output {
    timeout(DEADLINE, command.output()).await.expect("the program hangs").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn start(folder: &Path) -> Child {
    let mut command = program(folder);
    command.args(["--config", "data.toml", "--listen", "127.0.0.1:0", "--enrolment-listen", "127.0.0.1:0"]);
    let mut child = command.args(["--log-format", "json"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().expect("it ended at once");
    assert!(line.starts_with('{') && line.contains("control plane serves"), "{line}");
    // The pipe stays open, or the next log line would be an error.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    child
}

async fn terminate(mut child: Child) -> ExitStatus {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("/bin/kill").args(["-TERM", &id]).status().await.unwrap().success());
    timeout(DEADLINE, child.wait()).await.expect("it does not stop").unwrap()
}

#[tokio::test]
async fn it_is_made_started_stopped_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let made = output(program(folder.path()).args(["init", "--data-dir", "data"])).await;
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(text(&made.stdout).contains("nla-control-plane --config"), "{}", text(&made.stdout));
    let again = output(program(folder.path()).args(["init", "--data-dir", "data"])).await;
    assert!(!again.status.success() && text(&again.stderr).contains("overwrites nothing"));

    let running = start(folder.path()).await;
    let second = output(program(folder.path()).args(["--config", "data.toml"])).await;
    assert!(!second.status.success());
    assert!(text(&second.stderr).contains("in use by process"), "{}", text(&second.stderr));
    assert!(terminate(running).await.success());
    assert!(terminate(start(folder.path()).await).await.success());
}

#[tokio::test]
async fn what_is_wrong_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.toml"), "data_dir = 'd'\nlissten = 'x'\n").unwrap();
    std::fs::write(folder.path().join("empty.toml"), "data_dir = 'd'\n").unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["--config", "none.toml"], "none.toml"),
        (&["--config", "bad.toml"], "lissten"),
        (&["check-config", "--config", "bad.toml"], "lissten"),
        (&["--config", "empty.toml"], "nla-control-plane init"),
        (&[], "data_dir is missing"),
    ];
    for (arguments, expected) in cases {
        let failed = output(program(folder.path()).args(arguments)).await;
        let said = text(&failed.stderr);
        assert_eq!(failed.status.code(), Some(1), "{arguments:?}");
        assert!(said.contains(expected) && !said.contains("backtrace"), "{arguments:?}: {said}");
    }
    let valid = output(program(folder.path()).args(["check-config", "--config", "empty.toml"])).await;
    assert!(valid.status.success());
    assert!(!folder.path().join("d").exists(), "nothing is made by looking");
}
