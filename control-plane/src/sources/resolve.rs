//! One look at a source. What it gives is a password, or JSON with `password`
//! and, if it likes, `username` and `expires_at` (RFC 3339).

use std::{path::Path, process::Stdio, time::Duration};

use nla_domain::{clock::Timestamp, secret::Secret};
use nla_proto::files;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};
use zeroize::Zeroizing;

use super::Source;

/// Programs that ask a remote vault take a second or two.
const EXEC_TIMEOUT: Duration = Duration::from_secs(10);
/// A network's file system can hang.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
pub(super) const STUCK: &str = "the file could not be read within 20 s";
/// What hardly any program does without.
const BASE_ENV: [&str; 3] = ["PATH", "HOME", "LANG"];
const MAX_OUTPUT_BYTES: u64 = 64 << 10;

/// What a source gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) username: Option<String>,
    pub(crate) password: Secret,
    pub(crate) expires_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Document {
    username: Option<String>,
    password: String,
    expires_at: Option<String>,
}

/// Reads or runs the source.
///
/// # Errors
/// Why there is no value; never anything of what it gave.
pub(crate) async fn resolve(source: &Source) -> Result<Resolved, String> {
    match source {
        Source::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || files::read_private(&path));
            let read = timeout(READ_TIMEOUT, read).await.map_err(|_| STUCK.to_owned())?;
            let bytes = read.map_err(|_| "the file cannot be read".to_owned())?.map_err(|error| with_cause(&error))?;
            parse(&bytes)
        }
        Source::Env(name) => {
            let value = std::env::var(name).map_err(|_| format!("the variable {name} is not set, or is not UTF-8"))?;
            parse(Zeroizing::new(value).as_bytes())
        }
        Source::Exec { program, arguments, env } => parse(&run(program, arguments, env).await?),
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Ends the program and whatever it has started.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody of it may be left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn run(program: &Path, arguments: &[String], env: &[String]) -> Result<Zeroizing<Vec<u8>>, String> {
    let name = program.display();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // Our own settings and secrets are not the program's affair.
    command.env_clear();
    for key in BASE_ENV.into_iter().chain(env.iter().map(String::as_str)) {
        if let Some(value) = std::env::var_os(key) {
            command.env(key, value);
        }
    }
    let mut child = command
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{name} cannot be started ({})", error.kind()))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let _group = Group(group);
    let stdout = child.stdout.take().ok_or_else(|| format!("{name} has no output"))?;
    let mut output = Zeroizing::new(Vec::with_capacity(4_096));
    let work = async {
        let read = stdout.take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut output).await;
        read.map_err(|error| format!("what {name} prints cannot be read ({})", error.kind()))?;
        if output.len() as u64 > MAX_OUTPUT_BYTES {
            return Err(format!("{name} prints more than {MAX_OUTPUT_BYTES} bytes"));
        }
        let status = child.wait().await.map_err(|error| format!("{name} cannot be waited for ({})", error.kind()))?;
        if status.success() { Ok(()) } else { Err(format!("{name} ended with {status}")) }
    };
    match timeout(EXEC_TIMEOUT, work).await {
        Ok(ended) => ended?,
        Err(_) => return Err(format!("{name} did not end within {} s", EXEC_TIMEOUT.as_secs())),
    }
    Ok(output)
}

fn parse(bytes: &[u8]) -> Result<Resolved, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the value is not valid UTF-8".to_owned())?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    if text.trim_start().starts_with('{') {
        // serde's own message can quote the document.
        let document: Document =
            serde_json::from_str(text).map_err(|_| "the value is not JSON with a password in it".to_owned())?;
        let expires_at = document.expires_at.as_deref().map(Timestamp::parse_rfc3339).transpose();
        return checked(Resolved {
            username: document.username,
            password: Secret::new(document.password),
            expires_at: expires_at.map_err(|_| "expires_at is not a time in RFC 3339".to_owned())?,
        });
    }
    checked(Resolved { username: None, password: Secret::new(text), expires_at: None })
}

fn checked(resolved: Resolved) -> Result<Resolved, String> {
    let password = resolved.password.expose();
    if password.is_empty() || password.len() > 1_000 || password.chars().any(char::is_control) {
        return Err("the value is not one line of 1 to 1,000 bytes".to_owned());
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_documents() {
        let at = "2027-01-01T00:00:00Z";
        let document = format!("{{\"username\":\"u\",\"password\":\"hunter2\",\"expires_at\":\"{at}\",\"more\":1}}\n");
        let resolved = parse(document.as_bytes()).unwrap();
        assert_eq!((resolved.username.as_deref(), resolved.password.expose()), (Some("u"), "hunter2"));
        assert_eq!(resolved.expires_at.unwrap().to_string(), at);
        assert_eq!(parse(b"hunter2\r\n").unwrap().password.expose(), "hunter2");
        let garbage: [&[u8]; 7] = [
            b"",
            b"\n",
            b"hunter2\nmore",
            b"\xffhunter2",
            b"{\"pass\":\"hunter2\"}",
            b"{hunter2",
            b"{\"password\":\"hunter2\",\"expires_at\":\"soon\"}",
        ];
        for bytes in garbage {
            let error = parse(bytes).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(parse(&[b'x'; 1_001]).is_err());
    }

    fn shell(script: &str, env: &[&str]) -> Source {
        let env = env.iter().map(|&name| name.to_owned()).collect();
        Source::Exec { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()], env }
    }

    #[tokio::test]
    async fn programs_get_the_variables_that_they_are_given() {
        // Set by whatever runs the tests.
        let script = "echo \"${PATH:+path}${CARGO_MANIFEST_DIR:+cargo}\"";
        for (env, expected) in [(vec![], "path"), (vec!["CARGO_MANIFEST_DIR", "NLA_NOT_SET"], "pathcargo")] {
            assert_eq!(resolve(&shell(script, &env)).await.unwrap().password.expose(), expected);
        }
    }

    #[tokio::test]
    async fn programs_are_bounded() {
        let shell = |script: &str| shell(script, &[]);
        assert_eq!(resolve(&shell("echo hunter2")).await.unwrap().password.expose(), "hunter2");
        for (script, reason) in [
            ("echo hunter2; exit 3", "exit status: 3"),
            ("head -c 70000 /dev/zero | tr '\\0' x", "prints more"),
            ("printf ''", "one line"),
        ] {
            let error = resolve(&shell(script)).await.unwrap_err();
            assert!(error.contains(reason) && !error.contains("hunter2"), "{script}: {error}");
        }
        let missing = resolve(&Source::Exec { program: "/no/such/program".into(), arguments: vec![], env: vec![] })
            .await
            .unwrap_err();
        assert!(missing.contains("cannot be started"), "{missing}");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_all_that_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; wait", pid.display());
        let error = resolve(&shell(&script, &[])).await.unwrap_err();
        assert!(error.contains("did not end within 10 s"), "{error}");
        let child = std::fs::read_to_string(&pid).unwrap();
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
            // A zombie waits for whoever adopted it.
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        let began = std::time::Instant::now();
        while !gone() {
            assert!(began.elapsed() < Duration::from_secs(10), "its child is left");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
