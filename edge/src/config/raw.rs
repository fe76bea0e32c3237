//! The configuration as written: every key optional, unknown keys refused.
//! Only [`super::Config::load`] calls this.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Uri;
use ipnet::IpNet;
use nla_domain::secret::Secret;
use nla_proto::startup::{self, RawLog};
use serde::Deserialize;

use super::{CERTIFICATE_LOOK_EVERY, Config, ConfigError, DEFAULT_LISTEN, DEFAULT_SHUTDOWN, Limits, Transport};
use crate::{
    audit::{QueueLimits, RESERVED_BYTES},
    identity::{IdentityConfig, JoinSource, Storage},
};

/// Values from flags and the environment.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `https://host:port` of the control plane.
    pub control_plane_url: Option<String>,
    /// `https://host:port` of its enrolment listener.
    pub enrolment_url: Option<String>,
    /// File with a join token.
    pub join_token_file: Option<PathBuf>,
    /// The join token itself; from the environment only, never a flag.
    pub join_token: Option<Secret>,
    /// Folder of the stored identity.
    pub state_dir: Option<PathBuf>,
    /// Where MCP clients connect.
    pub listen: Option<String>,
    /// Where clients reach this edge.
    pub public_url: Option<String>,
    /// `text` or `json`.
    pub log_format: Option<String>,
    /// Level or directives.
    pub log_level: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    control_plane: RawControlPlane,
    join_token_file: Option<PathBuf>,
    #[serde(skip)]
    join_token: Option<Secret>,
    identity: Option<String>,
    state_dir: Option<PathBuf>,
    listen: Option<String>,
    public_url: Option<String>,
    plain_http: bool,
    tls: RawTls,
    allowed_origins: Vec<String>,
    trusted_proxies: Vec<String>,
    limits: RawLimits,
    shutdown_seconds: Option<u64>,
    log: RawLog,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawControlPlane {
    url: Option<String>,
    enrolment_url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTls {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    connections: Option<u64>,
    streams_per_connection: Option<u64>,
    address_per_second: Option<u64>,
    address_burst: Option<u64>,
    audit_queue_events: Option<u64>,
    audit_queue_bytes: Option<u64>,
}

impl RawConfig {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut raw: Self = startup::read_config(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let paths = [&mut raw.join_token_file, &mut raw.state_dir, &mut raw.tls.certificate, &mut raw.tls.key];
        for file in paths.into_iter().flatten() {
            *file = folder.join(&*file);
        }
        Ok(raw)
    }

    pub(super) fn merge(self, over: Overrides) -> Self {
        Self {
            control_plane: RawControlPlane {
                url: over.control_plane_url.or(self.control_plane.url),
                enrolment_url: over.enrolment_url.or(self.control_plane.enrolment_url),
            },
            join_token_file: over.join_token_file.or(self.join_token_file),
            join_token: over.join_token,
            state_dir: over.state_dir.or(self.state_dir),
            listen: over.listen.or(self.listen),
            public_url: over.public_url.or(self.public_url),
            log: RawLog { format: over.log_format, level: over.log_level }.or(self.log),
            ..self
        }
    }

    pub(super) fn check(self) -> Result<Config, ConfigError> {
        let listen = match self.listen {
            None => DEFAULT_LISTEN,
            Some(text) => text.parse().map_err(|_| {
                ConfigError::value("listen", text, "an address and port, such as 127.0.0.1:8443 or [::]:8443")
            })?,
        };
        let control_plane_url = self.control_plane.url.ok_or(ConfigError::Missing {
            key: "control_plane.url",
            expected: "the control plane's address, such as https://127.0.0.1:7443",
        })?;
        let enrolment_url = self.control_plane.enrolment_url;
        if enrolment_url.is_none() && (self.join_token_file.is_some() || self.join_token.is_some()) {
            return Err(ConfigError::Missing {
                key: "control_plane.enrolment_url",
                expected: "a join token is taken there; such as https://127.0.0.1:7444",
            });
        }
        Ok(Config {
            identity: IdentityConfig {
                control_plane_url: service_url("control_plane.url", control_plane_url)?,
                enrolment_url: enrolment_url.map(|url| service_url("control_plane.enrolment_url", url)).transpose()?,
                join: JoinSource { file: self.join_token_file, text: self.join_token },
                storage: storage(self.identity, self.state_dir)?,
            },
            transport: transport(self.plain_http, self.tls, listen)?,
            listen,
            public_url: self.public_url.map(public_url).transpose()?,
            allowed_origins: self.allowed_origins.into_iter().map(origin).collect::<Result<_, _>>()?,
            trusted_proxies: self.trusted_proxies.into_iter().map(network).collect::<Result<_, _>>()?,
            audit: audit(&self.limits)?,
            limits: limits(&self.limits)?,
            shutdown_deadline: match self.shutdown_seconds {
                None => DEFAULT_SHUTDOWN,
                Some(seconds @ 1..=300) => Duration::from_secs(seconds),
                Some(seconds) => return Err(ConfigError::value("shutdown_seconds", seconds, "1 to 300")),
            },
            log: self.log.check()?,
        })
    }
}

fn service_url(key: &'static str, text: String) -> Result<String, ConfigError> {
    let fits = text.parse::<Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("https")
            && uri.port_u16().is_some()
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none()
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    });
    if fits { Ok(text) } else { Err(ConfigError::value(key, text, "https://host:port")) }
}

