//! Bad input on the control plane's two ports.

use std::{future::poll_fn, net::SocketAddr};

use nla_proto::{
    tls::client::ClientTls,
    v1::{self, tokens_client::TokensClient},
};
use tokio::net::TcpStream;
use tonic::{
    Code, Status,
    codegen::{Service as _, http},
    transport::Channel,
};

use super::{
    bench::{Bench, wanted},
    raw::{exchange, frame, preface, tls},
};

/// Above what a message may have.
const HUGE: usize = 8 << 20;

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("https://").unwrap().parse().unwrap()
}

/// A body of bytes, sent as if it were gRPC; the status of the answer.
async fn raw_call(mut channel: Channel, path: &str, body: Vec<u8>) -> Result<(), Status> {
    poll_fn(|context| channel.poll_ready(context)).await.unwrap();
    let request = http::Request::post(format!("https://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(axum::body::Body::from(body)))
        .unwrap();
    let answer = match channel.call(request).await {
        Ok(answer) => answer,
        Err(error) => return Err(Status::from_error(error.into())),
    };
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return if status.code() == Code::Ok { Ok(()) } else { Err(status) };
    }
    if answer.status() != 200 {
        return Err(Status::unknown(format!("HTTP {}", answer.status())));
    }
    Ok(())
}

/// One message of gRPC, with a length that may be a lie.
fn message(length: u32, bytes: &[u8]) -> Vec<u8> {
    [&[0][..], &length.to_be_bytes(), bytes].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_both_ports() {
    let mut bench = Bench::start().await;
    let plane = &bench.sandbox.control_plane;
    let ports = [address(&plane.url()), address(&plane.enrolment_url())];
    let ca = std::fs::read(plane.operator_dir().join("ca.crt")).unwrap();
    let noise: Vec<u8> = (0..4096u32).map(|number| number.wrapping_mul(2_246_822_519).to_be_bytes()[0]).collect();
    for port in ports {
        let cases: [(&str, &[u8]); 3] =
            [("noise", &noise), ("plain HTTP", b"GET / HTTP/1.1\r\n\r\n"), ("plain HTTP/2", &preface())];
        for (what, bytes) in cases {
            let answer = exchange(what, TcpStream::connect(port).await.unwrap(), bytes).await;
            assert!(answer.is_empty() || answer[0] == 0x15, "{what}: {answer:?}");
            bench.still_administered(what).await;
        }
    }
    // Without a certificate nothing is answered on the main port; with TLS and
    // noise inside nothing on the other.
    let hello = [preface(), frame(6, 0, 0, &[7; 8])].concat();
    if let Ok(stream) = tls(ports[0], &ca, &["h2"]).await {
        let answer = exchange("no certificate", stream, &hello).await;
        assert!(answer.is_empty(), "{answer:?}");
    }
    bench.still_administered("no certificate").await;
    let stream = tls(ports[1], &ca, &["h2"]).await.unwrap();
    exchange("noise inside TLS", stream, &noise).await;
    bench.still_administered("noise inside TLS").await;
    // Connections that say nothing, more than are cut at the same time.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(ports[0]).await.unwrap());
    }
    bench.still_administered("silent connections").await;
    drop(silent);
    bench.still_good("garbage").await;
    bench.nothing_lost().await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_none() {
    let mut bench = Bench::start().await;
    let channel = bench.sandbox.admin.channel();
    let create = "/nla.v1.Tokens/Create";
    let tokens = TokensClient::new(channel.clone()).list(v1::ListTokensRequest::default()).await.unwrap();
    let before = tokens.into_inner().tokens.len();
    let cases: Vec<(&str, &str, Vec<u8>, &[Code])> = vec![
        ("noise", create, message(64, &[0xff; 64]), &[Code::InvalidArgument, Code::Internal]),
        (
            "a field of the wrong kind",
            create,
            message(3, &[0x08, 0x96, 0x01]),
            &[Code::InvalidArgument, Code::Internal],
        ),
        ("text that is none", create, message(4, &[0x12, 2, 0xc3, 0x28]), &[Code::InvalidArgument, Code::Internal]),
        (
            "a length that is a lie",
            create,
            message(1_000, &[0x12, 1]),
            &[Code::Internal, Code::Unknown, Code::InvalidArgument],
        ),
        ("a length of 4 GiB", create, message(u32::MAX, &[1; 100]), &[Code::OutOfRange, Code::ResourceExhausted]),
        (
            "compression that is not spoken",
            create,
            [&[1][..], &message(4, &[1; 4])[1..]].concat(),
            &[Code::Internal, Code::Unimplemented],
        ),
        ("no message", create, Vec::new(), &[Code::Internal, Code::InvalidArgument]),
        ("an empty message", create, message(0, &[]), &[Code::InvalidArgument]),
        (
            "an unknown method",
            "/nla.v1.Tokens/Destroy",
            message(0, &[]),
            &[Code::Unimplemented, Code::PermissionDenied],
        ),
        ("an unknown service", "/nla.v1.Nothing/List", message(0, &[]), &[Code::Unimplemented, Code::PermissionDenied]),
        ("no method", "/", message(0, &[]), &[Code::Unimplemented, Code::PermissionDenied]),
        (
            "joining on the wrong port",
            "/nla.v1.Enrolment/Join",
            message(0, &[]),
            &[Code::Unimplemented, Code::PermissionDenied],
        ),
    ];
    for (what, path, body, expected) in cases {
        let status = raw_call(channel.clone(), path, body).await.expect_err(what);
        assert!(expected.contains(&status.code()), "{what}: {status:?}");
        bench.still_administered(what).await;
    }
    let huge =
        v1::CreateTokenRequest { owner: "x".repeat(HUGE), idempotency_key: "huge".into(), ..wanted(&["analyst"]) };
    let status = TokensClient::new(channel.clone()).create(huge).await.unwrap_err();
    assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status:?}");
    bench.still_administered("a huge message").await;

    // The enrolment port serves one method to those without a certificate.
    let plane = &bench.sandbox.control_plane;
    let join = bench.sandbox.admin.join_token("edge-x").await.unwrap();
    let pin = nla_domain::join::JoinToken::parse(join.expose()).unwrap().ca_pin();
    let enrolment =
        nla_proto::tls::client::connect(&plane.enrolment_url(), &ClientTls::pinned(pin).unwrap()).await.unwrap();
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("administration", create, message(0, &[])),
        ("noise for Join", "/nla.v1.Enrolment/Join", message(64, &[0xff; 64])),
        ("an empty Join", "/nla.v1.Enrolment/Join", message(0, &[])),
        ("a huge Join", "/nla.v1.Enrolment/Join", message(u32::try_from(HUGE).unwrap(), &vec![0; HUGE])),
        ("reflection", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", message(0, &[])),
    ];
    for (what, path, body) in cases {
        let status = raw_call(enrolment.clone(), path, body).await.expect_err(what);
        assert_ne!(status.code(), Code::Ok, "{what}");
        bench.still_administered(what).await;
    }
    bench.still_good("bad messages").await;
    let tokens = TokensClient::new(channel).list(v1::ListTokensRequest::default()).await.unwrap();
    assert_eq!(tokens.into_inner().tokens.len(), before, "nothing was made");
    // The join token was not used up by any of it.
    let (plane, web) = (&bench.sandbox.control_plane, &bench.sandbox.web);
    let folder = bench.sandbox.folder().join("edge-x");
    nla_sandbox::system::Edge::start("edge-x", &folder, plane, web, join).await.unwrap().stop().await.unwrap();
    bench.nothing_lost().await;
    bench.stop().await;
}
