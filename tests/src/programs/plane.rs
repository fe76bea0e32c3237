//! A control plane in a folder, made by `init` and run by its real program.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nla_sandbox::port::free_port;

use super::{
    binaries::program,
    process::{Ended, Running, until},
};

#[derive(Debug)]
pub struct Plane {
    folder: tempfile::TempDir,
    pub port: u16,
    pub enrolment_port: u16,
    running: Option<Running>,
}

impl Plane {
    /// Initialises one; it does not run yet.
    pub fn init() -> (Self, Ended) {
        let folder = tempfile::tempdir().unwrap();
        let (port, enrolment_port) = (free_port().unwrap(), free_port().unwrap());
        let config = format!(
            "data_dir = \"data\"\nlisten = \"127.0.0.1:{port}\"\nenrolment_listen = \"127.0.0.1:{enrolment_port}\"\nshutdown_seconds = 5\n"
        );
        fs::write(folder.path().join("control-plane.toml"), config).unwrap();
        let made = program("nla-control-plane")
            .args(["init", "--data-dir", "data", "--config", "control-plane.toml", "--operator", "ada"])
            .current_dir(folder.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let made = Ended {
            code: made.status.code().unwrap_or(-1),
            out: String::from_utf8(made.stdout).unwrap(),
            err: String::from_utf8(made.stderr).unwrap(),
        };
        (Self { folder, port, enrolment_port, running: None }, made.expect(0))
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn operator_dir(&self) -> PathBuf {
        self.folder().join("data-operator")
    }

    /// The program, not started, with further flags.
    pub fn command(&self, flags: &[&str]) -> std::process::Command {
        let mut command = program("nla-control-plane");
        command.args(["--config", "control-plane.toml"]).args(flags).current_dir(self.folder());
        command
    }

    /// Starts it and waits until `nlactl` reaches it.
    pub fn start(&mut self) {
        let mut running = Running::start(&mut self.command(&[]), self.folder(), "control-plane");
        until("the start of the control plane", || {
            assert!(running.is_running(), "{}", running.log());
            Ended::of(&mut self.nlactl(&["system", "status"])).code == 0
        });
        self.running = Some(running);
    }

    pub fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("it was started")
    }

    /// Ends it as `kill` does.
    pub fn stop(&mut self) {
        self.running.take().expect("it was started").stop();
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("it was started");
        running.signal("KILL");
        running.wait();
    }

    pub fn nlactl(&self, words: &[&str]) -> std::process::Command {
        let mut command = program("nlactl");
        command.args(words).env("NLA_CONFIG_DIR", self.operator_dir()).current_dir(self.folder());
        command
    }

    /// Runs `nlactl`, which must succeed; what it printed.
    pub fn run(&self, words: &[&str]) -> String {
        Ended::of(&mut self.nlactl(words)).expect(0).out
    }
}
