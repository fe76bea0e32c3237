//! What hostile or broken clients send: each gets an error or a closed
//! connection, and the next one is served.

use std::time::Duration;

use nla_proto::v1::{self, system_client::SystemClient, tokens_client::TokensClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use crate::plane::{DEADLINE, Plane, token_request};

async fn is_well(plane: &Plane) {
    SystemClient::new(plane.admin_channel()).status(v1::StatusRequest {}).await.unwrap();
}

#[tokio::test]
async fn bytes_that_are_not_tls_are_cut_off() {
    let plane = Plane::start().await;
    for address in [plane.address, plane.enrolment] {
        for bytes in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0; 4_096], &[0x16, 3, 1, 0xff, 0xff]] {
            let mut connection = TcpStream::connect(address).await.unwrap();
            connection.write_all(bytes).await.unwrap();
            let mut answer = Vec::new();
            // A reset is as good as an end.
            let _ = timeout(DEADLINE, connection.read_to_end(&mut answer)).await.expect("the connection stays open");
            assert!(answer.len() < 100);
        }
    }
    is_well(&plane).await;
}

#[tokio::test]
async fn a_client_without_a_certificate_gets_nothing_from_the_main_listener() {
    let plane = Plane::start().await;
    let join_token = plane.join_token("e1").await;
    let pin = nla_domain::join::JoinToken::parse(&join_token).unwrap().ca_pin();
    let tls = nla_proto::tls::client::ClientTls::pinned(pin).unwrap();
    let channel = nla_proto::tls::client::channel(&plane.url(), &tls).unwrap();
    SystemClient::new(channel).status(v1::StatusRequest {}).await.unwrap_err();
    is_well(&plane).await;
}

#[tokio::test]
async fn garbage_in_messages_is_refused() {
    let plane = Plane::start().await;
    let channel = plane.admin_channel();
    let call = |path: &'static str, body: Vec<u8>| {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        async move {
            grpc.ready().await.unwrap();
            // A message whose one field is what the test wants to send.
            let codec: ProstCodec<v1::StatusResponse, v1::StatusResponse> = ProstCodec::default();
            let message = v1::StatusResponse { epoch: body, ..Default::default() };
            grpc.unary(Request::new(message), path.parse().unwrap(), codec).await
        }
    };
    // Field 2 of Create is text; bytes that are not UTF-8 are not.
    let error = call("/nla.v1.Tokens/Create", vec![0xff; 8]).await.unwrap_err();
    assert_eq!(error.code(), Code::Internal, "{error}");
    let error = call("/nla.v1.Tokens/Create", vec![b'x'; 2 << 20]).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange, "{error}");
    for path in ["/nla.v1.Tokens/Nope", "/nope", "/nla.v1.Tokens/Create/x"] {
        assert_eq!(call(path, vec![]).await.unwrap_err().code(), Code::Unimplemented, "{path}");
    }
    is_well(&plane).await;
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_holds_nothing_up() {
    let plane = Plane::start().await;
    plane.shop().await;
    let mut abandoned = Vec::new();
    for _ in 0..20 {
        let mut tokens = TokensClient::new(plane.admin_channel());
        let mut request = Request::new(token_request());
        request.set_timeout(Duration::from_nanos(1));
        abandoned.push(tokio::spawn(async move { tokens.create(request).await }));
    }
    for call in abandoned {
        call.abort();
    }
    is_well(&plane).await;
}
