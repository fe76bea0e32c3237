//! The control plane's own certificate: issued by its own authority at each
//! start, kept in memory only, replaced at half of its life while both
//! listeners serve.

use std::{convert::Infallible, sync::Arc, time::Duration};

use nla_domain::clock::{Timestamp, WallClock};
use nla_proto::tls::{Identity, Roots, server::ServerTls};

use super::StartError;
use crate::pki::Authority;

/// Long enough to sit out a weekend with a broken clock, short enough that a
/// copy of the process's memory is soon worthless.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often the calendar is looked at. It, not a timer, decides, because a
/// timer stands still while the machine sleeps.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The certificate on both listeners.
#[derive(Debug)]
pub(super) struct ServerCertificate {
    authority: Arc<Authority>,
    names: Vec<String>,
    clock: Arc<dyn WallClock>,
    clients: Roots,
    mutual: ServerTls,
    server_only: ServerTls,
    renew_at: Timestamp,
}

impl ServerCertificate {
    pub(super) fn issue(
        authority: Arc<Authority>,
        names: Vec<String>,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, StartError> {
        let clients = Roots::from_pem(authority.certificate_pem().as_bytes())?;
        let (identity, renew_at) = identity(&authority, &names, clock.now())?;
        let mutual = ServerTls::mutual(&identity, &clients)?;
        let server_only = ServerTls::server_only(&identity)?;
        Ok(Self { authority, names, clock, clients, mutual, server_only, renew_at })
    }

    /// For the main listener.
    pub(super) fn mutual(&self) -> ServerTls {
        self.mutual.clone()
    }

    /// For the enrolment listener.
    pub(super) fn server_only(&self) -> ServerTls {
        self.server_only.clone()
    }

    /// Replaces the certificate whenever half of its life is over, for ever.
    /// A failure is logged and tried again; there is half a life left.
    pub(super) async fn renew(mut self) -> Infallible {
        let mut ticks = tokio::time::interval(CHECK_INTERVAL);
        loop {
            ticks.tick().await;
            if self.clock.now() >= self.renew_at {
                match self.replace() {
                    Ok(()) => tracing::info!(next = %self.renew_at, "server certificate renewed"),
                    Err(error) => tracing::error!(%error, "cannot renew the server certificate"),
                }
            }
        }
    }

    fn replace(&mut self) -> Result<(), StartError> {
        let (identity, renew_at) = identity(&self.authority, &self.names, self.clock.now())?;
        self.mutual.replace(&identity, Some(&self.clients))?;
        self.server_only.replace(&identity, None)?;
        self.renew_at = renew_at;
        Ok(())
    }
}

fn identity(authority: &Authority, names: &[String], now: Timestamp) -> Result<(Identity, Timestamp), StartError> {
    let issued = authority.issue_control_plane(names, now, LIFETIME).map_err(StartError::Authority)?;
    let identity = Identity::from_pem(issued.chain_pem.as_bytes(), issued.key_pem.expose().as_bytes())?;
    Ok((identity, now.plus(LIFETIME / 2)))
}
