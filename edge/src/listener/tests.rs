//! The listener against real sockets: what hostile and slow clients get.

mod reload;

use std::path::PathBuf;

use axum::routing::post;
use http::StatusCode;
use nla_domain::clock::SystemClock;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    address::{AddressLimiter, ClientAddress},
    ready::Readiness,
    routes::{McpSlot, router},
    *,
};
use crate::{
    audit::{AuditQueue, QueueLimits},
    clock::{BootClock, FleetClock, TokioClock},
    fixture::SOON,
    snapshot::SnapshotHolder,
};

struct Server {
    address: SocketAddr,
    roots: RootCertStore,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

/// An answer that begins at once and ends late.
fn slowly() -> impl futures_util::Stream<Item = Result<&'static str, std::convert::Infallible>> {
    futures_util::stream::unfold(0, |part| async move {
        match part {
            0 => Some((Ok("begun"), 1)),
            1 => {
                tokio::time::sleep(Duration::from_millis(400)).await;
                Some((Ok("ended"), 2))
            }
            _ => None,
        }
    })
}

/// An MCP endpoint that tells the client's address and can be slow.
fn endpoint() -> Router {
    Router::new()
        .route(
            "/mcp",
            post(|request: axum::extract::Request| async move {
                request.extensions().get::<ClientAddress>().unwrap().0.to_string()
            }),
        )
        .route("/slow", post(|| async { axum::body::Body::from_stream(slowly()) }))
}

fn clock() -> FleetClock {
    FleetClock::new(Arc::new(SystemClock), Arc::new(BootClock))
}

fn parts(limits: &Limits) -> (Router, Readiness, McpSlot) {
    let holder = SnapshotHolder::new(Arc::new(TokioClock::start()));
    let audit = AuditQueue::new("b".into(), QueueLimits::default(), Arc::new(SystemClock));
    let readiness = Readiness::new(holder, audit, clock());
    let slot = McpSlot::default();
    let router = router(slot.clone(), &AddressLimiter::new(limits), readiness.clone());
    (router, readiness, slot)
}

fn certificate(folder: &std::path::Path) -> (PathBuf, PathBuf, RootCertStore) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    let (certificate, key) = (folder.join("crt"), folder.join("key"));
    nla_proto::files::write_public(&certificate, made.cert.pem().as_bytes()).unwrap();
    nla_proto::files::write_private(&key, made.signing_key.serialize_pem().as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    (certificate, key, roots)
}

async fn start(limits: Limits, timeouts: Timeouts, proxies: &[&str]) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key, roots) = certificate(folder.path());
    let proxies = proxies.iter().map(|net| net.parse().unwrap()).collect();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let transport = Transport::Https { certificate, key, look_every: SOON };
    let listener = Listener::bind(listen, &transport, limits, proxies).await.unwrap();
    let address = listener.address();
    let (router, _, slot) = parts(&limits);
    slot.open(endpoint());
    let stop = CancellationToken::new();
    let serving = listener.with_timeouts(timeouts).serve(router, stop.clone(), Duration::from_secs(2));
    Server { address, roots, stop, task: tokio::spawn(serving), _folder: folder }
}

fn quick() -> Timeouts {
    let short = Duration::from_millis(150);
    Timeouts { handshake: short, headers: short, idle: short, stalled_write: short }
}

impl Server {
    async fn connect(&self, alpn: &[&[u8]]) -> TlsStream<TcpStream> {
        let config = ClientConfig::builder_with_provider(nla_proto::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
    }

    /// One request on a connection of its own.
    async fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = self.connect(&[b"http/1.1"]).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        let status = answer.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        (status, answer)
    }
}

/// Everything until the server closes, which it must do soon.
async fn rest(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset is an end like any other.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("the server does not close");
    String::from_utf8_lossy(&bytes).into_owned()
}

const HEAD: &str = "host: localhost\r\nconnection: close\r\ncontent-length: 0\r\n";

