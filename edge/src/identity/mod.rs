//! Who this edge is towards the control plane: its key, its certificate and
//! whom it trusts. `app` enrols it before anything else talks to the control
//! plane; `renew` keeps it fresh. Invariants: the private key is made here and
//! never leaves this process except into its own 0600 file; a join token is
//! used once and never shown.

mod enrol;
mod enrolled;
mod renew;
mod token;
mod trouble;

use std::{path::PathBuf, sync::Arc, time::Duration};

use nla_domain::{
    clock::{Timestamp, WallClock},
    id::EdgeId,
    secret::Secret,
};
use nla_proto::{
    failure::Failure,
    files::FileError,
    tls::{TlsError, client::ClientTls},
};
use tokio::sync::watch;

pub use self::{enrolled::Enrolled, renew::Renewal, trouble::Trouble};
use crate::retry::Backoff;

/// How often the wall clock and the join token's file are looked at. Sleeping
/// until a date itself would miss suspends and corrections of the clock.
const LOOK_EVERY: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(5) };

/// Where the identity lives between starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// Nowhere: each start needs a new join token.
    Memory,
    /// In `identity.json` in this folder, mode 0600.
    File(PathBuf),
}

/// Where a join token comes from.
#[derive(Debug, Clone, Default)]
pub struct JoinSource {
    /// A private file; looked at again while the edge runs, so that it can
    /// join again without a restart.
    pub file: Option<PathBuf>,
    /// The token itself, from the environment.
    pub text: Option<Secret>,
}

