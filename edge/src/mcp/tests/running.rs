//! Calls over time: deadlines, clients that go away, event streams.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::Ask;
use super::probe::Probe;
use crate::mcp::options::Options;

/// Far above what any step here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

fn modern(name: &str) -> Ask {
    Ask::modern("tools/call", json!({ "name": name }))
}

fn legacy(name: &str) -> Ask {
    Ask::legacy("2025-11-25", "tools/call", json!({ "name": name }))
}

fn with_progress(ask: Ask) -> Ask {
    ask.edit(|body| body["params"]["_meta"]["progressToken"] = json!("p-1"))
}

/// The messages of an event stream; comments are skipped.
fn events(text: &str) -> Vec<Value> {
    assert!(!text.contains("\nid:"), "no event ids: {text}");
    text.split("\n\n")
        .filter(|event| !event.trim().is_empty() && !event.starts_with(':'))
        .map(|event| {
            let data: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            serde_json::from_str(&data.join("\n")).unwrap_or_else(|_| panic!("{event}"))
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn at_its_deadline_a_call_is_told_and_may_still_answer() {
    let probe = Arc::new(Probe::new());
    let options = Options { deadline: Duration::from_secs(30), ..Options::default() };
    let start = Instant::now();
    let answer = modern("hangs").send_to(&probe, options).await;
    assert_eq!(answer.result()["isError"], true);
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ignores_its_deadline_is_dropped_after_the_grace() {
    for ask in [modern("stubborn"), legacy("stubborn"), with_progress(modern("stubborn"))] {
        let options =
            Options { deadline: Duration::from_secs(30), cancel_grace: Duration::from_secs(3), ..Options::default() };
        let start = Instant::now();
        let answer = ask.send_to(&Arc::new(Probe::new()), options).await;
        assert_eq!(answer.refusal(), (504, -32603));
        assert_eq!(start.elapsed().as_secs(), 33);
    }
}

#[tokio::test]
async fn a_lost_connection_cancels_a_modern_call_which_then_cleans_up() {
    let probe = Arc::new(Probe::new());
    let options = Options::default();
    let tasks = options.tasks.clone();
    let request = modern("hangs").start(&probe, options);
    tokio::select! {
        _ = request => panic!("the call cannot have ended"),
        () = probe.started.notified() => {}
    }
    // The select dropped the request, as hyper does when the connection closes.
    timeout(PATIENCE, probe.saw_cancel.notified()).await.unwrap();
    tasks.close();
    timeout(PATIENCE, tasks.wait()).await.unwrap();
}

#[tokio::test]
async fn a_lost_connection_leaves_a_legacy_call_running_unless_told_otherwise() {
    let probe = Arc::new(Probe::new());
    let request = legacy("waits").start(&probe, Options::default());
    tokio::select! {
        _ = request => panic!("the call cannot have ended"),
        () = probe.started.notified() => {}
    }
    probe.release.notify_one();
    timeout(PATIENCE, probe.finished.notified()).await.unwrap();

    let options = Options { cancel_legacy_on_disconnect: true, ..Options::default() };
    let request = legacy("hangs").start(&probe, options);
    tokio::select! {
        _ = request => panic!("the call cannot have ended"),
        () = probe.started.notified() => {}
    }
    timeout(PATIENCE, probe.saw_cancel.notified()).await.unwrap();
}

#[tokio::test]
async fn a_call_that_speaks_is_answered_by_a_stream() {
    let cases = [
        (
            "token and level",
            with_progress(modern("talks")).edit(|body| {
                body["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = json!("warning");
            }),
            vec!["notifications/progress", "notifications/message"],
        ),
        ("token", with_progress(modern("talks")), vec!["notifications/progress"]),
        ("legacy gets every log", legacy("talks"), vec!["notifications/message"; 2]),
        ("neither", modern("talks"), vec![]),
    ];
    for (name, ask, expected) in cases {
        let answer = ask.send().await;
        if expected.is_empty() {
            assert_eq!(answer.header("content-type"), Some("application/json"), "{name}");
            answer.result();
            continue;
        }
        assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{name}");
        assert_eq!(answer.header("x-accel-buffering"), Some("no"), "{name}");
        let mut messages = events(&answer.text);
        let end = messages.pop().unwrap();
        assert_eq!(end["id"], 7, "{name}");
        assert_eq!(end["result"]["content"][0]["text"], "done", "{name}");
        let methods: Vec<&str> = messages.iter().filter_map(|m| m["method"].as_str()).collect();
        assert_eq!(methods, expected, "{name}");
        if let Some(progress) = messages.iter().find(|m| m["method"] == "notifications/progress") {
            let params = json!({ "progressToken": "p-1", "progress": 1.0, "total": 2.0, "message": "half" });
            assert_eq!(progress["params"], params, "{name}");
        }
    }
}

#[tokio::test]
async fn the_stream_starts_before_the_call_ends_and_cancels_it_when_dropped() {
    let probe = Arc::new(Probe::new());
    let ask = with_progress(modern("talks and waits"));
    let response = ask.clone().start(&probe, Options::default()).await;
    probe.release.notify_one();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let messages = events(std::str::from_utf8(&text).unwrap());
    assert_eq!(messages.len(), 2);
    // The line breaks of the tool's own JSON survive the framing.
    assert_eq!(messages[1]["result"]["structuredContent"], json!({ "a": 1 }));

    let options = Options { cancel_grace: Duration::from_millis(1), ..Options::default() };
    let tasks = options.tasks.clone();
    let response = ask.start(&probe, options).await;
    assert!(tasks.is_empty());
    drop(response);
    // Told to stop, it has its grace in the tracker and is then dropped.
    assert_eq!(tasks.len(), 1);
    tasks.close();
    timeout(PATIENCE, tasks.wait()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_of_the_call_wakes_the_stream() {
    let start = Instant::now();
    let probe = Arc::new(Probe::new());
    let response = with_progress(modern("talks from a task")).start(&probe, Options::default());
    let response = async {
        let releases = async {
            probe.started.notified().await;
            probe.release.notify_one();
        };
        tokio::join!(response, releases).0
    };
    let response = timeout(PATIENCE, response).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    // The timer would have woken it as well, so that only the time tells.
    assert!(start.elapsed() < PATIENCE);
}

#[tokio::test]
async fn a_panic_in_a_stream_ends_it_with_an_error() {
    let answer = with_progress(modern("talks and panics")).send().await;
    let messages = events(&answer.text);
    assert_eq!(messages.len(), 2, "{}", answer.text);
    assert_eq!(messages[1]["error"]["code"], -32603);
    assert_eq!(messages[1]["id"], 7);
    let id = answer.header("x-request-id").unwrap();
    assert_eq!(messages[1]["error"]["data"]["requestId"], id);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_kept_alive_by_comments() {
    let probe = Arc::new(Probe::new());
    let options = Options { keep_alive: Duration::from_secs(15), ..Options::default() };
    let response = with_progress(modern("talks and waits")).start(&probe, options).await;
    let mut body = response.into_body();
    let start = Instant::now();
    let mut text = String::new();
    // The clock stands still but for timers, so that each comment takes its 15 s.
    while text.matches(":\n\n").count() < 2 {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        text.push_str(std::str::from_utf8(&frame).unwrap());
    }
    assert_eq!(start.elapsed().as_secs(), 30);
    assert!(body.frame().now_or_never().is_none());
    probe.release.notify_one();
    let rest = body.collect().await.unwrap().to_bytes();
    text.push_str(std::str::from_utf8(&rest).unwrap());
    assert_eq!(events(&text).len(), 2, "{text}");
}
