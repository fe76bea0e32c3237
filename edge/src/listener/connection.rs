//! One connection of an MCP client, from its handshake to its end. Invariants:
//! each phase has a deadline (handshake, headers, silence, an answer that is
//! not read); a connection without a running request may be closed at any time.

use std::{
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
};
use http::Request;
use hyper::{
    body::{Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use ipnet::IpNet;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{address, io::StallGuard, leftover::ReadToEnd};

/// Memory for the headers of one HTTP/1 request; more gets 431.
const MAX_HEADER_BYTES: usize = 32 << 10;
/// How often a silent HTTP/2 connection is tested.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long the test's answer may take.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Between the request to close and the cut of a connection without requests.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// How long clients may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the headers of a request; on HTTP/1 also between two requests.
    pub headers: Duration,
    /// Without a request.
    pub idle: Duration,
    /// For an answer of which nothing is read.
    pub stalled_write: Duration,
}

impl Default for Timeouts {
    /// Ample for a client on a bad line; short enough that a thousand clients
    /// that do nothing do not fill the listener.
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            headers: Duration::from_secs(15),
            idle: Duration::from_secs(90),
            stalled_write: Duration::from_secs(30),
        }
    }
}

pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) router: Router,
    pub(super) streams: u32,
    pub(super) timeouts: Timeouts,
    pub(super) trusted_proxies: Arc<[IpNet]>,
    pub(super) shutdown: CancellationToken,
}

impl Connection {
    pub(super) async fn run(self, tcp: TcpStream) {
        let peer = self.peer;
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%peer, %error, "connection lost");
            return;
        }
        let Some(tls) = self.tls.clone() else { return self.http(tcp, false).await };
        match timeout(self.timeouts.handshake, tls.accept(tcp)).await {
            Ok(Ok(stream)) => {
                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                self.http(stream, h2).await;
            }
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
        }
    }

    async fn http<T>(self, stream: T, h2: bool)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let activity = Arc::new(Activity::new());
        let service = {
            let (activity, router) = (Arc::clone(&activity), self.router);
            let (peer, proxies) = (self.peer.ip(), self.trusted_proxies);
            service_fn(move |mut request: Request<Incoming>| {
                let running = Running::begin(&activity);
                let client = address::resolve(peer, request.headers(), &proxies);
                request.extensions_mut().insert(client);
                let request =
                    if h2 { request.map(|body| Body::new(ReadToEnd::new(body))) } else { request.map(Body::new) };
                let answer = router.clone().call(request);
                async move { answer.await.map(|response| response.map(|body| Tracked { body, _running: running })) }
            })
        };
        let builder = builder(h2, self.streams, self.timeouts);
        let io = TokioIo::new(StallGuard::new(stream, self.timeouts.stalled_write));
        let mut connection = pin!(builder.serve_connection(io, service));
        let closing = async {
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = activity.idle_for(self.timeouts.idle) => {}
            }
        };
        tokio::select! {
            outcome = connection.as_mut() => return log(self.peer, outcome),
            () = closing => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            outcome = connection.as_mut() => log(self.peer, outcome),
            () = activity.idle_for(CLOSE_GRACE) => {}
        }
    }
}

fn log(peer: SocketAddr, outcome: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = outcome {
        tracing::debug!(%peer, %error, "connection ended with an error");
    }
}

/// The protocol is known from TLS, so that nothing waits for a client to show
/// which one it speaks. Plain HTTP is HTTP/1.
fn builder(h2: bool, streams: u32, timeouts: Timeouts) -> auto::Builder<TokioExecutor> {
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if h2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(timeouts.headers).max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Requests of one connection.
#[derive(Debug)]
struct Activity {
    running: AtomicUsize,
    /// When the last one ended.
    since: Mutex<Instant>,
}

impl Activity {
    fn new() -> Self {
        Self { running: AtomicUsize::new(0), since: Mutex::new(Instant::now()) }
    }

    /// Waits until no request has run for so long.
    async fn idle_for(&self, patience: Duration) {
        let started = Instant::now();
        loop {
            if self.running.load(Ordering::Acquire) > 0 {
                sleep(patience).await;
                continue;
            }
            let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
            let until = since.max(started) + patience;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// A request that runs, until its answer has left.
#[derive(Debug)]
struct Running(Arc<Activity>);

impl Running {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.running.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The body of an answer; the request runs until it has been sent or dropped.
struct Tracked {
    body: Body,
    _running: Running,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
