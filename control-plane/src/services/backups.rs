//! Backups, handed out piece by piece, and checks of the running store.

use std::{io, sync::Arc, time::Duration};

use nla_domain::{clock::Timestamp, error::ErrorKind, hex, id::Revision};
use nla_proto::{backup::BackupSum, convert, failure::Failure, v1};
use tokio::{runtime::Handle, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Context, standing::Standing};
use crate::{
    authz::Caller,
    store::{BackupFailed, Frozen},
};

const CREATE: &str = "/nla.v1.Backups/Create";
/// Bytes of one message; a pair is rarely larger than one.
const MESSAGE_BYTES: usize = 256 << 10;
/// Messages that wait for a slow reader.
const QUEUE: usize = 4;
/// A reader that takes nothing for so long is gone; others wait for the moment
/// that it holds.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

type Part = Result<v1::BackupPart, Status>;

/// The service.
#[derive(Debug)]
pub(super) struct Backups(pub(super) Arc<Context>);

#[tonic::async_trait]
impl v1::backups_server::Backups for Backups {
    type CreateStream = ReceiverStream<Part>;

    async fn create(&self, request: Request<v1::CreateBackupRequest>) -> Result<Response<Self::CreateStream>, Status> {
        let caller = Caller::of(&request)?;
        let standing = Standing::of(&self.0, &caller)?;
        let now = self.0.clock.now();
        let frozen = self.0.store.freeze(now).await.map_err(|error| failure(&error))?;
        self.0.store.audit_admin(event(&caller, frozen.manifest())).await?;
        let (out, stream) = mpsc::channel(QUEUE);
        let context = Arc::clone(&self.0);
        self.0.sessions.spawn_blocking(move || hand_out(&context, standing, frozen, now, &out));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type VerifyStream = ReceiverStream<Result<v1::VerifyStoreResponse, Status>>;

    async fn verify(&self, _: Request<v1::VerifyStoreRequest>) -> Result<Response<Self::VerifyStream>, Status> {
        let (out, stream) = mpsc::channel(1);
        let context = Arc::clone(&self.0);
        self.0.sessions.spawn(async move {
            let checked = tokio::select! {
                checked = context.store.verify() => checked,
                () = context.sync.shutdown.cancelled() => return,
                () = out.closed() => return,
            };
            let answer = match checked {
                Ok(report) => Ok(v1::VerifyStoreResponse {
                    revision: report.revision.0,
                    records: report.records,
                    audit_events: report.audit_events,
                }),
                Err(error) => {
                    tracing::error!(%error, "the store does not verify");
                    Err(Failure::new(ErrorKind::Internal, error.to_string()).into())
                }
            };
            // Whoever asked may have gone; the log has it.
            let _ = out.send(answer).await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn event(caller: &Caller, manifest: &v1::BackupManifest) -> v1::AdminEvent {
    v1::AdminEvent {
        actor: caller.to_string(),
        action: CREATE.to_owned(),
        object: format!("store/{}", hex::encode(&manifest.store_id)),
        client_address: caller.remote().ip().to_string(),
        outcome: v1::Outcome::Succeeded.into(),
        after_json: serde_json::json!({ "revision": manifest.revision, "audit_events": manifest.audit_count })
            .to_string(),
        ..Default::default()
    }
}

fn failure(error: &BackupFailed) -> Failure {
    match error {
        BackupFailed::Running => Failure::new(ErrorKind::Conflict, error.to_string()),
        BackupFailed::Changed(_) => Failure::new(ErrorKind::Unavailable, error.to_string()),
        BackupFailed::Store(_) | BackupFailed::Write(_) => {
            let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(%error, cause, "a backup failed");
            Failure::new(ErrorKind::Internal, format!("{error}: {cause}"))
        }
    }
}

/// Blocks until the backup was taken, or nobody takes it any more.
fn hand_out(context: &Context, standing: Standing, frozen: Frozen, now: Timestamp, out: &mpsc::Sender<Part>) {
    let revision = frozen.revision();
    let mut pieces = Pieces { context, standing, out, buffer: Vec::new(), pairs: 0, refused: None };
    match pieces.all(frozen) {
        Ok(()) => context.backups.done(now, revision),
        Err(error) => {
            let refused = pieces.refused.take();
            tracing::warn!(%revision, %error, "a backup was not taken to its end");
            let last = refused.unwrap_or_else(|| failure(&error));
            let _ = Handle::current().block_on(timeout(Duration::from_secs(1), out.send(Err(last.into()))));
        }
    }
}

/// Cuts what is written into messages.
struct Pieces<'a> {
    context: &'a Context,
    standing: Standing,
    out: &'a mpsc::Sender<Part>,
    buffer: Vec<u8>,
    pairs: u64,
    /// Why the reader gets no more, when it is not the store's fault.
    refused: Option<Failure>,
}

impl Pieces<'_> {
    fn all(&mut self, frozen: Frozen) -> Result<(), BackupFailed> {
        let manifest = frozen.manifest();
        let begin = v1::BackupBegin {
            store_id: manifest.store_id.clone(),
            revision: manifest.revision,
            created_at: manifest.created_at,
            pairs: frozen.pairs(),
        };
        self.send(v1::backup_part::Part::Begin(begin))?;
        let (BackupSum { pairs, bytes, sha256 }, pieces) = frozen.write(self, |pairs, pieces| {
            pieces.pairs = pairs;
            Ok(())
        })?;
        pieces.cut()?;
        Ok(pieces.send(v1::backup_part::Part::End(v1::BackupEnd { pairs, bytes, sha256: sha256.to_vec() }))?)
    }

    fn cut(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.buffer);
        self.send(v1::backup_part::Part::Data(v1::BackupData { bytes, pairs: self.pairs }))
    }

    fn send(&mut self, part: v1::backup_part::Part) -> io::Result<()> {
        if let Err(failure) = self.standing.check() {
            self.refused = Some(failure);
            return Err(io::Error::other("its reader may not have it any more"));
        }
        let stop = &self.context.sync.shutdown;
        let send = async {
            tokio::select! {
                () = stop.cancelled() => Err("the control plane is shutting down: try again"),
                sent = timeout(SEND_TIMEOUT, self.out.send(Ok(v1::BackupPart { part: Some(part) }))) => match sent {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err("its reader has gone"),
                    Err(_) => Err("it was not read in time"),
                },
            }
        };
        Handle::current().block_on(send).map_err(|why| {
            self.refused = Some(Failure::new(ErrorKind::Unavailable, why));
            io::Error::other(why)
        })
    }
}

impl io::Write for &mut Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= MESSAGE_BYTES {
            self.cut()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.cut()
    }
}

/// The last backup, for `system status`.
#[derive(Debug, Default)]
pub(crate) struct BackupLog(std::sync::Mutex<LastBackup>);

/// What is known of backups.
#[derive(Debug, Default, Clone)]
pub(crate) struct LastBackup {
    /// When the last whole one was begun, and of which revision it is.
    pub(crate) made: Option<(Timestamp, Revision)>,
    /// Why the schedule's last attempt failed.
    pub(crate) error: Option<String>,
}

impl BackupLog {
    pub(crate) fn get(&self) -> LastBackup {
        self.lock().clone()
    }

    /// A whole one was made or handed out.
    pub(crate) fn done(&self, at: Timestamp, revision: Revision) {
        let mut last = self.lock();
        if last.made.is_none_or(|(before, _)| before <= at) {
            last.made = Some((at, revision));
        }
    }

    /// The schedule's attempt ended so.
    pub(crate) fn scheduled(&self, error: Option<String>) {
        self.lock().error = error;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LastBackup> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// For [`v1::StatusResponse`].
pub(super) fn status(context: &Context, status: v1::StatusResponse) -> v1::StatusResponse {
    let LastBackup { made, error } = context.backups.get();
    let state = context.store.state();
    let by_edges = |by: &str| by.starts_with("edge/");
    let again = state.tokens.values().filter(|t| t.value.revoked.as_ref().is_some_and(|r| by_edges(&r.by))).count();
    v1::StatusResponse {
        last_backup_at: made.map(|(at, _)| convert::timestamp(at)),
        last_backup_revision: made.map_or(0, |(_, revision)| revision.0),
        backup_error: error.unwrap_or_default(),
        restored_at: state.restored_at.map(convert::timestamp),
        tokens_revoked_again: u64::try_from(again).unwrap_or(u64::MAX),
        ..status
    }
}
