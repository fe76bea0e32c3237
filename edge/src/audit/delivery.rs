//! Sends recorded events to the control plane, in order, until it says that
//! they are stored. One task per process, started by `app`. Invariant: one
//! batch is under way at a time, and only the control plane's word removes
//! events; it stores each once, so sending again after a lost answer is safe.

use std::{convert::Infallible, time::Duration};

use nla_proto::{
    failure::Failure,
    tls::client::{self, ClientTls},
    v1::{AppendRequest, CallEvent, audit_ingest_client::AuditIngestClient},
};
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;

use super::{AuditQueue, spool::Batch};
use crate::retry::Backoff;

/// Events in one batch.
const MAX_BATCH_EVENTS: usize = 500;
/// Bytes in one batch: below the 4 MiB that gRPC servers accept, with room for
/// the encoding of many small events.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// How long an event may wait for others to travel with it.
const LINGER: Duration = Duration::from_millis(50);
/// A control plane that takes longer is treated as gone.
const APPEND_TIMEOUT: Duration = Duration::from_secs(10);
/// An outage is logged once, and then this often.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Why a batch was not stored.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The control plane refused it or cannot be reached.
    #[error("the control plane did not take audit events")]
    Refused(#[source] Failure),
    /// No answer in time.
    #[error("the control plane did not answer within {}s when it was sent audit events", APPEND_TIMEOUT.as_secs())]
    Timeout,
    /// It answered, and stored nothing of the batch.
    #[error("the control plane has stored events up to {stored_through} only and was sent those from {first} on")]
    Gap {
        /// Its last stored sequence number.
        stored_through: u64,
        /// Our first one that it has not acknowledged.
        first: u64,
    },
}

/// The task that empties a queue.
#[derive(Debug)]
pub struct Delivery {
    queue: AuditQueue,
    url: String,
    tls: ClientTls,
    /// Dropped after each failure, so that the next connection shows the
    /// identity that is current by then.
    client: Option<AuditIngestClient<Channel>>,
}

impl Delivery {
    /// Sends what is in `queue` to the control plane at `url`.
    pub fn new(queue: AuditQueue, url: String, tls: ClientTls) -> Self {
        Self { queue, url, tls, client: None }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) -> Infallible {
        let mut backoff = Backoff::default();
        let mut last_logged: Option<Instant> = None;
        loop {
            let batch = self.next_batch().await;
            match self.send(&batch).await {
                Ok(stored_through) => {
                    backoff.reset();
                    if last_logged.take().is_some() {
                        tracing::info!(waiting = self.queue.waiting(), "audit events are taken again");
                    }
                    self.queue.spool().stored_through(stored_through);
                    self.queue.0.stored.notify_waiters();
                }
                Err(error) => {
                    self.client = None;
                    if last_logged.is_none_or(|at| at.elapsed() > LOG_EVERY) {
                        let waiting = self.queue.waiting();
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::warn!(%error, cause, waiting, "audit events are kept and sent again");
                        last_logged = Some(Instant::now());
                    }
                    backoff.wait().await;
                }
            }
        }
    }

    /// The next events, once there are enough of them or the first has waited
    /// long enough.
    async fn next_batch(&self) -> Batch {
        loop {
            let recorded = self.queue.0.recorded.notified();
            if self.queue.waiting() > 0 {
                break;
            }
            recorded.await;
        }
        let filled = async {
            while self.queue.spool().len() < MAX_BATCH_EVENTS {
                self.queue.0.recorded.notified().await;
            }
        };
        // Both outcomes mean "now".
        let _ = timeout(LINGER, filled).await;
        let batch = self.queue.spool().front(MAX_BATCH_EVENTS, MAX_BATCH_BYTES);
        batch.expect("only this task removes events, and there was one")
    }

    async fn send(&mut self, batch: &Batch) -> Result<u64, DeliveryError> {
        let events = batch.records.iter().map(|record| CallEvent::from(&**record)).collect();
        let request = AppendRequest { boot_id: self.queue.0.boot_id.clone(), first_sequence: batch.first, events };
        let client = match &mut self.client {
            Some(client) => client,
            none => {
                let channel = client::connect(&self.url, &self.tls).await.map_err(DeliveryError::Refused)?;
                none.insert(AuditIngestClient::new(channel))
            }
        };
        let answer = timeout(APPEND_TIMEOUT, client.append(request)).await;
        let response = answer
            .map_err(|_| DeliveryError::Timeout)?
            .map_err(|status| DeliveryError::Refused(Failure::from_status(&status)))?;
        let stored_through = response.into_inner().stored_through;
        if stored_through < batch.first {
            return Err(DeliveryError::Gap { stored_through, first: batch.first });
        }
        // It cannot have stored what it was not sent.
        Ok(stored_through.min(batch.last()))
    }
}
