//! Log lines on standard error. Secrets cannot get into them: the types that
//! carry one show it as `[redacted]`.

use std::{io, str::FromStr};

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use super::ConfigError;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Form of the lines.
    pub format: LogFormat,
    /// A level, or directives such as `info,nla_edge=debug`.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "info".to_owned() }
    }
}

/// `[log]` as written in a configuration file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLog {
    /// `text` or `json`.
    pub format: Option<String>,
    /// Level or directives.
    pub level: Option<String>,
}

impl RawLog {
    /// These values, and for those that are absent the values of `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { format: self.format.or(other.format), level: self.level.or(other.level) }
    }

    /// Checks format and level; absent ones get their defaults.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn check(self) -> Result<LogConfig, ConfigError> {
        let mut log = LogConfig::default();
        if let Some(format) = self.format {
            log.format = format.parse().map_err(|()| ConfigError::value("log.format", format, "text or json"))?;
        }
        if let Some(level) = self.level {
            let parsed = EnvFilter::builder().parse(&level);
            parsed.map_err(|error| {
                let expected = format!("error, warn, info, debug, trace, or directives ({error})");
                ConfigError::value("log.level", &level, expected)
            })?;
            log.level = level;
        }
        Ok(log)
    }
}

/// Starts logging for the whole process.
///
/// # Errors
/// When logging was started before, or the level is none, which
/// [`RawLog::check`] has excluded.
pub fn start_logging(config: &LogConfig) -> io::Result<()> {
    let filter = EnvFilter::builder().parse(&config.level).map_err(io::Error::other)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    let started = match config.format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(io::Error::other)
}
