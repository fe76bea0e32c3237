//! Follows the control plane: one stream at a time, reconnected for as long as
//! the process lives. `app` starts it; what it learns goes into the
//! `SnapshotHolder`. Invariants: only whole, verified states are published;
//! every error path waits with full jitter; after a ban nothing is held and
//! nothing is asked for any more.

mod item;
mod session;
mod stamps;
mod state;
mod tombstones;

use std::{convert::Infallible, fmt, sync::Arc};

use futures_util::future::BoxFuture;
use nla_domain::{clock::Timestamp, credential::Credential, id::DatabaseName};
use nla_proto::{failure::Failure, tls::client::ClientTls, v1};
use tokio::sync::watch;

pub use self::state::StateError;
use self::{session::Session, state::State};
use crate::{audit::AuditQueue, clock::FleetClock, pipeline::TokenUse, retry::Backoff, snapshot::SnapshotHolder};

/// Tries a database with the credential that the edge holds, or with the given
/// one, which is not kept.
pub type Probe = Arc<dyn Fn(DatabaseName, Option<Credential>) -> BoxFuture<'static, v1::ProbeResult> + Send + Sync>;
/// Calls since the start, and calls that run.
pub type Usage = Arc<dyn Fn() -> (u64, u32) + Send + Sync>;
/// Tokens that were used since the last report, at most so many.
pub type TokenUses = Arc<dyn Fn(usize) -> Vec<TokenUse> + Send + Sync>;

/// Trusts authorities, PEM, and keeps them; a reason when it cannot.
pub type Trust = Arc<dyn Fn(String) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// When the certificate that MCP clients see ends; `None` without one.
pub type WebCertificate = Arc<dyn Fn() -> Option<Timestamp> + Send + Sync>;

/// Cuts what the published state no longer allows.
pub type Cut = Arc<dyn Fn() -> CutCalls + Send + Sync>;

/// Calls that were cut.
pub struct CutCalls {
    /// How many ran.
    pub calls: u32,
    /// Ready when the last of them has ended.
    pub ended: BoxFuture<'static, ()>,
}

impl fmt::Debug for CutCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CutCalls").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// What the control plane may ask of the rest of the edge.
#[derive(Clone)]
pub struct Hooks {
    /// Called with each new state before it is acknowledged. When it returns,
    /// no call is admitted any more that the state forbids.
    pub cut: Cut,
    /// For `database test`.
    pub probe: Probe,
    /// For `edge list`.
    pub usage: Usage,
    /// For `token list`.
    pub token_uses: TokenUses,
    /// For the authorities that come with the settings.
    pub trust: Trust,
    /// For `edge list` and its warnings.
    pub web_certificate: WebCertificate,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

/// Who this process is, as it introduces itself.
#[derive(Debug, Clone)]
pub struct Introduction {
    /// Random per start of the process.
    pub boot_id: String,
    /// Where clients reach this edge.
    pub mcp_url: String,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The control plane cannot be reached, or refused the call.
    #[error("the control plane's stream failed")]
    Stream(#[source] Failure),
    /// It ended the stream.
    #[error("the control plane ended the stream")]
    Ended,
    /// It is silent although a heartbeat is due each second.
    #[error("nothing came from the control plane for {}s", session::SILENCE.as_secs())]
    Silent,
    /// It takes nothing any more.
    #[error("the control plane does not read what this edge sends")]
    Stuck,
    /// What it sent cannot be used; everything is asked for again.
    #[error("the state that was sent cannot be used")]
    State(#[from] StateError),
    /// Its heartbeat names another state; everything is asked for again.
    #[error("the control plane is at revision {theirs} and this edge at {ours}, or their digests differ")]
    Diverged {
        /// Revision of the heartbeat.
        theirs: u64,
        /// What the edge holds.
        ours: u64,
    },
    /// The identity was replaced; the next stream shows the new one.
    #[error("the edge has a new certificate")]
    NewIdentity,
    /// The control plane has banned this edge.
    #[error("the control plane has banned this edge: {0}")]
    Banned(String),
}

impl SyncError {
    /// True when what the edge holds is in doubt.
    fn asks_for_all(&self) -> bool {
        matches!(self, Self::State(_) | Self::Diverged { .. })
    }
}

/// The task that follows the control plane.
#[derive(Debug)]
pub struct SyncClient {
    /// `https://host:port` of the control plane.
    pub url: String,
    /// This edge's identity and whom it trusts.
    pub tls: ClientTls,
    /// Raised each time that the identity was replaced.
    pub identities: watch::Receiver<u64>,
    /// Where the state goes.
    pub holder: SnapshotHolder,
    /// Its length is reported.
    pub audit: AuditQueue,
    /// What the control plane may ask for.
    pub hooks: Hooks,
    /// How the edge introduces itself.
    pub introduction: Introduction,
    /// Ages tombstones, and is set by heartbeats.
    pub wall: FleetClock,
}

impl SyncClient {
    /// Runs until it is dropped.
    pub async fn run(mut self) -> Infallible {
        let mut state = State::new(Arc::new(self.wall.clone()));
        let mut backoff = Backoff::default();
        let mut ask_for_all = false;
        loop {
            let mut session = Session::new(&mut self, &mut state, ask_for_all);
            let error = session.run().await;
            let confirmed = session.confirmed();
            if confirmed {
                backoff.reset();
            }
            if let SyncError::Banned(reason) = error {
                state.clear();
                self.holder.ban(reason.clone());
                tracing::error!(
                    reason,
                    "this edge is banned; it has forgotten everything and refuses all calls until it is restarted"
                );
                return std::future::pending().await;
            }
            // Doubt lasts until a whole state has been taken.
            ask_for_all = error.asks_for_all() || (ask_for_all && !confirmed);
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "lost the control plane, trying again");
            tokio::select! {
                () = backoff.wait() => {}
                // It may be what was missing. The sender lives as long as the
                // edge's identity does.
                Ok(()) = self.identities.changed() => backoff.reset(),
            }
        }
    }
}

#[cfg(test)]
mod tests;
