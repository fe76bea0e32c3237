//! Hostile bodies: size, depth, encoding, ids.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::json;
use tower::ServiceExt;

use super::Ask;
use super::probe::Probe;
use crate::mcp::options::Options;

#[tokio::test]
async fn what_is_not_a_message_is_refused() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    let nested = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"echo","arguments":{{"a":{}}}}}}}"#,
        deep("[", "]")
    );
    let deep_meta = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"ping","params":{{"_meta":{}}}}}"#,
        deep(r#"{"a":"#, "").trim_end_matches(':').to_owned() + ":1" + &"}".repeat(100_000)
    );
    let cases: Vec<(&str, Vec<u8>, (u16, i64))> = vec![
        ("empty", b"".to_vec(), (400, -32700)),
        ("blanks", b"  \n ".to_vec(), (400, -32700)),
        ("words", b"hello".to_vec(), (400, -32700)),
        ("cut off", br#"{"jsonrpc":"2.0","id":1,"#.to_vec(), (400, -32700)),
        ("trailing text", br#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#.to_vec(), (400, -32700)),
        ("no UTF-8 in the method", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"p\xff\"}".to_vec(), (400, -32700)),
        (
            "no UTF-8 in the parameters",
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"a\":\"\xc3\x28\"}}".to_vec(),
            (400, -32700),
        ),
        ("a number", b"42".to_vec(), (400, -32600)),
        ("a string", b"\"ping\"".to_vec(), (400, -32600)),
        ("null", b"null".to_vec(), (400, -32600)),
        ("a list for a message", br#"  [["2.0",1,"ping",{}]]"#.to_vec(), (200, -1)),
        ("deep lists", deep("[", "]").into_bytes(), (200, -1)),
        ("deep lists, cut off", "[".repeat(100_000).into_bytes(), (400, -32700)),
        ("deep arguments", nested.into_bytes(), (200, -32602)),
        ("deep _meta", deep_meta.into_bytes(), (200, 0)),
        ("no version", br#"{"id":1,"method":"ping"}"#.to_vec(), (400, -32600)),
        ("version 1.0", br#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#.to_vec(), (400, -32600)),
        ("version is a number", br#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#.to_vec(), (400, -32600)),
        ("no method", br#"{"jsonrpc":"2.0","id":1}"#.to_vec(), (400, -32600)),
        ("method is a number", br#"{"jsonrpc":"2.0","id":1,"method":1}"#.to_vec(), (400, -32600)),
        ("a response", br#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_vec(), (400, -32600)),
        ("method twice", br#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#.to_vec(), (400, -32600)),
        ("id twice", br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#.to_vec(), (400, -32600)),
        (
            "name twice",
            br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#.to_vec(),
            (200, -32602),
        ),
        (
            "an argument twice",
            br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":1,"a":2}}}"#.to_vec(),
            (200, -32602),
        ),
        (
            "a filled argument twice",
            br#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"},
                "argument":{"name":"a","value":""},"context":{"arguments":{"schema":"a","schema":"b"}}}}"#
                .to_vec(),
            (200, -32602),
        ),
        (
            "a number that nothing can hold",
            br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":1e400}}}"#.to_vec(),
            (200, -32602),
        ),
        (
            "a list for _meta",
            br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":["2026-07-28",{},{},null,null,null]}}"#
                .to_vec(),
            (200, -32602),
        ),
        ("params is null", br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#.to_vec(), (200, -32602)),
    ];
    for (name, body, expected) in cases {
        let answer = Ask::raw(body).send().await;
        if expected.1 == 0 {
            // What is skipped may be as deep as it likes.
            answer.result();
        } else if expected.1 == -1 {
            // A batch, none of whose elements is a message.
            let answers = answer.json();
            for answer in answers.as_array().unwrap() {
                assert_eq!(answer["error"]["code"], -32600, "{name}: {answer}");
            }
        } else {
            assert_eq!(answer.refusal(), expected, "{name}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn ids_come_back_as_they_were_sent_or_not_at_all() {
    let long = format!("\"{}\"", "x".repeat(300));
    let cases: Vec<(&str, bool)> = vec![
        ("0", true),
        ("-7", true),
        ("9007199254740993", true),
        ("123456789012345678901234567890", true),
        ("\"\"", true),
        ("\"a \\u00e9 \\n\"", true),
        ("null", false),
        ("1.5", false),
        ("1e3", false),
        ("true", false),
        ("[]", false),
        ("{}", false),
        (&long, false),
    ];
    for (id, fits) in cases {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let answer = Ask::raw(body).send().await;
        if fits {
            assert!(answer.text.contains(&format!(r#""id":{id},"#)), "{id}: {}", answer.text);
        } else {
            assert_eq!(answer.refusal(), (400, -32600), "{id}");
            assert!(answer.json().get("id").is_none(), "{id}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn oversized_bodies_are_refused_with_and_without_a_length() {
    let options = || Options { max_body_bytes: 200, ..Options::default() };
    let probe = Arc::new(Probe::new());
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":"{}"}}}}"#, "x".repeat(200));
    let answer = Ask::raw(body.clone()).send_to(&probe, options()).await;
    assert_eq!(answer.refusal(), (413, -32600));

    // `oneshot` sends no length by itself; this one lies about a small body.
    let small = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let claimed = Ask::raw(&small[..]).header("content-length", "5000");
    assert_eq!(claimed.send_to(&probe, options()).await.refusal(), (413, -32600));
    Ask::raw(&small[..]).send_to(&probe, options()).await.result();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_times_out() {
    let chunks =
        futures_util::stream::once(async { Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"{\"jsonrpc\""))) });
    let endless = futures_util::StreamExt::chain(chunks, futures_util::stream::pending());
    let options = Options { body_timeout: Duration::from_secs(2), ..Options::default() };
    let mut request = Request::post("/mcp").body(Body::new(StreamBody::new(endless))).unwrap();
    *request.headers_mut() = Ask::raw("").headers;
    let router = crate::mcp::router(Arc::new(Probe::new()), options);
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 408);
}

#[tokio::test]
async fn a_stranger_makes_the_server_read_nothing() {
    let unread = futures_util::stream::poll_fn(|_| -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        panic!("the body of a refused caller was read")
    });
    let request = Request::post("/mcp").body(Body::new(StreamBody::new(unread))).unwrap();
    let router = crate::mcp::router(Arc::new(Probe::new()), Options::default());
    assert_eq!(router.oneshot(request).await.unwrap().status(), 401);
}

#[tokio::test]
async fn the_next_request_is_fine() {
    let probe = Arc::new(Probe::new());
    for body in ["", "[[", "{\"id\":null}"] {
        Ask::raw(body).send_to(&probe, Options::default()).await.refusal();
        let good = Ask::modern("tools/call", json!({ "name": "echo" }));
        good.send_to(&probe, Options::default()).await.result();
    }
}
