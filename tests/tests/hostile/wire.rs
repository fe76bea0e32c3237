//! Bytes on the edge's port that are not what they should be.

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{
    bench::Bench,
    raw::{exchange, preface, status, tls},
};

/// More headers than fit into what an edge keeps of them.
const MANY_HEADERS: usize = 5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port_is_answered_or_cut() {
    let mut bench = Bench::start().await;
    let address = bench.sandbox.edges[0].address();
    let noise: Vec<u8> = (0..4096u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let hello_of_huge_length = [&[0x16, 3, 1, 0xff, 0xff][..], &[1; 200][..]].concat();
    let cases: [(&str, &[u8]); 6] = [
        ("noise", &noise),
        ("plain HTTP", b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"),
        ("plain HTTP/2", &preface()),
        ("a handshake record that is too long", &hello_of_huge_length),
        ("an SSH greeting", b"SSH-2.0-OpenSSH_9.9\r\n"),
        ("a TLS alert", &[0x15, 3, 3, 0, 2, 2, 40]),
    ];
    for (what, bytes) in cases {
        let answer = exchange(what, TcpStream::connect(address).await.unwrap(), bytes).await;
        // An alert of TLS, or nothing.
        assert!(answer.is_empty() || answer[0] == 0x15, "{what}: {answer:?}");
        bench.still_good(what).await;
    }

    let ca = std::fs::read(&bench.sandbox.web.ca).unwrap();
    assert!(tls(address, &ca, &["spdy/1"]).await.is_err(), "a protocol that is not served");
    let stranger = other_authority();
    assert!(tls(address, &stranger, &["h2"]).await.is_err(), "the client does not trust the edge");
    bench.still_good("failed handshakes").await;

    let many: String = (0..MANY_HEADERS).map(|number| format!("x-header-{number}: value\r\n")).collect();
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\n";
    let token = "Authorization: Bearer";
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("no HTTP", b"\x00\x01\x02 nonsense\r\n\r\n".to_vec(), 400),
        ("HTTP/9", b"POST /mcp HTTP/9.9\r\nHost: localhost\r\n\r\n".to_vec(), 400),
        ("thousands of headers", format!("{head}{many}\r\n").into_bytes(), 431),
        ("one very long header", format!("{head}x: {}\r\n\r\n", "y".repeat(200_000)).into_bytes(), 431),
        ("a very long path", format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(200_000)).into_bytes(), 431),
        ("two lengths", format!("{head}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello").into_bytes(), 400),
        ("a length that is none", format!("{head}Content-Length: -1\r\n\r\n").into_bytes(), 400),
        ("a header with a line break", format!("{head}x: y\r\n z\r\n\r\n").into_bytes(), 400),
        (
            "a token that is no text",
            format!("{head}{token} \u{fffd}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes(),
            401,
        ),
    ];
    for (what, bytes, expected) in cases {
        let stream = tls(address, &ca, &["http/1.1"]).await.unwrap();
        let answer = exchange(what, stream, &bytes).await;
        assert_eq!(status(&answer), expected, "{what}: {}", String::from_utf8_lossy(&answer));
        bench.still_good(what).await;
    }

    // HTTP/2 that is none: the connection ends, whatever it was told before.
    let cases = [("not the preface", b"GET / HTTP/1.1\r\n\r\n".to_vec()), ("noise", noise.clone())];
    for (what, bytes) in cases {
        exchange(what, tls(address, &ca, &["h2"]).await.unwrap(), &bytes).await;
        bench.still_good(what).await;
    }
    bench.nothing_lost().await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_grow_or_break_off() {
    let mut bench = Bench::start().await;
    let address = bench.sandbox.edges[0].address();
    let ca = std::fs::read(&bench.sandbox.web.ca).unwrap();
    let (_, token) = bench.sandbox.token(&["analyst"]).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        token.expose()
    );

    // 2 MiB without a length: refused once the limit is passed.
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let grown = format!("{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{}", chunk.repeat(32));
    let answer = exchange("a body that grows", tls(address, &ca, &["http/1.1"]).await.unwrap(), grown.as_bytes()).await;
    assert_eq!(status(&answer), 413, "{}", String::from_utf8_lossy(&answer));
    bench.still_good("a body that grows").await;

    let bad_chunk = format!("{head}Transfer-Encoding: chunked\r\n\r\nzzz\r\nhello\r\n");
    let answer = exchange("a bad chunk", tls(address, &ca, &["http/1.1"]).await.unwrap(), bad_chunk.as_bytes()).await;
    assert_eq!(status(&answer), 400, "{}", String::from_utf8_lossy(&answer));
    bench.still_good("a bad chunk").await;

    // Clients that vanish at every point of a good request.
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let whole = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    for part in (1..10).map(|tenth| whole.len() * tenth / 10) {
        let mut stream = tls(address, &ca, &["http/1.1"]).await.unwrap();
        stream.write_all(&whole.as_bytes()[..part]).await.unwrap();
        drop(stream);
    }
    bench.still_good("clients that vanished").await;
    bench.nothing_lost().await;
    bench.stop().await;
}

/// An authority that has signed nothing here.
fn other_authority() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"])
        .args(["-subj", "/CN=other", "-keyout"])
        .arg(folder.path().join("key.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}
