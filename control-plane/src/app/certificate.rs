//! The control plane's own certificate: issued by its own authority at each
//! start, kept in memory only, replaced at half of its life, and when another
//! authority is to sign it or to be trusted, while both listeners serve.

use std::{convert::Infallible, sync::Arc, time::Duration};

use nla_domain::clock::{Timestamp, WallClock};
use nla_proto::tls::{Identity, Roots, server::ServerTls};

use super::StartError;
use crate::{
    pki::{Authority, slots},
    store::{State, Store},
};

/// Long enough to sit out a weekend with a broken clock, short enough that a
/// copy of the process's memory is soon worthless.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often the calendar is looked at. It, not a timer, decides, because a
/// timer stands still while the machine sleeps.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The certificate on both listeners.
#[derive(Debug)]
pub(super) struct ServerCertificate {
    store: Store,
    names: Vec<String>,
    clock: Arc<dyn WallClock>,
    held: Held,
    mutual: ServerTls,
    server_only: ServerTls,
}

/// What the listeners show and whom they trust.
#[derive(Debug)]
struct Held {
    identity: Identity,
    clients: Roots,
    bundle_pem: String,
    issuer: Vec<u8>,
    renew_at: Timestamp,
}

impl Held {
    fn issue(state: &State, names: &[String], now: Timestamp) -> Result<Self, StartError> {
        let authority = slots::serving(state).map_err(StartError::Authority)?;
        let bundle_pem = slots::bundle_pem(state);
        let clients = Roots::from_pem(bundle_pem.as_bytes())?;
        let (identity, renew_at) = identity(&authority, names, now)?;
        Ok(Self { identity, clients, bundle_pem, issuer: authority.certificate_der().to_vec(), renew_at })
    }

    /// Whether the state still wants this.
    fn fits(&self, state: &State) -> bool {
        let issuer = slots::record(state, slots::serving_slot(state)).map(|record| &record.certificate_der);
        issuer == Some(&self.issuer) && slots::bundle_pem(state) == self.bundle_pem
    }
}

impl ServerCertificate {
    pub(super) fn issue(store: Store, names: Vec<String>, clock: Arc<dyn WallClock>) -> Result<Self, StartError> {
        let held = Held::issue(&store.state(), &names, clock.now())?;
        let mutual = ServerTls::mutual(&held.identity, &held.clients)?;
        let server_only = ServerTls::server_only(&held.identity)?;
        Ok(Self { store, names, clock, held, mutual, server_only })
    }

    /// For the main listener.
    pub(super) fn mutual(&self) -> ServerTls {
        self.mutual.clone()
    }

    /// For the enrolment listener.
    pub(super) fn server_only(&self) -> ServerTls {
        self.server_only.clone()
    }

    /// Replaces the certificate whenever half of its life is over or the
    /// authorities have changed, for ever. A failure is logged and tried again;
    /// there is half a life left.
    pub(super) async fn renew(mut self) -> Infallible {
        let mut ticks = tokio::time::interval(CHECK_INTERVAL);
        let mut revisions = self.store.revisions();
        let mut follows = true;
        loop {
            let due = tokio::select! {
                _ = ticks.tick() => self.clock.now() >= self.held.renew_at,
                // An error means that the store is closed and nothing changes any more.
                changed = revisions.changed(), if follows => {
                    follows = changed.is_ok();
                    false
                }
            };
            let state = self.store.state();
            if due || !self.held.fits(&state) {
                match self.replace(&state) {
                    Ok(()) => tracing::info!(next = %self.held.renew_at, "server certificate renewed"),
                    Err(error) => tracing::error!(%error, "cannot renew the server certificate"),
                }
            }
        }
    }

    fn replace(&mut self, state: &State) -> Result<(), StartError> {
        let held = Held::issue(state, &self.names, self.clock.now())?;
        self.mutual.replace(&held.identity, Some(&held.clients))?;
        self.server_only.replace(&held.identity, None)?;
        self.held = held;
        Ok(())
    }
}

fn identity(authority: &Authority, names: &[String], now: Timestamp) -> Result<(Identity, Timestamp), StartError> {
    let issued = authority.issue_control_plane(names, now, LIFETIME).map_err(StartError::Authority)?;
    let identity = Identity::from_pem(issued.chain_pem.as_bytes(), issued.key_pem.expose().as_bytes())?;
    Ok((identity, now.plus(LIFETIME / 2)))
}
