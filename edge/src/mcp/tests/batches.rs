//! Batches of 2025-03-26: order, bounds, admission of each call.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::Ask;
use super::probe::Probe;
use crate::mcp::options::Options;

fn call(id: Value, name: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": name } })
}

#[tokio::test]
async fn answers_come_in_order_and_one_failure_spares_the_others() {
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let hello = json!({ "jsonrpc": "2.0", "id": "i", "method": "initialize", "params": {} });
    let body = json!([call(json!(1), "echo"), note, 5, call(json!(2), "none"), hello]);
    let answer = Ask::json(&body).send().await;
    assert_eq!(answer.status, 200);
    let json = answer.json();
    let outline: Vec<(Value, Value)> =
        json.as_array().unwrap().iter().map(|a| (a["id"].clone(), a["error"]["code"].clone())).collect();
    let expected =
        [(json!(1), Value::Null), (Value::Null, json!(-32600)), (json!(2), json!(-32602)), (json!("i"), json!(-32600))];
    assert_eq!(outline, expected);
    // An unreadable id is absent, not null.
    assert!(json[1].get("id").is_none());
}

#[tokio::test]
async fn batches_are_bounded_and_of_their_time() {
    let many: Vec<Value> = (0..21).map(|n| call(json!(n), "echo")).collect();
    let twice = json!([call(json!(1), "echo"), call(json!(1), "echo")]);
    let one = json!([call(json!(1), "echo")]);
    let cases = [
        ("empty", Ask::json(&json!([])), (400, -32600)),
        ("too many", Ask::json(&json!(many)), (400, -32600)),
        ("same id twice", Ask::json(&twice), (400, -32600)),
        ("cut off", Ask::raw(&b"[{\"jsonrpc\":\"2.0\"}"[..]), (400, -32700)),
        ("2025-06-18", Ask::json(&one).header("mcp-protocol-version", "2025-06-18"), (400, -32600)),
        ("2026-07-28", Ask::json(&one).header("mcp-protocol-version", "2026-07-28"), (400, -32600)),
    ];
    for (name, ask, expected) in cases {
        assert_eq!(ask.send().await.refusal(), expected, "{name}");
    }
    let explicit = Ask::json(&one).header("mcp-protocol-version", "2025-03-26");
    assert_eq!(explicit.send().await.status, 200);
    let notes = json!([{ "jsonrpc": "2.0", "method": "notifications/initialized" }]);
    let answer = Ask::json(&notes).send().await;
    assert_eq!((answer.status.as_u16(), &*answer.text), (202, ""));
}

#[tokio::test]
async fn each_call_is_admitted_by_itself() {
    let probe = Arc::new(Probe::new());
    probe.admissions_left.store(2, Ordering::SeqCst);
    let body = json!([call(json!(1), "echo"), call(json!(2), "echo"), call(json!(3), "echo")]);
    let answer = Ask::json(&body).send_to(&probe, Options::default()).await.json();
    assert!(answer[0].get("result").is_some());
    assert!(answer[1].get("result").is_some());
    assert_eq!(answer[2]["error"]["code"], 429);
    assert_eq!(probe.admissions.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_panic_in_a_batch_is_answered() {
    let body = json!([call(json!(1), "echo"), call(json!(2), "panics")]);
    assert_eq!(Ask::json(&body).send().await.refusal(), (500, -32603));
}

#[tokio::test]
async fn the_answers_of_a_batch_are_bounded() {
    let body =
        json!([call(json!(1), "large"), call(json!(2), "large"), call(json!(3), "large"), call(json!(4), "echo")]);
    let answer = Ask::json(&body).send().await.json();
    let codes: Vec<_> = answer.as_array().unwrap().iter().map(|answer| answer["error"]["code"].clone()).collect();
    assert_eq!(codes, [Value::Null, Value::Null, json!(413), json!(413)]);
}

#[tokio::test]
async fn an_answer_keeps_its_room_until_it_was_taken() {
    let one = call(json!(1), "large");
    for body in [one.clone(), json!([one.clone(), call(json!(2), "large")])] {
        let probe = Arc::new(Probe::new());
        let mut response = Ask::json(&body).start(&probe, Options::default()).await;
        assert_eq!(Arc::strong_count(&probe.room), 2, "an answer that nobody reads counts once");
        response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(Arc::strong_count(&probe.room), 2, "neither does its beginning free the room");
        response.into_body().collect().await.unwrap();
        assert_eq!(Arc::strong_count(&probe.room), 1);
    }
}
