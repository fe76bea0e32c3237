//! Connections on which a test writes what it likes.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use nla_proto::tls::{Roots, provider};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::ClientConfig};

use super::bench::SOON;

/// Answers of these tests are short; more means that something is wrong.
const MOST: usize = 1 << 20;

/// A TLS connection under the authorities in `ca`, with these protocols offered.
pub(crate) async fn tls(address: SocketAddr, ca: &[u8], protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let roots = Roots::from_pem(ca).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.store())
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp = TcpStream::connect(address).await?;
    let name = address.ip().to_string().try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// Writes, and reads until the other side closes. A broken connection is an end
/// like any other; one that stays open is a failure.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(what: &str, stream: S, bytes: &[u8]) -> Vec<u8> {
    let answer = exchange_within(SOON, stream, bytes).await;
    answer.unwrap_or_else(|| panic!("{what}: the connection stays open"))
}

/// The same; `None` when it stays open for so long.
pub(crate) async fn exchange_within<S: AsyncRead + AsyncWrite + Unpin>(
    patience: Duration,
    stream: S,
    bytes: &[u8],
) -> Option<Vec<u8>> {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut answer = Vec::new();
    // Both at once: the other side may answer and close before it has read all.
    let writing = async {
        let _ = write.write_all(bytes).await;
        let _ = write.flush().await;
        std::future::pending::<()>().await;
    };
    let reading = async {
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = read.read(&mut part).await {
            answer.extend_from_slice(&part[..count]);
            assert!(answer.len() < MOST, "too long an answer");
        }
    };
    tokio::select! {
        () = writing => unreachable!("it waits for ever"),
        () = reading => Some(answer),
        () = tokio::time::sleep(patience) => None,
    }
}

/// The status of an HTTP/1 answer; 0 when there is none.
pub(crate) fn status(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(answer);
    text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// A frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// What an HTTP/2 client says first: the preface and its settings.
pub(crate) fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, b"")].concat()
}

/// A header field, literally and not remembered.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let (name_length, value_length) = (u8::try_from(name.len()).unwrap(), u8::try_from(value.len()).unwrap());
    assert!(name_length < 127 && value_length < 127, "longer ones need more bytes");
    [&[0, name_length][..], name.as_bytes(), &[value_length], value.as_bytes()].concat()
}

/// The header fields of a POST to the endpoint.
pub(crate) fn post_fields() -> Vec<u8> {
    [field(":method", "POST"), field(":scheme", "https"), field(":path", "/mcp"), field(":authority", "localhost")]
        .concat()
}
