//! Credentials that stand elsewhere: in a file, in this program's environment,
//! or in what a program prints. Resolved here, in the control plane, so that an
//! edge needs no way to the place. [`resolve`] reads one, [`Refresher`] keeps
//! them fresh.
//!
//! Invariants: only what the configuration allows is read or run; no error holds
//! anything of a value; a value that fails never takes the place of one that
//! works.

mod refresh;
mod resolve;

use std::path::{Path, PathBuf};

pub(crate) use self::{
    refresh::Refresher,
    resolve::{Resolved, resolve},
};

/// What operators may name as a source. Nothing, unless the configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedSources {
    /// Programs with their arguments, between single spaces.
    pub exec: Vec<String>,
    /// Environment variables of ours that programs get as well.
    pub exec_env: Vec<String>,
    /// Folders whose files may be read.
    pub files_under: Vec<PathBuf>,
    /// Environment variables, by name.
    pub env: Vec<String>,
}

/// A source, read from its text and allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    File(PathBuf),
    Env(String),
    Exec {
        program: PathBuf,
        arguments: Vec<String>,
        /// Variables of ours that it gets.
        env: Vec<String>,
    },
}

/// Longest text of a source.
const MAX_SOURCE_BYTES: usize = 2_000;

impl Source {
    /// Reads `file:`, `env:` or `exec:`. A program's arguments stand between
    /// spaces; there is no shell and no quoting.
    ///
    /// # Errors
    /// What is wrong with it, or that the configuration does not allow it.
    pub(crate) fn parse(text: &str, allowed: &AllowedSources) -> Result<Self, String> {
        if text.len() > MAX_SOURCE_BYTES || text.chars().any(char::is_control) {
            return Err(format!("must be at most {MAX_SOURCE_BYTES} bytes without control characters"));
        }
        let (kind, rest) = text.split_once(':').ok_or("must begin with file:, env: or exec:")?;
        match kind {
            "file" => file(Path::new(rest), allowed),
            "env" if allowed.env.iter().any(|name| name == rest) => Ok(Self::Env(rest.to_owned())),
            "env" => Err(not_allowed("env", "the variable's name")),
            "exec" => {
                let mut words = rest.split_ascii_whitespace();
                let program = PathBuf::from(words.next().unwrap_or_default());
                if !program.is_absolute() {
                    return Err("exec: needs the absolute path of a program".to_owned());
                }
                // Whole: an argument can make a program do anything.
                if !allowed.exec.iter().any(|line| line == rest) {
                    return Err(not_allowed("exec", "the whole command line"));
                }
                Ok(Self::Exec { program, arguments: words.map(str::to_owned).collect(), env: allowed.exec_env.clone() })
            }
            _ => Err("must begin with file:, env: or exec:".to_owned()),
        }
    }
}

/// A path that leads into an allowed folder as it is written. Links in it are
/// followed when it is read: secrets are mounted as links.
fn file(path: &Path, allowed: &AllowedSources) -> Result<Source, String> {
    let plain =
        path.components().all(|part| matches!(part, std::path::Component::RootDir | std::path::Component::Normal(_)));
    if !path.is_absolute() || !plain {
        return Err("file: needs an absolute path without . and ..".to_owned());
    }
    if !allowed.files_under.iter().any(|folder| path.starts_with(folder) && path != folder) {
        return Err(not_allowed("files_under", "its folder"));
    }
    Ok(Source::File(path.to_owned()))
}

fn not_allowed(key: &str, what: &str) -> String {
    format!("is not allowed: add {what} to credentials.{key} in the control plane's configuration")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_allowed_is_a_source() {
        let allowed = AllowedSources {
            exec: vec!["/usr/bin/vault read shop".into()],
            exec_env: vec![],
            files_under: vec!["/run/secrets".into()],
            env: vec!["SHOP".into()],
        };
        let cases = [
            ("file:/run/secrets/shop", None),
            ("file:/run/secrets/a/b", None),
            ("file:/run/secrets", Some("files_under")),
            ("file:/run/secrets-of-others/x", Some("files_under")),
            ("file:/run/secrets/../shadow", Some("without . and ..")),
            ("file:secrets", Some("absolute")),
            ("env:SHOP", None),
            ("env:HOME", Some("credentials.env")),
            ("exec:/usr/bin/vault read shop", None),
            ("exec:/usr/bin/vault", Some("credentials.exec")),
            ("exec:/usr/bin/vault read shop2", Some("credentials.exec")),
            ("exec:/usr/bin/vault read shop more", Some("credentials.exec")),
            ("exec:/usr/bin/vault2", Some("credentials.exec")),
            ("exec:/bin/sh -c /usr/bin/vault", Some("credentials.exec")),
            ("exec:vault", Some("absolute")),
            ("exec:", Some("absolute")),
            ("http://x", Some("file:, env: or exec:")),
            ("shop", Some("file:, env: or exec:")),
        ];
        for (text, refused) in cases {
            match (Source::parse(text, &allowed), refused) {
                (Ok(_), None) => {}
                (Err(error), Some(part)) => assert!(error.contains(part), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
            assert!(Source::parse(text, &AllowedSources::default()).is_err(), "{text} by default");
        }
    }
}
