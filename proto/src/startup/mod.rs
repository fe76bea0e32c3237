//! How a server of NLA starts: its configuration file ([`read_config`]) and its
//! log ([`LogConfig`], [`start_logging`]). Control plane and edge have keys of
//! their own; how a file is read and a value refused is the same for both.

mod log;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use self::log::{LogConfig, LogFormat, RawLog, start_logging};
use crate::files::{self, FileError};

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file cannot be used")]
    Read(#[source] FileError),
    /// The file's ending tells no format.
    #[error("{}: a configuration file ends in .toml, .yaml or .yml", .0.display())]
    Format(PathBuf),
    /// The file is not TOML or YAML, or has a key that is not known.
    #[error("{}: {reason}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What the parser says, with the key and line.
        reason: String,
    },
    /// A value that cannot be used.
    #[error("{key}: {value:?} is not accepted: {expected}")]
    Value {
        /// Which key.
        key: &'static str,
        /// The value as written.
        value: String,
        /// What would be accepted.
        expected: String,
    },
    /// A key without which nothing can start.
    #[error("{key} is missing: {expected}")]
    Missing {
        /// Which key.
        key: &'static str,
        /// What to write, and where.
        expected: &'static str,
    },
}

impl ConfigError {
    /// A value that cannot be used.
    pub fn value(key: &'static str, value: impl ToString, expected: impl Into<String>) -> Self {
        Self::Value { key, value: value.to_string(), expected: expected.into() }
    }
}

/// How a configuration file is written; its ending says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.yaml` or `.yml`
    Yaml,
}

impl Format {
    /// The format of the file of that name.
    ///
    /// # Errors
    /// [`ConfigError::Format`] when the ending is another one.
    pub fn of(path: &Path) -> Result<Self, ConfigError> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Ok(Self::Toml),
            Some("yaml" | "yml") => Ok(Self::Yaml),
            _ => Err(ConfigError::Format(path.to_owned())),
        }
    }
}

/// Reads a configuration file. An empty one has only defaults.
///
/// # Errors
/// [`ConfigError`] names the file, and the key and line where one is at fault.
pub fn read_config<T: DeserializeOwned + Default>(path: &Path) -> Result<T, ConfigError> {
    let bytes = files::read_public(path).map_err(ConfigError::Read)?;
    let syntax = |reason: String| ConfigError::Syntax { path: path.to_owned(), reason };
    let text = std::str::from_utf8(&bytes).map_err(|error| syntax(error.to_string()))?;
    match Format::of(path)? {
        Format::Toml => toml::from_str(text).map_err(|error| syntax(error.to_string())),
        Format::Yaml if text.trim().is_empty() => Ok(T::default()),
        Format::Yaml => {
            let document = serde_yaml_ng::Deserializer::from_str(text);
            serde_path_to_error::deserialize(document).map_err(|error| syntax(error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Example {
        port: Option<u16>,
        log: RawLog,
    }

    #[test]
    fn files() {
        let folder = tempfile::tempdir().unwrap();
        let cases = [
            ("a.toml", "port = 1", Ok(Some(1))),
            ("a.yaml", "port: 1", Ok(Some(1))),
            ("a.yml", "", Ok(None)),
            ("a.toml", "", Ok(None)),
            ("a.toml", "ports = 1", Err("ports")),
            ("a.yaml", "ports: 1", Err("ports")),
            ("a.yaml", "port: many", Err("port")),
            ("a.yaml", "log: {format: 1, level: []}", Err("log.level")),
            ("a.toml", "port = ", Err("line 1")),
            ("a.json", "{}", Err(".toml, .yaml or .yml")),
        ];
        for (name, text, expected) in cases {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let read = read_config::<Example>(&path).map(|example| example.port).map_err(|error| error.to_string());
            match expected {
                Ok(port) => assert_eq!(read, Ok(port), "{name}: {text}"),
                Err(words) => assert!(read.as_ref().is_err_and(|error| error.contains(words)), "{read:?}"),
            }
        }
        assert!(matches!(read_config::<Example>(&folder.path().join("none.toml")), Err(ConfigError::Read(_))));
    }
}
