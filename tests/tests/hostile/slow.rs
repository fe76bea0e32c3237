//! Clients that send almost nothing. They run at the same time, against the
//! deadlines that a real edge has, while good requests go on.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};

use super::{
    bench::{Bench, wanted},
    raw::{exchange_within, status, tls},
};

/// Of each kind.
const CLIENTS: usize = 20;
/// The longest deadline is 15 s, for headers.
const CLOSED_WITHIN: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_cut_and_hold_nobody_up() {
    let mut bench = Bench::start().await;
    let address = bench.sandbox.edges[0].address();
    let ca = std::fs::read(&bench.sandbox.web.ca).unwrap();
    let (_, token) = bench.sandbox.admin.create_token(wanted(&["analyst"])).await.unwrap();
    bench.sandbox.settled().await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
        token.expose()
    );
    let mut slow = JoinSet::new();
    for _ in 0..CLIENTS {
        for (what, bytes) in [("nothing", &b""[..]), ("one byte of a handshake", &[0x16][..])] {
            slow.spawn(async move {
                let tcp = TcpStream::connect(address).await.unwrap();
                (what, exchange_within(CLOSED_WITHIN, tcp, bytes).await)
            });
        }
        let inside = [
            ("one byte of a header", "P".to_owned(), ""),
            ("half the headers", head.clone(), ""),
            ("no body", format!("{head}Content-Length: 100\r\n\r\n"), ""),
            ("a body in drops", format!("{head}Content-Length: 100\r\n\r\n"), " "),
        ];
        for (what, first, drop_of) in inside {
            let ca = ca.clone();
            slow.spawn(async move {
                let mut stream = tls(address, &ca, &["http/1.1"]).await.unwrap();
                if drop_of.is_empty() {
                    return (what, exchange_within(CLOSED_WITHIN, stream, first.as_bytes()).await);
                }
                stream.write_all(first.as_bytes()).await.unwrap();
                let mut pace = tokio::time::interval(Duration::from_millis(500));
                let (mut read, mut write) = tokio::io::split(stream);
                tokio::spawn(async move {
                    for _ in 0..60 {
                        pace.tick().await;
                        if write.write_all(drop_of.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
                let mut answer = Vec::new();
                let reading = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut answer);
                let ended = tokio::time::timeout(CLOSED_WITHIN, reading).await;
                (what, ended.is_ok().then_some(answer))
            });
        }
    }
    let began = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    let mut cut = 0;
    while cut < 6 * CLIENTS {
        tokio::select! {
            biased;
            ended = slow.join_next() => {
                let (what, answer) = ended.unwrap().unwrap();
                let answer = answer.unwrap_or_else(|| panic!("{what}: the connection stays open"));
                match what {
                    "no body" | "a body in drops" => assert_eq!(status(&answer), 408, "{what}: {}", String::from_utf8_lossy(&answer)),
                    _ => assert!(matches!(status(&answer), 0 | 408), "{what}: {}", String::from_utf8_lossy(&answer)),
                }
                cut += 1;
            }
            _ = pace.tick() => bench.still_good("a while among slow clients").await,
        }
    }
    // Nobody was cut at once: it was the deadlines that did it.
    assert!(began.elapsed() > Duration::from_secs(9), "{:?}", began.elapsed());
    bench.nothing_lost().await;
    bench.stop().await;
}