fn public_url(text: String) -> Result<String, ConfigError> {
    let fits = text.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("https" | "http")) && uri.host().is_some() && uri.query().is_none()
    });
    if fits {
        Ok(text)
    } else {
        Err(ConfigError::value("public_url", text, "the URL of the MCP endpoint, such as https://nla.example.com/mcp"))
    }
}

fn origin(text: String) -> Result<String, ConfigError> {
    let fits = text.parse::<Uri>().is_ok_and(|uri| {
        uri.scheme_str().is_some() && uri.host().is_some() && matches!(uri.path(), "" | "/") && !text.ends_with('/')
    });
    if fits {
        Ok(text)
    } else {
        Err(ConfigError::value("allowed_origins", text, "scheme://host or scheme://host:port, without a path"))
    }
}

fn network(text: String) -> Result<IpNet, ConfigError> {
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| ConfigError::value("trusted_proxies", &text, "an address or a range such as 10.0.0.0/8"))
}

fn storage(identity: Option<String>, state_dir: Option<PathBuf>) -> Result<Storage, ConfigError> {
    match (identity.as_deref(), state_dir) {
        (Some("memory"), Some(folder)) => Err(ConfigError::value(
            "state_dir",
            folder.display(),
            "nothing is kept with identity = \"memory\"; leave state_dir out, or set identity = \"file\"",
        )),
        (None | Some("memory"), None) => Ok(Storage::Memory),
        (None | Some("file"), Some(folder)) => Ok(Storage::File(folder)),
        (Some("file"), None) => Err(ConfigError::Missing {
            key: "state_dir",
            expected: "identity = \"file\" keeps the edge's key there; a folder that only the edge's user may enter",
        }),
        (Some(other), _) => Err(ConfigError::value("identity", other, "\"memory\" or \"file\"")),
    }
}

fn transport(plain_http: bool, tls: RawTls, listen: SocketAddr) -> Result<Transport, ConfigError> {
    match (plain_http, tls.certificate, tls.key) {
        (true, None, None) if listen.ip().is_loopback() => Ok(Transport::PlainHttp),
        (true, None, None) => Err(ConfigError::value(
            "plain_http",
            true,
            format!("only on a loopback address, and listen is {listen}; set tls.certificate and tls.key for others"),
        )),
        (true, ..) => {
            Err(ConfigError::value("plain_http", true, "either plain_http or tls.certificate and tls.key, not both"))
        }
        (false, Some(certificate), Some(key)) => {
            Ok(Transport::Https { certificate, key, look_every: CERTIFICATE_LOOK_EVERY })
        }
        (false, None, _) => Err(ConfigError::Missing {
            key: "tls.certificate",
            expected: "a PEM file with the certificate chain for MCP clients (or plain_http = true on a loopback address)",
        }),
        (false, Some(_), None) => Err(ConfigError::Missing {
            key: "tls.key",
            expected: "a PEM file with the certificate's private key, mode 0600",
        }),
    }
}

fn limits(raw: &RawLimits) -> Result<Limits, ConfigError> {
    let defaults = Limits::default();
    let limits = Limits {
        connections: number("limits.connections", raw.connections, defaults.connections, 100_000)?,
        streams_per_connection: number(
            "limits.streams_per_connection",
            raw.streams_per_connection,
            defaults.streams_per_connection,
            10_000,
        )?,
        address_per_second: number(
            "limits.address_per_second",
            raw.address_per_second,
            defaults.address_per_second,
            1_000_000,
        )?,
        address_burst: number("limits.address_burst", raw.address_burst, defaults.address_burst, 1_000_000)?,
    };
    Ok(limits)
}

fn audit(raw: &RawLimits) -> Result<QueueLimits, ConfigError> {
    const MAX_EVENTS: u64 = 10_000_000;
    /// Room for a few requests at once.
    const MIN_BYTES: u64 = 16 * RESERVED_BYTES as u64;
    const MAX_BYTES: u64 = 16 << 30;

    let defaults = QueueLimits::default();
    let bounded = |key, given: Option<u64>, default: usize, range: std::ops::RangeInclusive<u64>| match given {
        None => Ok(default),
        Some(number) if range.contains(&number) => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
        Some(number) => Err(ConfigError::value(key, number, format!("{} to {}", range.start(), range.end()))),
    };
    Ok(QueueLimits {
        max_events: bounded("limits.audit_queue_events", raw.audit_queue_events, defaults.max_events, 16..=MAX_EVENTS)?,
        max_bytes: bounded(
            "limits.audit_queue_bytes",
            raw.audit_queue_bytes,
            defaults.max_bytes,
            MIN_BYTES..=MAX_BYTES,
        )?,
    })
}

fn number(key: &'static str, given: Option<u64>, default: u32, most: u32) -> Result<u32, ConfigError> {
    match given {
        None => Ok(default),
        Some(given) => match u32::try_from(given) {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(ConfigError::value(key, given, format!("1 to {most}"))),
        },
    }
}
