//! Log lines on standard error. Secrets cannot get into them: the types that
//! carry one show it as `[redacted]`.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Starts logging for the whole process.
///
/// # Errors
/// When logging was started before, or the level is none (which
/// [`crate::config::Config::load`] has checked).
pub fn start(config: &LogConfig) -> io::Result<()> {
    let filter = EnvFilter::builder().parse(&config.level).map_err(io::Error::other)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    let started = match config.format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(io::Error::other)
}