/// How the edge gets and keeps its identity.
#[derive(Debug, Clone)]
pub struct IdentityConfig {
    /// `https://host:port` of the control plane.
    pub control_plane_url: String,
    /// `https://host:port` of its enrolment listener.
    pub enrolment_url: Option<String>,
    /// Where the join token comes from.
    pub join: JoinSource,
    /// Where the identity lives.
    pub storage: Storage,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Neither a stored identity nor a join token.
    #[error(
        "this edge has no identity: make a join token with `nlactl edge join-token NAME` and put it into the file that \
         `join_token_file` names"
    )]
    NoToken,
    /// There is a token and no address to take it to.
    #[error("there is a join token, but `control_plane.enrolment_url` is not set")]
    NoEnrolmentUrl,
    /// The join token's file is there and cannot be read.
    #[error("the join token's file cannot be read")]
    TokenFile(#[source] FileError),
    /// The file or the variable holds something else.
    #[error("the join token cannot be used")]
    Token(#[source] nla_domain::join::MalformedJoinToken),
    /// A file could not be read or written.
    #[error("the edge's identity cannot be read or kept")]
    File(#[from] FileError),
    /// The stored identity is damaged.
    #[error("{} is damaged: remove it and join again with a new join token", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// In what way.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The control plane said no.
    #[error(
        "the control plane refused to enrol this edge; a join token works once and for ten minutes: make a new one"
    )]
    Refused(#[source] Failure),
    /// The control plane could not be asked.
    #[error("the control plane cannot be reached for enrolment")]
    Unreachable(#[source] Failure),
    /// What came back is no certificate for our key.
    #[error("the control plane answered with a certificate that cannot be used")]
    Certificate(#[from] TlsError),
    /// Key or request could not be made.
    #[error("a key and a certificate request cannot be made")]
    Key(#[from] rcgen::Error),
    /// The certificate has ended.
    #[error(
        "this edge's certificate has expired at {at}: make a join token with `nlactl edge join-token {edge}` and put it \
         into the file that `join_token_file` names; it is taken without a restart"
    )]
    Expired {
        /// Whose.
        edge: EdgeId,
        /// When.
        at: Timestamp,
    },
}

impl IdentityError {
    /// True when trying again can help without anybody's doing.
    fn is_temporary(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// True when a new join token can help.
    fn needs_token(&self) -> bool {
        match self {
            Self::NoToken
            | Self::Expired { .. }
            | Self::Token(_)
            | Self::TokenFile(_)
            | Self::Refused(_)
            | Self::Certificate(_) => true,
            Self::NoEnrolmentUrl | Self::File(_) | Self::Damaged { .. } | Self::Unreachable(_) | Self::Key(_) => false,
        }
    }
}

/// The edge's identity, as the rest of the process uses it.
#[derive(Debug)]
pub struct Identity {
    config: IdentityConfig,
    wall: Arc<dyn WallClock>,
    enrolled: Enrolled,
    tls: ClientTls,
    changes: watch::Sender<u64>,
    /// SHA-256 of tokens that were refused since the start.
    refused: Vec<[u8; 32]>,
    trouble: Trouble,
}

impl Identity {
    /// Loads the stored identity or joins with a join token; waits while the
    /// control plane cannot be reached, and, where there is a file for it, until
    /// an operator has brought a join token; `trouble` says so meanwhile. A new
    /// join token wins over a stored identity, so that an operator can enrol an
    /// edge anew.
    ///
    /// # Errors
    /// [`IdentityError`] where the edge has to be started anew.
    pub async fn obtain(
        config: IdentityConfig,
        wall: Arc<dyn WallClock>,
        trouble: Trouble,
    ) -> Result<Self, IdentityError> {
        let stored = enrolled::load(&config.storage)?;
        let mut refused = Vec::new();
        loop {
            match attempt(&config, wall.now(), stored.as_ref(), &mut refused).await {
                Ok(enrolled) => return Self::with(config, wall, enrolled, refused, trouble),
                Err(error) if error.needs_token() && config.join.file.is_some() => {
                    trouble.say(&error);
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn with(
        config: IdentityConfig,
        wall: Arc<dyn WallClock>,
        enrolled: Enrolled,
        refused: Vec<[u8; 32]>,
        trouble: Trouble,
    ) -> Result<Self, IdentityError> {
        let (identity, roots) = enrolled.tls()?;
        let tls = ClientTls::new(&identity, &roots)?;
        tracing::info!(edge = %enrolled.edge_id(), certificate_until = %enrolled.not_after(), "enrolled");
        trouble.end();
        Ok(Self { config, wall, enrolled, tls, changes: watch::Sender::new(0), refused, trouble })
    }

    /// For channels to the control plane; follows renewals.
    pub fn tls(&self) -> ClientTls {
        self.tls.clone()
    }

    /// Changes each time that the certificate was renewed or the edge has
    /// joined again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The identity as it is now.
    pub fn enrolled(&self) -> &Enrolled {
        &self.enrolled
    }
}

/// The identity that can be had now. A token that was not accepted is added to
/// `refused` and not tried again.
async fn attempt(
    config: &IdentityConfig,
    now: Timestamp,
    stored: Option<&Enrolled>,
    refused: &mut Vec<[u8; 32]>,
) -> Result<Enrolled, IdentityError> {
    let spent = stored.and_then(Enrolled::join_token_hash);
    let valid = stored.filter(|stored| stored.not_after() > now);
    let read = token::read(&config.join);
    let error =
        match read.map(|token| token.filter(|token| Some(token.hash) != spent && !refused.contains(&token.hash))) {
            Ok(Some(token)) => match join(config, &token).await {
                Ok(enrolled) => return Ok(enrolled),
                Err(error) => {
                    refused.push(token.hash);
                    error
                }
            },
            Ok(None) => match (valid, stored) {
                (Some(valid), _) => return Ok(valid.clone()),
                (None, Some(ended)) => {
                    return Err(IdentityError::Expired { edge: ended.edge_id().clone(), at: ended.not_after() });
                }
                (None, None) => return Err(IdentityError::NoToken),
            },
            Err(error) => error,
        };
    let Some(valid) = valid.filter(|_| error.needs_token()) else { return Err(error) };
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    tracing::warn!(%error, cause, "the join token was not accepted; the stored identity stays in use");
    Ok(valid.clone())
}

/// Joins, waiting while the control plane cannot be reached.
async fn join(config: &IdentityConfig, token: &token::Token) -> Result<Enrolled, IdentityError> {
    let url = config.enrolment_url.as_deref().ok_or(IdentityError::NoEnrolmentUrl)?;
    let mut backoff = Backoff::default();
    loop {
        match enrol::join(url, token).await {
            Ok(enrolled) => {
                enrolled::store(&config.storage, &enrolled)?;
                return Ok(enrolled);
            }
            Err(error) if error.is_temporary() => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "trying again");
                backoff.wait().await;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
