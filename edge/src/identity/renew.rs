//! Keeps the identity fresh: renews at half of the certificate's life and
//! joins again when a new join token appears. One task, started by `app`.
//! Invariant: the old identity stays in use until the new one has been stored
//! and taken over whole; whoever holds a connection is told, to open another one
//! before the old certificate ends.

use std::{convert::Infallible, time::Duration};

use nla_domain::clock::Timestamp;
use tokio::time::Instant;

use super::{Enrolled, Identity, IdentityError, LOOK_EVERY, enrol, join, token};
use crate::{
    retry::{Backoff, random_fraction},
    snapshot::SnapshotHolder,
};

/// When another authority signs, a fleet renews within this time and not at once.
const SPREAD: Duration = Duration::from_secs(10);
/// A failing renewal is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(600);

/// The task that renews.
#[derive(Debug)]
pub struct Renewal {
    identity: Identity,
    holder: SnapshotHolder,
    due: Timestamp,
    reissue: Reissue,
    /// Not before this instant, after a failure.
    pause_until: Option<Instant>,
    backoff: Backoff,
    last_logged: Option<Instant>,
}

impl Renewal {
    /// Renews `identity` for as long as `holder` is not banned.
    pub fn new(identity: Identity, holder: SnapshotHolder) -> Self {
        let due = due(&identity.enrolled);
        let reissue = Reissue::default();
        Self { identity, holder, due, reissue, pause_until: None, backoff: Backoff::default(), last_logged: None }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) -> Infallible {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.holder.is_banned() {
                return std::future::pending().await;
            }
            self.look().await;
        }
    }

    /// Does what is due now.
    pub(super) async fn look(&mut self) {
        let outcome = match self.new_token() {
            Ok(Some(token)) => self.join_again(&token).await,
            Ok(None) => self.renew_if_due().await,
            // A file that cannot be used must not keep the certificate from being renewed.
            Err(unusable) => match self.renew_if_due().await {
                Err(error) if !error.needs_token() => Err(error),
                _ => Err(unusable),
            },
        };
        let Err(error) = outcome else { return };
        if self.has_expired() && error.needs_token() {
            self.identity.trouble.say(&error);
        } else if self.last_logged.is_none_or(|at| at.elapsed() > LOG_EVERY) {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, certificate_until = %self.identity.enrolled.not_after(), "the edge's identity was not renewed");
            self.last_logged = Some(Instant::now());
        }
    }

    /// A join token that was neither spent nor refused yet.
    fn new_token(&self) -> Result<Option<token::Token>, IdentityError> {
        let spent = self.identity.enrolled.join_token_hash();
        let known = |hash| Some(hash) == spent || self.identity.refused.contains(&hash);
        Ok(token::read(&self.identity.config.join)?.filter(|token| !known(token.hash)))
    }

    fn has_expired(&self) -> bool {
        self.identity.wall.now() >= self.identity.enrolled.not_after()
    }

    async fn join_again(&mut self, token: &token::Token) -> Result<(), IdentityError> {
        tracing::info!("found a new join token, joining again");
        match join(&self.identity.config, token).await {
            Ok(enrolled) => {
                self.identity.trust.joined(enrolled.clone()).await?;
                self.adopt(enrolled);
                Ok(())
            }
            Err(error) => {
                self.identity.refused.push(token.hash);
                Err(error)
            }
        }
    }

    async fn renew_if_due(&mut self) -> Result<(), IdentityError> {
        let now = self.identity.wall.now();
        if self.has_expired() {
            let enrolled = &self.identity.enrolled;
            return Err(IdentityError::Expired { edge: enrolled.edge_id().clone(), at: enrolled.not_after() });
        }
        let outdated = self.identity.trust.outdated_under().await;
        let due = now >= self.due || self.reissue.is_due(outdated.as_deref());
        if !due || self.pause_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let config = &self.identity.config;
        let renewed = enrol::renew(&config.control_plane_url, &self.identity.tls, &self.identity.enrolled).await;
        let renewed = match renewed {
            Ok(enrolled) => self.identity.trust.renewed(enrolled).await,
            Err(error) => Err(error),
        };
        match renewed {
            Ok(enrolled) => {
                self.adopt(enrolled);
                self.reissue.done(outdated);
                tracing::info!(certificate_until = %self.identity.enrolled.not_after(), "renewed the edge's certificate");
                Ok(())
            }
            Err(error) => {
                self.pause_until = Some(Instant::now() + self.backoff.next_delay());
                Err(error)
            }
        }
    }

    /// Notes what is in use by now, and tells.
    fn adopt(&mut self, enrolled: Enrolled) {
        self.due = due(&enrolled);
        self.identity.enrolled = enrolled;
        self.backoff.reset();
        self.pause_until = None;
        self.last_logged = None;
        self.identity.trouble.end();
        self.identity.changes.send_modify(|count| *count += 1);
    }
}

/// When a certificate is to be replaced because another authority signs now.
#[derive(Debug, Default)]
struct Reissue {
    at: Option<Instant>,
    /// The authorities under which that was done. A control plane that answers
    /// with the old authority all the same is not asked without end.
    done_under: Option<String>,
}

impl Reissue {
    /// `outdated`: the authorities, when the certificate is not of the one that
    /// signs.
    fn is_due(&mut self, outdated: Option<&str>) -> bool {
        if outdated.is_none() || outdated == self.done_under.as_deref() {
            self.at = None;
            return false;
        }
        let at = *self.at.get_or_insert_with(|| Instant::now() + SPREAD.mul_f64(random_fraction()));
        Instant::now() >= at
    }

    fn done(&mut self, outdated: Option<String>) {
        self.at = None;
        self.done_under = outdated;
    }
}

/// Half of the certificate's life, give or take a tenth of it, so that a fleet
/// that joined together does not renew together.
fn due(enrolled: &Enrolled) -> Timestamp {
    let life = enrolled.not_after().since(enrolled.not_before());
    enrolled.not_before().plus(life.mul_f64(0.4 + 0.2 * random_fraction()))
}