#[tokio::test]
async fn paths() {
    let server = start(Limits::default(), Timeouts::default(), &[]).await;
    let cases = [
        (format!("POST /mcp HTTP/1.1\r\n{HEAD}\r\n"), 200, "127.0.0.1"),
        (format!("POST /mcp HTTP/1.1\r\n{HEAD}x-forwarded-for: 192.0.2.7\r\n\r\n"), 200, "127.0.0.1"),
        (format!("GET /livez HTTP/1.1\r\n{HEAD}\r\n"), 200, "true"),
        (format!("GET /readyz HTTP/1.1\r\n{HEAD}\r\n"), 503, "not_enrolled"),
        (format!("GET /nothing HTTP/1.1\r\n{HEAD}\r\n"), 404, "not_found"),
        (format!("GET / HTTP/1.1\r\n{HEAD}\r\n"), 404, "not_found"),
        ("nonsense\r\n\r\n".to_owned(), 400, ""),
    ];
    for (request, status, part) in cases {
        let answer = server.ask(&request).await;
        assert_eq!(answer.0, status, "{request} {answer:?}");
        assert!(answer.1.contains(part), "{request} {answer:?}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client() {
    let server = start(Limits::default(), Timeouts::default(), &["127.0.0.0/8"]).await;
    let (_, answer) = server.ask(&format!("POST /mcp HTTP/1.1\r\n{HEAD}x-forwarded-for: 192.0.2.7\r\n\r\n")).await;
    assert!(answer.ends_with("192.0.2.7"), "{answer}");
}

#[tokio::test]
async fn garbage_and_slowness_end_and_the_next_request_is_fine() {
    let server = start(Limits { connections: 2, ..Limits::default() }, quick(), &[]).await;
    // Each of these would hold one of the two slots for ever.
    let mut garbage = TcpStream::connect(server.address).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    rest(&mut garbage).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(rest(&mut silent).await, "", "a handshake that never comes");
    let mut silent = server.connect(&[b"http/1.1"]).await;
    rest(&mut silent).await;
    let mut silent = server.connect(&[b"h2"]).await;
    rest(&mut silent).await;
    let mut slow = server.connect(&[b"http/1.1"]).await;
    slow.write_all(b"POST /mcp HTTP/1.1\r\nhost: loc").await.unwrap();
    rest(&mut slow).await;
    assert_eq!(server.ask(&format!("POST /mcp HTTP/1.1\r\n{HEAD}\r\n")).await.0, 200);
}

#[tokio::test]
async fn a_slow_answer_is_not_idleness() {
    let server = start(Limits::default(), quick(), &[]).await;
    let (_, answer) = server.ask(&format!("POST /slow HTTP/1.1\r\n{HEAD}\r\n")).await;
    assert!(answer.contains("ended"), "{answer}");
}

#[tokio::test]
async fn oversized_headers_are_refused() {
    let server = start(Limits::default(), Timeouts::default(), &[]).await;
    let large = "x".repeat(100_000);
    let (status, _) = server.ask(&format!("POST /mcp HTTP/1.1\r\n{HEAD}x-large: {large}\r\n\r\n")).await;
    assert!(matches!(status, 431 | 0), "{status}");
    let many = "x-many: 1\r\n".repeat(2_000);
    let (status, _) = server.ask(&format!("POST /mcp HTTP/1.1\r\n{HEAD}{many}\r\n")).await;
    assert!(matches!(status, 431 | 0), "{status}");
    assert_eq!(server.ask(&format!("POST /mcp HTTP/1.1\r\n{HEAD}\r\n")).await.0, 200);
}

#[tokio::test]
async fn http2_is_served_and_named_by_alpn() {
    let server = start(Limits::default(), Timeouts::default(), &[]).await;
    let stream = server.connect(&[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake::<_, _, axum::body::Body>(executor, io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post("https://localhost/mcp").body(axum::body::Body::empty()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn an_answer_before_the_body_does_not_reset_the_stream() {
    let server = start(Limits::default(), Timeouts::default(), &[]).await;
    let io = hyper_util::rt::TokioIo::new(server.connect(&[b"h2"]).await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    // (bytes that come after the answer, whether the server takes them)
    for (length, taken) in [(100, true), (1 << 20, false)] {
        let (sender, body) = tokio::sync::mpsc::channel::<Result<String, std::convert::Infallible>>(1);
        let body = axum::body::Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(body));
        let request = http::Request::post("https://localhost/nothing").body(body).unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        axum::body::to_bytes(axum::body::Body::new(answer.into_body()), 1_000).await.unwrap();
        let mut open = true;
        for _ in 0..length / 100 {
            open &= sender.send(Ok("x".repeat(100))).await.is_ok();
        }
        assert_eq!(open, taken, "{length}");
    }
}

#[tokio::test]
async fn the_address_limiter_answers_in_json_and_spares_health() {
    let limits = Limits { address_per_second: 1, address_burst: 2, ..Limits::default() };
    let server = start(limits, Timeouts::default(), &[]).await;
    let mcp = format!("POST /mcp HTTP/1.1\r\n{HEAD}\r\n");
    for expected in [200, 200, 429] {
        let (status, answer) = server.ask(&mcp).await;
        assert_eq!(status, expected, "{answer}");
        if status == 429 {
            let after = answer.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
            assert!(after.parse::<u64>().unwrap() >= 1);
            assert!(answer.contains(r#""reason":"rate_limited""#), "{answer}");
        }
    }
    assert_eq!(server.ask(&format!("GET /livez HTTP/1.1\r\n{HEAD}\r\n")).await.0, 200);
}

#[tokio::test]
async fn running_requests_end_before_the_listener_does() {
    let server = start(Limits::default(), Timeouts::default(), &[]).await;
    let mut idle = server.connect(&[b"http/1.1"]).await;
    let mut slow = server.connect(&[b"http/1.1"]).await;
    slow.write_all(b"POST /slow HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let mut begun = String::new();
    while !begun.contains("begun") {
        let mut bytes = [0; 256];
        let read = slow.read(&mut bytes).await.unwrap();
        assert!(read > 0, "closed after {begun:?}");
        begun.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    server.stop.cancel();
    assert!(rest(&mut slow).await.contains("ended"));
    rest(&mut idle).await;
    tokio::time::timeout(SOON, server.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn plain_http_elsewhere_and_bad_certificates_do_not_start() {
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = Listener::bind(any, &Transport::PlainHttp, Limits::default(), vec![]).await;
    assert!(matches!(refused, Err(ListenError::PlainHttp(_))));
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let first = Listener::bind(loopback, &Transport::PlainHttp, Limits::default(), vec![]).await.unwrap();
    let taken = Listener::bind(first.address(), &Transport::PlainHttp, Limits::default(), vec![]).await;
    assert!(matches!(taken, Err(ListenError::Bind { .. })));

    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (certificate, key, _) = certificate(one.path());
    let (_, other_key, _) = self::certificate(two.path());
    let bind = |certificate: &PathBuf, key: &PathBuf| {
        let transport = Transport::Https { certificate: certificate.clone(), key: key.clone(), look_every: SOON };
        async move { Listener::bind(loopback, &transport, Limits::default(), vec![]).await }
    };
    bind(&certificate, &key).await.unwrap();
    assert!(bind(&certificate, &other_key).await.is_err(), "a key of another certificate");
    assert!(bind(&key, &key).await.is_err(), "no certificate");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&key, open).unwrap();
    assert!(bind(&certificate, &key).await.is_err(), "a key that others can read");
}

#[tokio::test(start_paused = true)]
async fn readiness_tells_its_reasons() {
    use crate::{identity::IdentityError, listener::ready::JOIN_TOKEN_NEEDED};
    use nla_domain::{
        id::{Epoch, Revision},
        pepper::Peppers,
        secret::Key32,
        snapshot::{DEFAULT_STANDARD_STALENESS, Settings, Snapshot},
    };
    let holder = SnapshotHolder::new(Arc::new(TokioClock::start()));
    let limits = QueueLimits { max_events: 1, ..QueueLimits::default() };
    let audit = AuditQueue::new("b".into(), limits, Arc::new(SystemClock));
    let readiness = Readiness::new(holder.clone(), audit.clone(), clock());
    let reasons = || readiness.report(false).reasons.iter().map(|reason| reason.reason).collect::<Vec<_>>();
    assert_eq!(reasons(), ["not_enrolled"]);
    readiness.trouble().say(&IdentityError::NoToken);
    let report = readiness.report(false).reasons;
    assert_eq!(report.len(), 1);
    assert!(
        report[0].reason == JOIN_TOKEN_NEEDED && report[0].message.contains("nlactl edge join-token"),
        "{report:?}"
    );
    readiness.trouble().end();
    readiness.enrolled();
    assert_eq!(reasons(), ["no_snapshot"]);
    let snapshot = || {
        Arc::new(Snapshot {
            epoch: Epoch::default(),
            revision: Revision(4),
            settings: Arc::new(Settings::new(Peppers::first(Key32::new([0; 32])))),
            databases: Default::default(),
            credentials: Default::default(),
            roles: Default::default(),
            tokens: Default::default(),
        })
    };
    holder.publish(snapshot());
    assert_eq!((reasons(), readiness.report(false).age_seconds), (vec!["stale"], None), "nobody has confirmed it");
    holder.confirm(holder.now());
    let report = readiness.report(false);
    assert!(report.ready && report.revision == Some(4));
    holder.set_draining(Some("upgrade".into()));
    assert_eq!(reasons(), ["draining"]);
    holder.set_draining(None);
    readiness.trouble().say(&IdentityError::NoToken);
    assert_eq!(reasons(), ["certificate_expired"]);
    readiness.trouble().end();
    holder.set_quarantine(Some("odd".into()));
    assert_eq!(reasons(), ["quarantined"]);
    holder.set_quarantine(None);
    holder.publish(snapshot());
    holder.confirm(holder.now());
    tokio::time::advance(DEFAULT_STANDARD_STALENESS).await;
    assert!(readiness.report(false).ready, "up to the bound");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(reasons(), ["stale"]);
    holder.confirm(holder.now());
    let slot = audit.reserve().unwrap();
    assert_eq!(reasons(), ["audit_queue_full"]);
    readiness.stopping();
    holder.ban("stolen".into());
    assert_eq!(reasons(), ["stopping", "banned", "audit_queue_full"]);
    drop(slot);
}
