//! Where a password comes from: a private file, stdin, or a prompt without
//! echo. Never an argument, which others on the machine can read.

use std::{
    io::{self, IsTerminal as _, Read},
    path::PathBuf,
};

use clap::Args;
use nla_domain::secret::Secret;
use nla_proto::files;
use zeroize::Zeroizing;

use crate::exit::CliError;

/// Longer than any password that PostgreSQL accepts.
const MAX_BYTES: u64 = 4_096;

/// The options that name a password's source; without one it is asked for.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct PasswordSource {
    /// Read the password from this file, which only you may read (mode 0600)
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,
    /// The server asks for no password
    #[arg(long)]
    no_password: bool,
}

impl PasswordSource {
    /// The password.
    ///
    /// # Errors
    /// [`CliError`] when it cannot be had without showing it to others.
    pub(crate) fn read(&self, prompt: &str) -> Result<Secret, CliError> {
        if self.no_password {
            return Ok(Secret::default());
        }
        if let Some(path) = &self.password_file {
            let bytes =
                files::read_private(path).map_err(|source| CliError::local("cannot use the password file", source))?;
            return trim(&bytes);
        }
        if self.password_stdin {
            if io::stdin().is_terminal() {
                return Err(CliError::usage("--password-stdin would show what you type on this terminal")
                    .with_next("leave it out to be asked without echo, or pipe the password in"));
            }
            let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
            let read = io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes);
            read.map_err(|source| CliError::local("cannot read the password from stdin", source))?;
            return trim(&bytes);
        }
        if !io::stdin().is_terminal() {
            return Err(CliError::usage("the password is needed and there is no terminal to ask on")
                .with_next("use --password-file FILE or --password-stdin"));
        }
        let typed = rpassword::prompt_password(prompt)
            .map_err(|source| CliError::local("cannot ask for the password", source))?;
        trim(Zeroizing::new(typed).as_bytes())
    }
}

/// Drops the one line break that editors and `echo` add.
fn trim(bytes: &[u8]) -> Result<Secret, CliError> {
    let text = std::str::from_utf8(bytes).map_err(|_| CliError::usage("the password is not valid UTF-8"))?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() {
        return Err(CliError::usage("the password is empty").with_next("use --no-password if the server asks for none"));
    }
    if text.len() as u64 > MAX_BYTES {
        return Err(CliError::usage(format!("the password is longer than {MAX_BYTES} bytes")));
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn one_line_break_is_not_part_of_a_password() {
        let cases: [(&[u8], Option<&str>); 8] = [
            (b"pw", Some("pw")),
            (b"pw\n", Some("pw")),
            (b"pw\r\n", Some("pw")),
            (b"pw\n\n", Some("pw\n")),
            (b" pw ", Some(" pw ")),
            (b"", None),
            (b"\n", None),
            (b"\xff", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(trim(bytes).ok().as_ref().map(Secret::expose), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_password_file_must_be_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pw");
        fs::write(&path, "hunter2\n").unwrap();
        let source = PasswordSource { password_file: Some(path.clone()), password_stdin: false, no_password: false };
        for (mode, accepted) in [(0o600, true), (0o644, false), (0o640, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = source.read("");
            assert_eq!(read.is_ok(), accepted, "{mode:o}");
            if let Err(error) = read {
                let text = crate::exit::message(&error);
                assert!(text.contains("chmod 600") && !text.contains("hunter2"), "{text}");
            }
        }
    }
}
