//! The edge's configuration, checked. `raw` reads file, environment and
//! flags; this module owns the checked form, the defaults and the words of a
//! refusal. `main` loads it; `app` builds from it. Invariant: whatever is in a
//! [`Config`] can be started, as far as that can be known without starting it.

mod raw;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;

pub use nla_proto::startup::{ConfigError, LogConfig, LogFormat};

pub use self::raw::Overrides;
use crate::{audit::QueueLimits, identity::IdentityConfig};

/// Where MCP clients connect; beside the control plane's 7443.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);
/// Connections at one time; each idle one costs some 20 KiB.
const DEFAULT_CONNECTIONS: u32 = 4_096;
/// Requests at one time on one HTTP/2 connection: a client library's own pool.
const DEFAULT_STREAMS: u32 = 128;
/// Per client address and second, before authentication. An office behind one
/// address stays below it; guessing and floods do not.
const DEFAULT_ADDRESS_RATE: u32 = 500;
/// Requests that may come at once from an address.
const DEFAULT_ADDRESS_BURST: u32 = 1_000;
/// Time that running calls get when the program stops; orchestrators kill
/// after 30 s.
const DEFAULT_SHUTDOWN: Duration = Duration::from_secs(20);

/// How often the files of the certificate for MCP clients are read. A new one
/// is taken at the second look that finds it, so within some 20 s, which is
/// soon for something that is renewed weeks ahead.
pub const CERTIFICATE_LOOK_EVERY: Duration = Duration::from_secs(10);

/// What the edge needs to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// How it gets and keeps its identity, and where the control plane is.
    pub identity: IdentityConfig,
    /// Where MCP clients connect.
    pub listen: SocketAddr,
    /// HTTPS, or plain HTTP on loopback.
    pub transport: Transport,
    /// Where clients reach this edge, if that is not `listen`.
    pub public_url: Option<String>,
    /// Browser origins that may call.
    pub allowed_origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Bounds on load.
    pub limits: Limits,
    /// Bounds of the audit queue.
    pub audit: QueueLimits,
    /// Time that running calls get when the program stops.
    pub shutdown_deadline: Duration,
    /// What is logged and how.
    pub log: LogConfig,
}

/// How MCP clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// HTTPS with this certificate chain and private key (PEM files).
    Https {
        /// The chain, own certificate first.
        certificate: PathBuf,
        /// Readable by its owner only.
        key: PathBuf,
        /// How often both are read to find a new certificate.
        look_every: Duration,
    },
    /// Only accepted where `listen` is a loopback address.
    PlainHttp,
}

/// Bounds on load, so that too much of it is refused instead of collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one time.
    pub connections: u32,
    /// Requests at one time on one HTTP/2 connection.
    pub streams_per_connection: u32,
    /// Requests per second from one address, before authentication.
    pub address_per_second: u32,
    /// Requests that may come at once from one address.
    pub address_burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: DEFAULT_CONNECTIONS,
            streams_per_connection: DEFAULT_STREAMS,
            address_per_second: DEFAULT_ADDRESS_RATE,
            address_burst: DEFAULT_ADDRESS_BURST,
        }
    }
}

impl Config {
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
}

#[cfg(test)]
mod tests;
