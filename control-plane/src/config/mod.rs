//! The program's configuration, checked. `raw` reads the file; this module
//! owns the defaults, the accepted ranges and the words in which a value is
//! refused. Flags win over the environment, that over the file, that over the
//! defaults.

mod raw;
mod tokens;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use nla_domain::snapshot::{DEFAULT_STANDARD_STALENESS, DEFAULT_STRICT_STALENESS, MAX_STALENESS};

pub use nla_proto::startup::{ConfigError, LogConfig, LogFormat};
pub use raw::Overrides;
pub use tokens::TokenPolicy;

/// Port of the main listener; nothing well known uses it.
pub const DEFAULT_PORT: u16 = 7443;
/// Port of the enrolment listener, beside the main one.
pub const DEFAULT_ENROLMENT_PORT: u16 = 7444;
/// Trust domain when none is asked for: `.local` cannot be registered.
pub const DEFAULT_TRUST_DOMAIN: &str = "nla.local";
/// Time that running calls get to end; orchestrators kill after 30 s.
const DEFAULT_SHUTDOWN: Duration = Duration::from_secs(10);
/// Calls in work at one time; each holds a few messages of bounded size.
const DEFAULT_CONCURRENT_CALLS: u32 = 512;
/// Edges that may hold a stream at one time.
const DEFAULT_CONNECTED_EDGES: u32 = 2_000;
/// Whole snapshots in preparation at one time. A fleet that comes back without
/// state would otherwise make the control plane hold one each.
const DEFAULT_CONCURRENT_SNAPSHOTS: u32 = 8;

/// What the control plane needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the store.
    pub data_dir: PathBuf,
    /// File with the key-encryption key.
    pub key_file: PathBuf,
    /// Main listener: mTLS only.
    pub listen: SocketAddr,
    /// Listener on which edges join.
    pub enrolment_listen: SocketAddr,
    /// DNS names and addresses in the server's certificate, besides its SPIFFE id.
    pub names: Vec<String>,
    /// Trust domain of all certificates; fixed when the data folder is made.
    pub trust_domain: String,
    /// How long tokens outlive an edge's contact.
    pub staleness: StalenessBounds,
    /// How long tokens may live.
    pub tokens: TokenPolicy,
    /// Bounds on load.
    pub limits: Limits,
    /// Time that running calls get when the program stops.
    pub shutdown_deadline: Duration,
    /// What is logged and how.
    pub log: LogConfig,
}

/// Bounds after which an edge that has lost contact refuses tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StalenessBounds {
    /// For `strict` tokens.
    pub strict: Duration,
    /// For `standard` tokens.
    pub standard: Duration,
}

impl Default for StalenessBounds {
    fn default() -> Self {
        Self { strict: DEFAULT_STRICT_STALENESS, standard: DEFAULT_STANDARD_STALENESS }
    }
}

/// Bounds on load, so that too much of it is refused instead of collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls in work.
    pub concurrent_calls: u32,
    /// Edges with an open stream.
    pub connected_edges: u32,
    /// Whole snapshots in preparation.
    pub concurrent_snapshots: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrent_calls: DEFAULT_CONCURRENT_CALLS,
            connected_edges: DEFAULT_CONNECTED_EDGES,
            concurrent_snapshots: DEFAULT_CONCURRENT_SNAPSHOTS,
        }
    }
}

impl Config {
    /// The defaults for a data folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            key_file: default_key_file(&data_dir),
            data_dir,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            enrolment_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_ENROLMENT_PORT)),
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            trust_domain: DEFAULT_TRUST_DOMAIN.to_owned(),
            staleness: StalenessBounds::default(),
            tokens: TokenPolicy::default(),
            limits: Limits::default(),
            shutdown_deadline: DEFAULT_SHUTDOWN,
            log: LogConfig::default(),
        }
    }

    /// Reads a file, if one is given, and lays `overrides` over it. Relative
    /// paths in the file start at the file's folder.
    ///
    /// # Errors
    /// [`ConfigError`] names the file or the key.
    pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigError> {
        let raw = match file {
            Some(path) => raw::RawConfig::read(path)?,
            None => raw::RawConfig::default(),
        };
        raw.merge(overrides).check()
    }

    /// The data folder that a file names, if it names one.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read.
    pub(crate) fn data_dir_of(file: &Path) -> Result<Option<PathBuf>, ConfigError> {
        Ok(raw::RawConfig::read(file)?.data_dir)
    }
}

/// The key lies beside the data folder, never in it: a copy of the folder
/// alone opens nothing.
pub fn default_key_file(data_dir: &Path) -> PathBuf {
    beside(data_dir, ".kek")
}

/// The configuration file of a data folder, unless another one is named.
pub fn default_config_file(data_dir: &Path) -> PathBuf {
    beside(data_dir, ".toml")
}

/// `<data_dir><suffix>` in the same parent folder.
pub(crate) fn beside(data_dir: &Path, suffix: &str) -> PathBuf {
    // Components drop a trailing slash, which would put the file inside.
    let mut path: std::ffi::OsString = data_dir.components().as_path().into();
    path.push(suffix);
    path.into()
}

/// Longest accepted staleness bound, as words for a refusal.
fn staleness_range() -> String {
    format!("1 to {} seconds", MAX_STALENESS.as_secs())
}

#[cfg(test)]
mod tests;
