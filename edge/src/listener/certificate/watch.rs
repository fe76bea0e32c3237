//! Takes a new certificate when its files change, and tells the log about what
//! cannot be taken and about the end that comes near. One task, started by
//! `app`. Invariant: whatever lies in the files, the old certificate is served
//! until a whole, fitting, valid new one has been there for two looks.
//!
//! It reads the content through the path at intervals instead of asking the
//! kernel for events: a rewrite, a rename and Kubernetes' exchange of a link to
//! a folder above are then the same case, network file systems tell of their
//! changes too, and no event can be missed. It costs two small reads.

use std::{convert::Infallible, sync::Arc};

use nla_domain::{clock::WallClock, error::with_causes};

use super::{
    CertificateError, PublicCertificate,
    check::{Fingerprint, Material, Served},
    expiry::Notice,
};

/// The task that watches.
#[derive(Debug)]
pub struct Watch {
    certificate: PublicCertificate,
    wall: Arc<dyn WallClock>,
    /// At the last look, unless that was what is served.
    seen: Option<Seen>,
    /// The last failure that was logged, until the files are in order again.
    warned: Option<String>,
    /// The last notice about the calendar that was logged.
    noticed: Option<Notice>,
}

/// What the files were.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Content(Fingerprint),
    Unreadable(String),
}

/// What a look has led to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::listener) enum Look {
    /// The files hold what is served.
    Same,
    /// They hold something else than at the last look. Two files cannot be
    /// replaced at once, and one may be half written: the next look decides.
    Settling,
    /// The new certificate is served.
    Replaced,
    /// It cannot be served, and that is news.
    Refused(String),
    /// As before.
    StillRefused,
}

impl Watch {
    pub(super) fn new(certificate: PublicCertificate, wall: Arc<dyn WallClock>) -> Self {
        Self { certificate, wall, seen: None, warned: None, noticed: None }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) -> Infallible {
        loop {
            self.tell_expiry();
            tokio::time::sleep(self.certificate.0.look_every).await;
            let look = self.look().await;
            self.tell(look);
        }
    }

    pub(in crate::listener) async fn look(&mut self) -> Look {
        let found = self.read().await;
        let seen = match &found {
            Ok(material) => Seen::Content(material.fingerprint()),
            Err(error) => Seen::Unreadable(with_causes(error)),
        };
        if seen == Seen::Content(self.certificate.0.served.load().fingerprint) {
            (self.seen, self.warned) = (None, None);
            return Look::Same;
        }
        let settled = self.seen.as_ref() == Some(&seen);
        self.seen = Some(seen);
        if !settled {
            return Look::Settling;
        }
        match found.and_then(|material| self.check(&material)) {
            Ok(served) => {
                self.certificate.0.served.store(Arc::new(served));
                (self.seen, self.warned) = (None, None);
                Look::Replaced
            }
            Err(error) => {
                let refused = with_causes(&error);
                if self.warned.as_ref() == Some(&refused) {
                    return Look::StillRefused;
                }
                self.warned = Some(refused.clone());
                Look::Refused(refused)
            }
        }
    }

    /// On a thread of its own: a network file system may take its time.
    async fn read(&self) -> Result<Material, CertificateError> {
        let files = self.certificate.0.files.clone();
        match tokio::task::spawn_blocking(move || Material::read(&files)).await {
            Ok(found) => found,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only a runtime that shuts down cancels it; this task goes next.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn check(&self, material: &Material) -> Result<Served, CertificateError> {
        let files = &self.certificate.0.files;
        let served = material.check(files)?;
        served.validity.check(self.wall.now(), &files.certificate)?;
        Ok(served)
    }

    fn tell(&self, look: Look) {
        match look {
            Look::Replaced => {
                let expires_at = self.certificate.validity().not_after;
                tracing::info!(%expires_at, "serving the new certificate for MCP clients to new connections");
            }
            Look::Refused(error) => {
                tracing::warn!(error, "the changed certificate for MCP clients is not taken; the old one stays in use");
            }
            Look::Same | Look::Settling | Look::StillRefused => {}
        }
    }

    fn tell_expiry(&mut self) {
        if let Some(notice) = self.new_notice() {
            let file = self.certificate.0.files.certificate.display().to_string();
            notice.log(self.certificate.validity(), &file);
        }
    }

    /// What the calendar says, when that is not what it said before.
    pub(super) fn new_notice(&mut self) -> Option<Notice> {
        let notice = self.certificate.validity().notice(self.wall.now());
        let before = std::mem::replace(&mut self.noticed, notice);
        notice.filter(|_| before != notice)
    }
}
