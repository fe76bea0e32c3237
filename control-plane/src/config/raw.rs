//! The configuration as written: every key optional, unknown keys refused.
//! Only [`super::Config::load`] calls this.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use nla_domain::snapshot::MAX_STALENESS;
use nla_proto::startup::{self, RawLog};
use serde::Deserialize;

use super::{
    AllowedSources, BackupSchedule, Config, ConfigError, DEFAULT_BACKUP_EVERY, DEFAULT_BACKUPS_KEPT, Limits,
    StalenessBounds, default_key_file, staleness_range, tokens::RawTokens,
};

/// Values from flags and the environment.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Folder of the store.
    pub data_dir: Option<PathBuf>,
    /// File with the key-encryption key.
    pub key_file: Option<PathBuf>,
    /// Main listener.
    pub listen: Option<String>,
    /// Enrolment listener.
    pub enrolment_listen: Option<String>,
    /// Trust domain of all certificates.
    pub trust_domain: Option<String>,
    /// Names in the server's certificate.
    pub names: Option<Vec<String>>,
    /// `text` or `json`.
    pub log_format: Option<String>,
    /// Level or directives.
    pub log_level: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) data_dir: Option<PathBuf>,
    key_file: Option<PathBuf>,
    listen: Option<String>,
    enrolment_listen: Option<String>,
    names: Option<Vec<String>>,
    trust_domain: Option<String>,
    shutdown_seconds: Option<u64>,
    staleness: RawStaleness,
    credentials: RawCredentials,
    tokens: RawTokens,
    limits: RawLimits,
    backup: RawBackup,
    log: RawLog,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawStaleness {
    strict_seconds: Option<u64>,
    standard_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCredentials {
    exec: Vec<String>,
    exec_env: Vec<String>,
    files_under: Vec<PathBuf>,
    env: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    concurrent_calls: Option<u64>,
    connected_edges: Option<u64>,
    concurrent_snapshots: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawBackup {
    dir: Option<PathBuf>,
    every_hours: Option<u64>,
    keep: Option<u64>,
}

impl RawBackup {
    fn check(self) -> Result<Option<BackupSchedule>, ConfigError> {
        let Some(dir) = self.dir.filter(|dir| !dir.as_os_str().is_empty()) else {
            if self.every_hours.is_some() || self.keep.is_some() {
                let expected = "set it to a folder that only the service's user may enter";
                return Err(ConfigError::Missing { key: "backup.dir", expected });
            }
            return Ok(None);
        };
        let every = match self.every_hours {
            None => DEFAULT_BACKUP_EVERY,
            Some(hours @ 1..=720) => Duration::from_secs(hours * 3600),
            Some(hours) => return Err(ConfigError::value("backup.every_hours", hours, "1 to 720")),
        };
        let keep = match self.keep {
            None => DEFAULT_BACKUPS_KEPT,
            Some(keep @ 1..=1_000) => u32::try_from(keep).unwrap_or(DEFAULT_BACKUPS_KEPT),
            Some(keep) => return Err(ConfigError::value("backup.keep", keep, "1 to 1000")),
        };
        Ok(Some(BackupSchedule { dir, every, keep }))
    }
}

impl RawConfig {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut raw: Self = startup::read_config(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in [&mut raw.data_dir, &mut raw.key_file, &mut raw.backup.dir].into_iter().flatten() {
            // An empty path is refused later, and must not become the folder.
            if !file.as_os_str().is_empty() {
                *file = folder.join(&*file);
            }
        }
        Ok(raw)
    }

    pub(super) fn merge(self, over: Overrides) -> Self {
        Self {
            data_dir: over.data_dir.or(self.data_dir),
            key_file: over.key_file.or(self.key_file),
            listen: over.listen.or(self.listen),
            enrolment_listen: over.enrolment_listen.or(self.enrolment_listen),
            trust_domain: over.trust_domain.or(self.trust_domain),
            names: over.names.or(self.names),
            log: RawLog { format: over.log_format, level: over.log_level }.or(self.log),
            ..self
        }
    }

    pub(super) fn check(self) -> Result<Config, ConfigError> {
        let data_dir = self.data_dir.filter(|path| !path.as_os_str().is_empty()).ok_or(ConfigError::Missing {
            key: "data_dir",
            expected: "set it in the configuration file, as --data-dir or as NLA_DATA_DIR",
        })?;
        let defaults = Config::new(data_dir);
        let bounds = StalenessBounds::default();
        let strict = staleness("staleness.strict_seconds", self.staleness.strict_seconds, bounds.strict)?;
        let standard = staleness("staleness.standard_seconds", self.staleness.standard_seconds, bounds.standard)?;
        if strict > standard {
            return Err(ConfigError::value(
                "staleness.strict_seconds",
                strict.as_secs(),
                "at most staleness.standard_seconds",
            ));
        }
        let limits = Limits::default();
        Ok(Config {
            key_file: self.key_file.unwrap_or_else(|| default_key_file(&defaults.data_dir)),
            listen: address("listen", self.listen, defaults.listen)?,
            enrolment_listen: address("enrolment_listen", self.enrolment_listen, defaults.enrolment_listen)?,
            names: names(self.names, defaults.names)?,
            trust_domain: trust_domain(self.trust_domain, defaults.trust_domain)?,
            staleness: StalenessBounds { strict, standard },
            credentials: sources(self.credentials)?,
            tokens: self.tokens.check()?,
            limits: Limits {
                concurrent_calls: count(
                    "limits.concurrent_calls",
                    self.limits.concurrent_calls,
                    limits.concurrent_calls,
                )?,
                connected_edges: count("limits.connected_edges", self.limits.connected_edges, limits.connected_edges)?,
                concurrent_snapshots: count(
                    "limits.concurrent_snapshots",
                    self.limits.concurrent_snapshots,
                    limits.concurrent_snapshots,
                )?,
            },
            shutdown_deadline: match self.shutdown_seconds {
                None => defaults.shutdown_deadline,
                Some(seconds @ 0..=300) => Duration::from_secs(seconds),
                Some(seconds) => return Err(ConfigError::value("shutdown_seconds", seconds, "0 to 300")),
            },
            backup: self.backup.check()?,
            log: self.log.check()?,
            data_dir: defaults.data_dir,
        })
    }
}

fn address(key: &'static str, text: Option<String>, default: SocketAddr) -> Result<SocketAddr, ConfigError> {
    let Some(text) = text else { return Ok(default) };
    text.parse().map_err(|_| ConfigError::value(key, text, "an address and port, such as 127.0.0.1:7443 or [::]:7443"))
}

fn names(names: Option<Vec<String>>, default: Vec<String>) -> Result<Vec<String>, ConfigError> {
    let Some(names) = names else { return Ok(default) };
    for name in &names {
        check_name(name).map_err(|()| ConfigError::value("names", name, "host names and addresses without port"))?;
    }
    Ok(names)
}

/// A DNS name or an IP address, as certificates hold them.
fn check_name(name: &str) -> Result<(), ()> {
    rustls_pki_types::ServerName::try_from(name).map(drop).map_err(drop)
}

fn trust_domain(text: Option<String>, default: String) -> Result<String, ConfigError> {
    let Some(text) = text else { return Ok(default) };
    check_trust_domain(&text).map_err(|()| {
        ConfigError::value("trust_domain", &text, "1 to 255 of a-z, 0-9, '.', '-' and '_' (SPIFFE-ID, section 2.1)")
    })?;
    Ok(text)
}

/// SPIFFE-ID, section 2.1.
fn check_trust_domain(text: &str) -> Result<(), ()> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    if text.is_empty() || text.len() > 255 || !text.bytes().all(fits) { Err(()) } else { Ok(()) }
}

fn staleness(key: &'static str, seconds: Option<u64>, default: Duration) -> Result<Duration, ConfigError> {
    match seconds {
        None => Ok(default),
        Some(seconds) if (1..=MAX_STALENESS.as_secs()).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        Some(seconds) => Err(ConfigError::value(key, seconds, staleness_range())),
    }
}

/// Paths that mean one place, wherever the program was started.
fn sources(raw: RawCredentials) -> Result<AllowedSources, ConfigError> {
    let below_root = |path: &Path| path.is_absolute() && path.components().count() >= 2;
    // Compared as text, so that there must be one way to write it.
    let plain = |line: &String| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ") == *line;
    let program = |line: &String| below_root(Path::new(line.split(' ').next().unwrap_or_default()));
    if let Some(line) = raw.exec.iter().find(|line| !program(line) || !plain(line)) {
        let wanted = "an absolute path below / and the program's arguments, between single spaces";
        return Err(ConfigError::value("credentials.exec", line, wanted));
    }
    if let Some(path) = raw.files_under.iter().find(|path| !below_root(path)) {
        return Err(ConfigError::value("credentials.files_under", path.display(), "absolute paths below /"));
    }
    for (key, names) in [("credentials.env", &raw.env), ("credentials.exec_env", &raw.exec_env)] {
        if let Some(name) = names.iter().find(|name| name.is_empty() || name.starts_with("NLA_") || name.contains('='))
        {
            return Err(ConfigError::value(key, name, "names of variables that are not NLA's own"));
        }
    }
    Ok(AllowedSources { exec: raw.exec, exec_env: raw.exec_env, files_under: raw.files_under, env: raw.env })
}

fn count(key: &'static str, number: Option<u64>, default: u32) -> Result<u32, ConfigError> {
    match number {
        None => Ok(default),
        Some(number) => match u32::try_from(number) {
            Ok(number @ 1..=100_000) => Ok(number),
            _ => Err(ConfigError::value(key, number, "1 to 100000")),
        },
    }
}
