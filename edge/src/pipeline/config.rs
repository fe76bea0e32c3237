//! What the pipeline is told at its start. `app` fills it in from the edge's
//! configuration.

use std::{sync::Arc, time::Duration};

use nla_domain::{clock::WallClock, id::EdgeId};

use crate::{
    clock::{BootClock, MonotonicClock},
    pg::{ConnectionSettings, InspectorSettings, PoolSettings},
};

/// A name, a TCP and a TLS handshake and a login fit into it on any line that
/// is worth querying over.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A call that waits longer for a connection is better told so.
pub const DEFAULT_POOL_WAIT: Duration = Duration::from_secs(2);
/// Longer than an agent thinks between two queries.
pub const DEFAULT_POOL_IDLE: Duration = Duration::from_secs(60);

/// A change of the schema that makes a harmless name dangerous counts after
/// this time at the latest; one that adds names counts at once.
pub const DEFAULT_CATALOG_REFRESH: Duration = Duration::from_secs(30);

/// Settings of a [`super::Pipeline`].
#[derive(Debug, Clone)]
pub struct PipelineConfig {
    /// This edge's name, shown in `application_name`.
    pub edge: EdgeId,
    /// Says whether tokens have expired.
    pub clock: Arc<dyn WallClock>,
    /// URL of the protected resource metadata (RFC 9728), if there is any.
    pub resource_metadata: Option<String>,
    /// From the name's look-up to the login.
    pub connect_timeout: Duration,
    /// How long a call waits for one of its token's connections.
    pub pool_wait: Duration,
    /// How long an unused connection is kept.
    pub pool_idle: Duration,
    /// Between two looks at what a database in use holds and its role may do.
    pub catalog_refresh: Duration,
    /// Tells the age of what is known of databases.
    pub boot_clock: Arc<dyn MonotonicClock>,
}

impl PipelineConfig {
    /// The defaults, for an edge of that name.
    pub fn new(edge: EdgeId, clock: Arc<dyn WallClock>) -> Self {
        Self {
            edge,
            clock,
            resource_metadata: None,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            pool_wait: DEFAULT_POOL_WAIT,
            pool_idle: DEFAULT_POOL_IDLE,
            catalog_refresh: DEFAULT_CATALOG_REFRESH,
            boot_clock: Arc::new(BootClock),
        }
    }

    fn connection(&self, prefix: &str) -> ConnectionSettings {
        ConnectionSettings {
            application_name: format!("{prefix}/{}", self.edge),
            connect_timeout: self.connect_timeout,
        }
    }

    pub(super) fn inspector_settings(&self) -> InspectorSettings {
        InspectorSettings {
            connection: self.connection("nla-catalog"),
            refresh: self.catalog_refresh,
            idle_timeout: self.pool_idle,
            clock: Arc::clone(&self.boot_clock),
        }
    }

    pub(super) fn pool_settings(&self) -> PoolSettings {
        PoolSettings { connection: self.connection("nla"), wait_timeout: self.pool_wait, idle_timeout: self.pool_idle }
    }
}
