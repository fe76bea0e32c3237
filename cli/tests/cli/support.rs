//! Runs the real `nlactl` in an environment of its own. Used by all tests of
//! this folder.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::process::{Child, Command};

/// No command of a test takes longer unless it hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// The result as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The same, once the exit code is the expected one.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

/// `nlactl` with that configuration folder and nothing else of our environment.
pub(crate) fn command(config_dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nlactl"));
    command.args(words).env_clear().env("NLA_CONFIG_DIR", config_dir).env("HOME", config_dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn run(config_dir: &Path, words: &[&str]) -> Ended {
    ended(command(config_dir, words).spawn().unwrap()).await
}

/// Runs a command that reads `input` from stdin.
pub(crate) async fn run_with_input(config_dir: &Path, words: &[&str], input: &str) -> Ended {
    use tokio::io::AsyncWriteExt as _;
    let mut child = command(config_dir, words).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that refuses its arguments may end before it reads.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    ended(child).await
}

/// Waits for the end of a command that runs.
pub(crate) async fn ended(child: Child) -> Ended {
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("the command hangs").unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
