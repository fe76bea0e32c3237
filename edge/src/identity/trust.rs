//! Whom this edge trusts, while that changes: the control plane tells a new
//! set of authorities together with the state, and the edge keeps it, on the
//! disk and in use, before it confirms that state. Renewals go through here
//! too, so that neither takes back what the other has done.

use std::sync::Arc;

use nla_proto::tls::client::ClientTls;
use tokio::{sync::Mutex, task::spawn_blocking};

use super::{Enrolled, IdentityError, Storage, enrolled};

/// The identity in use and where it is kept. Clones share it.
#[derive(Debug, Clone)]
pub struct Trust(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    storage: Storage,
    tls: ClientTls,
    /// Held while the disk is written to, which only threads for that do.
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    enrolled: Enrolled,
    /// The authorities as last told with a state: newer than those that come
    /// with a certificate.
    told: Option<String>,
}

impl Trust {
    pub(super) fn new(storage: Storage, tls: ClientTls, enrolled: Enrolled) -> Self {
        Self(Arc::new(Shared { storage, tls, held: Mutex::new(Held { enrolled, told: None }) }))
    }

    /// Trusts these authorities from now on, PEM, the one that signs first.
    ///
    /// # Errors
    /// A reason for people when they cannot be used or kept; those before stay.
    pub async fn take(&self, bundle_pem: String) -> Result<(), String> {
        if self.0.held.lock().await.told.as_ref() == Some(&bundle_pem) {
            return Ok(());
        }
        let this = self.clone();
        let taken = spawn_blocking(move || this.keep(bundle_pem)).await;
        taken.map_err(|_| "the authorities could not be kept".to_owned())?.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("{error}{cause}")
        })
    }

    fn keep(&self, bundle_pem: String) -> Result<(), IdentityError> {
        let mut held = self.0.held.blocking_lock();
        if held.enrolled.ca_bundle_pem() != bundle_pem {
            let changed = held.enrolled.with_bundle(bundle_pem.clone());
            self.put(&mut held, changed)?;
            tracing::info!("trusts the authorities that the control plane has told");
        }
        held.told = Some(bundle_pem);
        Ok(())
    }

    /// Takes a renewed certificate, and keeps trusting whom it was told to.
    pub(super) async fn renewed(&self, enrolled: Enrolled) -> Result<Enrolled, IdentityError> {
        let this = self.clone();
        on_a_thread(move || this.keep_renewed(enrolled)).await
    }

    fn keep_renewed(&self, enrolled: Enrolled) -> Result<Enrolled, IdentityError> {
        let mut held = self.0.held.blocking_lock();
        let enrolled = match &held.told {
            Some(told) => enrolled.with_bundle(told.clone()),
            None => enrolled,
        };
        self.put(&mut held, enrolled.clone())?;
        Ok(enrolled)
    }

    /// Takes the identity of a new enrolment.
    pub(super) async fn joined(&self, enrolled: Enrolled) -> Result<(), IdentityError> {
        let this = self.clone();
        on_a_thread(move || this.keep_joined(enrolled)).await
    }

    /// What was told before may have
    /// been by another control plane.
    fn keep_joined(&self, enrolled: Enrolled) -> Result<(), IdentityError> {
        let mut held = self.0.held.blocking_lock();
        self.put(&mut held, enrolled)?;
        held.told = None;
        Ok(())
    }

    /// The authorities in use when the certificate is of another one than that
    /// which signs now.
    pub(super) async fn outdated_under(&self) -> Option<String> {
        let held = self.0.held.lock().await;
        (!held.enrolled.is_of_signing_authority()).then(|| held.enrolled.ca_bundle_pem().to_owned())
    }

    /// On the disk first: what is in use must outlive a restart.
    fn put(&self, held: &mut Held, enrolled: Enrolled) -> Result<(), IdentityError> {
        let (identity, roots) = enrolled.tls()?;
        ClientTls::new(&identity, &roots)?;
        enrolled::store(&self.0.storage, &enrolled)?;
        self.0.tls.replace(&identity, &roots)?;
        held.enrolled = enrolled;
        Ok(())
    }
}

/// Does `work`, which writes to the disk, where no connection waits for it.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only when the runtime ends, and this with it.
            Err(_) => std::future::pending().await,
        },
    }
}
