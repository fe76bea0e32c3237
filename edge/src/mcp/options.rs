//! Limits and policies of the MCP layer; the edge's configuration fills them in.
//!
//! Invariant: every limit has a value. None can be switched off.

use std::time::Duration;

use tokio_util::task::TaskTracker;

/// SQL text and arguments are small; the bound keeps a caller from filling memory.
pub const DEFAULT_MAX_BODY_BYTES: usize = 1024 * 1024;
/// A client on a bad line still sends 1 MiB in this time.
pub const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Above the longest statement timeout that a role may have, so that the pipeline's own limit speaks first.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(120);
/// Enough to cancel a statement and record the outcome.
pub const DEFAULT_CANCEL_GRACE: Duration = Duration::from_secs(3);
/// Below the idle timeouts of common proxies (30 to 60 s).
pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Clients of 2025-03-26 batch a handful of list calls at most.
pub const DEFAULT_MAX_BATCH: usize = 20;

#[derive(Clone, Debug)]
pub struct Options {
    /// Where the endpoint is mounted.
    pub path: String,
    /// Browser origins that may call, as `scheme://host[:port]`. Requests without `Origin` may always.
    pub allowed_origins: Vec<String>,
    pub max_body_bytes: usize,
    pub body_timeout: Duration,
    /// From the arrival of a request to the end of its calls.
    pub deadline: Duration,
    /// How long a cancelled call may clean up.
    pub cancel_grace: Duration,
    /// Silence on an event stream after which a comment is sent.
    pub keep_alive: Duration,
    pub max_batch: usize,
    /// Revisions before 2026-07-28 say that a lost connection should not cancel its call. Nobody can
    /// fetch the answer of such a call from a server without sessions, so that cancelling is an option.
    pub cancel_legacy_on_disconnect: bool,
    /// Where calls whose client has gone come to their end; shutdown waits on it.
    pub tasks: TaskTracker,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            path: "/mcp".into(),
            allowed_origins: Vec::new(),
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            body_timeout: DEFAULT_BODY_TIMEOUT,
            deadline: DEFAULT_DEADLINE,
            cancel_grace: DEFAULT_CANCEL_GRACE,
            keep_alive: DEFAULT_KEEP_ALIVE,
            max_batch: DEFAULT_MAX_BATCH,
            cancel_legacy_on_disconnect: false,
            tasks: TaskTracker::new(),
        }
    }
}
