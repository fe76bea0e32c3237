//! One command's conversation with the control plane: one channel, one deadline,
//! one idempotency key. A call that nobody answered is repeated once under the
//! same key, so that a change is made once even if the first answer was lost.

use std::{fmt, time::Duration};

use nla_domain::clock::{SystemClock, Timestamp, WallClock as _};
use nla_proto::{failure::Failure, tls::client};
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status, transport::Channel};

use crate::{
    args::Globals,
    context::Context,
    exit::{CliError, is_silence},
    output,
};

/// Between the two attempts: a control plane that restarts needs a moment.
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// How much later than ours the deadline on the wire is. tonic watches that one
/// on our side as well and reports it as a cancellation, which says less.
const AFTER_DEADLINE: Duration = Duration::from_secs(1);

/// Long lists come in one message; gRPC's own default of 4 MiB is too small.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// A connection that is made when first used.
pub(crate) struct Session {
    channel: Channel,
    url: String,
    timeout: Duration,
    key: String,
    expires_at: Timestamp,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Session {
    /// For the context that the options name.
    ///
    /// # Errors
    /// [`CliError`] when there is no usable context.
    pub(crate) fn open(globals: &Globals) -> Result<Self, CliError> {
        let context = Context::resolve(globals)?;
        if let Some(text) = context.reminder(SystemClock.now()) {
            output::hint(globals.quiet, &text);
        }
        Self::to(&context, globals.timeout)
    }

    /// For a context that was read before.
    ///
    /// # Errors
    /// [`CliError`] when its URL cannot be used.
    pub(crate) fn to(context: &Context, timeout: Duration) -> Result<Self, CliError> {
        let channel = client::channel(&context.url, &context.tls)
            .map_err(|source| CliError::local("the context's url cannot be used", source))?;
        let key = uuid::Uuid::new_v4().to_string();
        Ok(Self { channel, url: context.url.clone(), timeout, key, expires_at: context.expires_at })
    }

    /// The same session with at least this much time for each call.
    #[must_use]
    pub(crate) fn at_least(mut self, timeout: Duration) -> Self {
        self.timeout = self.timeout.max(timeout);
        self
    }

    /// The idempotency key of this invocation. A command makes one change, so
    /// one key is enough.
    pub(crate) fn key(&self) -> String {
        self.key.clone()
    }

    /// When the caller's certificate ends.
    pub(crate) fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Where the control plane is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Makes a call. `what` completes the sentence "cannot ...".
    ///
    /// # Errors
    /// [`CliError::Answered`] or [`CliError::Unreachable`].
    pub(crate) async fn call<Q, A>(
        &self,
        what: &str,
        request: Q,
        rpc: impl AsyncFn(Channel, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, CliError>
    where
        Q: Clone,
    {
        let deadline = Instant::now() + self.timeout;
        let attempt = async || {
            let mut request = Request::new(request.clone());
            request.set_timeout(deadline.saturating_duration_since(Instant::now()) + AFTER_DEADLINE);
            match tokio::time::timeout_at(deadline, rpc(self.channel.clone(), request)).await {
                Ok(answer) => answer,
                Err(_) => Err(Status::deadline_exceeded(format!("no answer within {:?}", self.timeout))),
            }
        };
        let mut answer = attempt().await;
        if answer.as_ref().is_err_and(may_be_repeated) && Instant::now() + RETRY_AFTER < deadline {
            tokio::time::sleep(RETRY_AFTER).await;
            answer = attempt().await;
        }
        answer.map(Response::into_inner).map_err(|status| CliError::from_status(what, &self.url, &status))
    }

    /// Opens a stream, which has no deadline once it is open.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub(crate) async fn stream<Q, A>(
        &self,
        what: &str,
        request: Q,
        rpc: impl AsyncFn(Channel, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, CliError> {
        let opening = rpc(self.channel.clone(), Request::new(request));
        let answer = match tokio::time::timeout(self.timeout, opening).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {:?}", self.timeout))),
        };
        answer.map(Response::into_inner).map_err(|status| CliError::from_status(what, &self.url, &status))
    }
}

/// Only where nobody answered; a deadline that has passed leaves no time.
fn may_be_repeated(status: &Status) -> bool {
    status.code() != Code::DeadlineExceeded && is_silence(status, Failure::from_status(status).kind)
}
