//! Another certificate while connections live, with real handshakes.

use nla_domain::clock::WallClock;

use super::*;
use crate::listener::certificate::{
    Look,
    made::{Authorities, put},
};

/// What a new client is shown, checked against the root alone.
async fn shown(server: &Server) -> Vec<Vec<u8>> {
    let stream = server.connect(&[b"h2"]).await;
    stream.get_ref().1.peer_certificates().unwrap().iter().map(|certificate| certificate.to_vec()).collect()
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_old_ones_live_on() {
    let authorities = Authorities::new();
    let folder = tempfile::tempdir().unwrap();
    let (old, new, never) = (authorities.issue(), authorities.issue(), authorities.issue());
    let (certificate, key) = put(folder.path(), &old);
    let look_every = Duration::from_millis(20);
    let transport = Transport::Https { certificate, key: key.clone(), look_every };
    let wall: Arc<dyn WallClock> = Arc::new(SystemClock);
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind(listen, &transport, Limits::default(), vec![]).await.unwrap();
    let (router, readiness, slot) = parts(&Limits::default());
    readiness.with_certificate(listener.certificate().unwrap(), Arc::clone(&wall));
    slot.open(endpoint());
    let mut by_hand = listener.certificate().unwrap().watch(Arc::clone(&wall));
    let _watch =
        tokio_util::task::AbortOnDropHandle::new(tokio::spawn(listener.certificate().unwrap().watch(wall).run()));
    let address = listener.address();
    let stop = CancellationToken::new();
    let task = tokio::spawn(listener.serve(router, stop.clone(), Duration::from_secs(2)));
    let server = Server { address, roots: authorities.roots.clone(), stop, task, _folder: folder };
    let folder = server._folder.path();

    let chain = shown(&server).await;
    assert_eq!((chain.len(), &chain[0]), (2, &old.der), "the own certificate and the intermediate");
    let io = hyper_util::rt::TokioIo::new(server.connect(&[b"h2"]).await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut ask = async |path: &str| {
        let request = http::Request::post(format!("https://localhost{path}"));
        client.send_request(request.body(axum::body::Body::empty()).unwrap()).await.unwrap()
    };
    assert_eq!(ask("/mcp").await.status(), StatusCode::OK);
    // An answer that has begun when the certificate changes.
    let begun = ask("/slow").await;

    put(folder, &new);
    let replaced = async {
        while shown(&server).await[0] != new.der {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, replaced).await.expect("the new certificate is not shown");
    let body = axum::body::to_bytes(axum::body::Body::new(begun.into_body()), 100).await.unwrap();
    assert_eq!(body, "begunended".as_bytes());
    assert_eq!(ask("/mcp").await.status(), StatusCode::OK);
    assert!(!connection.is_finished());

    // A key of another certificate: found and refused, the last good one goes on.
    nla_proto::files::write_private(&key, never.key.as_bytes()).unwrap();
    while !matches!(by_hand.look().await, Look::Refused(_)) {}
    assert_eq!(ask("/mcp").await.status(), StatusCode::OK);
    assert_eq!(shown(&server).await[0], new.der);

    let (_, report) = server.ask(&format!("GET /readyz HTTP/1.1\r\n{HEAD}\r\n")).await;
    assert!(report.contains(r#""certificate":{"expires_at":""#) && report.contains(r#""days_left":88}"#), "{report}");
}
