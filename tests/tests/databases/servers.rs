//! Something else than a PostgreSQL that answers.

use std::{net::SocketAddr, time::Duration};

use nla_proto::v1;
use nla_sandbox::{port::free_port, system::wait_for};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::bench::{Bench, Case, ask};

/// What answers in PostgreSQL's place, and what is made of it.
struct Impostor {
    name: &'static str,
    says: &'static [u8],
    ends: bool,
    fails: (&'static str, &'static str),
}

const LATE: (&str, &str) = ("authenticate", "did not answer in time");
const STRANGE: (&str, &str) = ("authenticate", "is it PostgreSQL?");
const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
const ALERT: &[u8] = b"S\x15\x03\x03\x00\x02\x02\x28";

const IMPOSTORS: [Impostor; 6] = [
    Impostor { name: "silent", says: b"", ends: false, fails: LATE },
    Impostor { name: "hangs-up", says: b"", ends: true, fails: STRANGE },
    Impostor { name: "speaks-http", says: HTTP, ends: true, fails: STRANGE },
    Impostor { name: "without-tls", says: b"N", ends: true, fails: ("tls", "does not offer TLS") },
    Impostor { name: "bad-tls", says: ALERT, ends: true, fails: ("tls", "TLS") },
    Impostor { name: "silent-tls", says: b"S", ends: false, fails: LATE },
];

/// A server that says these bytes after the first of the client's, and then
/// ends the connection or says no more.
fn impostor(listener: TcpListener, says: &'static [u8], ends: bool) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 8];
            // Whoever connects may leave before that.
            if stream.read_exact(&mut request).await.is_ok() && stream.write_all(says).await.is_ok() && !ends {
                kept.push(stream);
            }
        }
    })
}

async fn listen() -> (TcpListener, u32) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_postgresql_is_named() {
    let bench = Bench::start().await;
    let mut cases = Vec::new();
    let mut servers = Vec::new();
    for Impostor { name, says, ends, fails } in IMPOSTORS {
        let (listener, port) = listen().await;
        servers.push(impostor(listener, says, ends));
        let change = |database: &mut v1::Database| {
            database.port = port;
            // With TLS, anything but a yes reads as a no.
            if name == "speaks-http" {
                database.sslmode = v1::SslMode::Disable.into();
            }
        };
        cases.push(Case { fails: Some(fails), ..bench.case(name, change) });
    }
    let free = free_port().unwrap().into();
    cases.push(Case {
        fails: Some(("connect", "does not accept connections")),
        ..bench.case("nobody-there", |database| database.port = free)
    });
    cases.push(Case {
        fails: Some(("resolve", "host name cannot be resolved")),
        ..bench.case("no-such-name", |database| database.host = "no-such-host.invalid".into())
    });
    let client = bench.define(&cases).await;
    // At once: two of them take as long as a connection may.
    let began = std::time::Instant::now();
    for case in &cases {
        bench.check(&client, case).await;
    }
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    for server in servers {
        server.abort();
    }
}

/// Passes bytes on, both ways, until it is aborted.
fn relay(listener: TcpListener, to: u16) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut relayed = tokio::task::JoinSet::new();
        while let Ok((mut from, _)) = listener.accept().await {
            relayed.spawn(async move {
                if let Ok(mut to) = TcpStream::connect(("127.0.0.1", to)).await {
                    // However it ends, both sides are closed.
                    let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                }
            });
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_breaks_and_comes_back() {
    let bench = Bench::start().await;
    let to = bench.sandbox.sample.postgres.port();
    let port = free_port().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let cases = [Case {
        fails: Some(("connect", "does not accept connections")),
        ..bench.case("behind", |database| database.port = port.into())
    }];
    let client = bench.define(&cases).await;
    bench.check(&client, &cases[0]).await;
    for _ in 0..3 {
        let line = relay(TcpListener::bind(address).await.unwrap(), to);
        wait_for("answers over the line", || async {
            ask(&client, "behind", "SELECT 41 + 1").await["structuredContent"]["rows"] == json!([[42]])
        })
        .await
        .unwrap();
        // Cut with a statement on it: told at once, not at the time limit.
        let running = tokio::spawn({
            let client = client.clone();
            async move { ask(&client, "behind", "SELECT count(*) FROM shop.orders a, shop.orders b, shop.orders c").await }
        });
        let active = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'nla/%' AND state = 'active'";
        wait_for("the statement", || async { bench.admin.query_one(active, &[]).await.unwrap().get::<_, i64>(0) == 1 })
            .await
            .unwrap();
        line.abort();
        let _ = line.await;
        let result = running.await.unwrap();
        assert_eq!(result["_meta"]["nla/error"]["code"], "database_unavailable", "{result}");
        bench.check(&client, &cases[0]).await;
        // PostgreSQL does not notice by itself that nobody reads; for the next round.
        let leftover = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'nla/%'";
        bench.admin.query(leftover, &[]).await.unwrap();
        wait_for("its end", || async { bench.admin.query_one(active, &[]).await.unwrap().get::<_, i64>(0) == 0 })
            .await
            .unwrap();
    }
}
