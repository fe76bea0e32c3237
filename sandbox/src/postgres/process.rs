//! The server process: started, watched and ended so that none is left over,
//! however the program that started it ends.
//!
//! Three guards: [`Process::end`] (an orderly stop), `Drop` (the same, at once),
//! and a parent-death signal by `setpriv` for the case that nothing of ours runs
//! any more. That signal is tied to the *thread* that started the process, so a
//! thread of its own starts it and stays until it has ended.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::account::Account;
use super::cluster::Layout;
use super::error::PostgresError;
use super::programs::Programs;

/// How a server is asked to end, in PostgreSQL's words.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shutdown {
    /// Ends sessions, writes a checkpoint.
    Fast,
    /// Ends at once; the next start recovers from the log.
    Immediate,
}

/// How long each request to end is given before a harsher one follows. A fast
/// shutdown writes a checkpoint, which a slow disk may hold up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running (or already ended) server.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    ended: Arc<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    status: Mutex<Option<ExitStatus>>,
    changed: Condvar,
}

impl Process {
    /// Starts the server; it is not yet ready when this returns.
    ///
    /// # Errors
    /// The program cannot be run or its log cannot be opened.
    pub(crate) fn start(layout: &Layout, programs: &Programs, account: &Account) -> Result<Self, PostgresError> {
        let program = programs.path("postgres");
        let log = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&layout.log);
        let log = log.map_err(PostgresError::file("write", &layout.log))?;
        let copy = log.try_clone().map_err(PostgresError::file("write", &layout.log))?;
        let mut command = bound_to_parent(account, &program, &layout.folder);
        command.arg("-D").arg(&layout.data).stdin(Stdio::null()).stdout(copy).stderr(log);
        // Ctrl-C in a terminal reaches the whole process group. The server must
        // not stop by it: whoever uses it stops first and then ends it.
        command.process_group(0);

        let ended = Arc::new(Ended::default());
        let (report, started) = mpsc::channel();
        let watched = Arc::clone(&ended);
        let failed = |source: io::Error| PostgresError::Run { program: program.clone(), source };
        thread::Builder::new()
            .name("postgres-parent".to_owned())
            .spawn(move || watch(command, &report, &watched))
            .map_err(failed)?;
        let pid = started.recv().map_err(io::Error::other).and_then(|started| started).map_err(failed)?;
        Ok(Self { pid, ended })
    }

    /// The exit status once the process has ended.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        *self.ended.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Process id of the server.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends the server and waits until it is gone. Blocks.
    pub(crate) fn end(&self, how: Shutdown) {
        let signals: &[&str] = match how {
            Shutdown::Fast => &["INT", "QUIT", "KILL"],
            Shutdown::Immediate => &["QUIT", "KILL"],
        };
        for signal in signals {
            // The parent thread has not reaped the process while there is no
            // status, so the id cannot belong to anybody else yet.
            if self.status().is_some() {
                return;
            }
            send(signal, self.pid);
            if self.wait(PATIENCE) {
                return;
            }
        }
        tracing::error!(pid = self.pid, "PostgreSQL did not end");
    }

    fn wait(&self, patience: Duration) -> bool {
        let status = self.ended.status.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, _) = self
            .ended
            .changed
            .wait_timeout_while(status, patience, |status| status.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        status.is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(Shutdown::Immediate);
    }
}

fn watch(mut command: Command, report: &mpsc::Sender<io::Result<u32>>, ended: &Ended) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            // The receiver waits for exactly this message.
            let _ = report.send(Err(error));
            return;
        }
    };
    let _ = report.send(Ok(child.id()));
    match child.wait() {
        Ok(status) => *ended.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status),
        Err(error) => tracing::error!(%error, "cannot wait for PostgreSQL"),
    }
    ended.changed.notify_all();
}

/// A command that gets SIGINT (a fast shutdown) when its parent thread dies,
/// where the system has util-linux's `setpriv`; else the plain command.
fn bound_to_parent(account: &Account, program: &Path, folder: &Path) -> Command {
    let setpriv = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|path| path.join("setpriv"))
        .find(|path| path.is_file() && understands_pdeathsig(path));
    match setpriv {
        Some(setpriv) => {
            let mut command = account.command(&setpriv, folder);
            command.args(["--pdeathsig", "INT", "--"]).arg(program);
            command
        }
        None => account.command(program, folder),
    }
}

/// BusyBox has a `setpriv` without this option.
fn understands_pdeathsig(setpriv: &PathBuf) -> bool {
    Command::new(setpriv)
        .args(["--pdeathsig", "INT", "--", "/bin/sh", "-c", "exit 0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The shell's `kill` exists everywhere, even where the program does not, and
/// the standard library can send nothing but SIGKILL.
fn send(signal: &str, pid: u32) {
    let sent = Command::new("/bin/sh")
        .args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    if let Err(error) = sent {
        tracing::error!(%error, pid, signal, "cannot signal PostgreSQL");
    }
}
