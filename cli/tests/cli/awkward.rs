//! `nlactl` against a server in trouble and against hostile data: what it
//! repeats, what it tells, how it ends.

use std::{process::Stdio, sync::Arc, time::Duration};

use nla_domain::error::ErrorKind;
use nla_proto::{
    failure::Failure,
    v1::{self, edge_receipt::State},
};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tonic::Status;

use crate::{
    server::{Answer, Authority, Plan, serve},
    support::{LIMIT, command, ended, run},
};

const CREATE: [&str; 8] = ["token", "create", "--owner", "ana", "--purpose", "test", "--role", "r"];

/// A server with that plan and an operator's folder for it.
async fn start(plan: Plan) -> (Arc<Plan>, tempfile::TempDir) {
    let (plan, authority, folder) = (Arc::new(plan), Authority::new(), tempfile::tempdir().unwrap());
    let url = serve(&authority, Arc::clone(&plan)).await;
    authority.operator_folder(folder.path(), &url);
    (plan, folder)
}

fn created() -> v1::CreateTokenResponse {
    v1::CreateTokenResponse {
        token: Some(v1::TokenView { id: "abcDEF012345".into(), ..Default::default() }),
        token_text: "nla_secret".into(),
    }
}

fn planned(answers: impl IntoIterator<Item = Answer<v1::CreateTokenResponse>>) -> Plan {
    Plan { creations: std::sync::Mutex::new(answers.into_iter().collect()), ..Plan::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_change_is_repeated_once_under_the_same_key() {
    let gone = || Answer::Error(Status::unavailable("gone"));
    let (plan, folder) = start(planned([gone(), Answer::Now(created())])).await;
    let ended = run(folder.path(), &CREATE).await.expect(0);
    assert!(ended.out.contains("nla_secret"), "{ended:?}");
    let keys = plan.keys.lock().unwrap().clone();
    assert!(keys.len() == 2 && keys[0] == keys[1] && keys[0].len() == 36, "{keys:?}");

    let (plan, folder) = start(planned([gone(), gone(), gone()])).await;
    let ended = run(folder.path(), &CREATE).await.expect(6);
    assert_eq!(plan.keys.lock().unwrap().len(), 2);
    assert!(ended.out.is_empty() && ended.err.contains("next:"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_control_plane_answers_decides_the_exit_code() {
    let cases = [
        (ErrorKind::PermissionDenied, 3),
        (ErrorKind::NotFound, 4),
        (ErrorKind::Conflict, 5),
        (ErrorKind::FailedPrecondition, 5),
        (ErrorKind::InvalidArgument, 2),
        (ErrorKind::Internal, 1),
        // It answered, so it can be reached; nothing is repeated.
        (ErrorKind::Unavailable, 1),
    ];
    for (kind, code) in cases {
        let failure = Failure::new(kind, "because \u{1b}[31mso").with_field("owner");
        let (plan, folder) = start(planned([Answer::Error(failure.into())])).await;
        let ended = run(folder.path(), &CREATE).await.expect(code);
        assert!(ended.err.contains("because \\u{1b}[31mso") && ended.err.contains("field: owner"), "{ended:?}");
        assert!(ended.out.is_empty() && plan.keys.lock().unwrap().len() == 1, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_is_left_at_the_deadline() {
    let (plan, folder) = start(planned([Answer::Never])).await;
    let words = [&CREATE[..], &["--timeout", "200ms"]].concat();
    let ended = run(folder.path(), &words).await.expect(6);
    assert!(ended.err.contains("may have been made"), "{ended:?}");
    // None when the machine was too busy to get as far as the call.
    assert!(plan.keys.lock().unwrap().len() <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_holds_the_token_only_when_there_is_one() {
    let refused = Failure::new(ErrorKind::Conflict, "no");
    let (_plan, folder) = start(planned([Answer::Error(refused.into()), Answer::Now(created())])).await;
    let path = folder.path().join("new.token");
    let words = [&CREATE[..], &["--output", "json", "--token-file", path.to_str().unwrap()]].concat();
    run(folder.path(), &words).await.expect(5);
    assert!(!path.exists());
    let ended = run(folder.path(), &words).await.expect(0);
    assert!(!ended.out.contains("nla_secret") && ended.json()["token_text"].is_null(), "{ended:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "nla_secret\n");
    // The next one would overwrite it: refused before anything is created.
    run(folder.path(), &words).await.expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_is_not_talked_to() {
    let (_plan, folder) = start(planned([Answer::Now(created())])).await;
    let config = std::fs::read_to_string(folder.path().join("config.yaml")).unwrap();
    let url = config.split('\'').nth(1).unwrap().to_owned();
    let stranger = tempfile::tempdir().unwrap();
    Authority::new().operator_folder(stranger.path(), &url);
    let ended = run(stranger.path(), &CREATE).await.expect(6);
    assert!(ended.err.contains("certificate"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_data_never_reaches_the_terminal_as_it_is() {
    let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}\u{7}\r\nb\u{2028}";
    let token =
        v1::TokenView { id: hostile.into(), owner: hostile.into(), purpose: hostile.into(), ..Default::default() };
    let (_plan, folder) = start(Plan { listed: vec![token].into(), ..Plan::default() }).await;
    for form in ["table", "json", "yaml"] {
        for quiet in [&[][..], &["--quiet"]] {
            let words = [&["token", "list", "--output", form], quiet].concat();
            let ended = run(folder.path(), &words).await.expect(0);
            let bad = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{2028}".contains(c);
            assert!(!ended.out.is_empty() && !ended.out.contains(bad), "{form}: {:?}", ended.out);
        }
    }
    let ended = run(folder.path(), &["token", "list", "-o", "json"]).await;
    assert_eq!(ended.json()[0]["owner"], hostile);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_an_edge_did_not_confirm_fails_but_shows_all() {
    let edge = |id: &str, state: State| v1::EdgeReceipt {
        edge_id: id.into(),
        state: state.into(),
        after: (state == State::Applied).then(|| nla_proto::convert::duration(Duration::from_millis(12))),
        fenced_at: (state == State::Pending).then_some(prost_types::Timestamp { seconds: 4_102_444_800, nanos: 0 }),
        ..Default::default()
    };
    let revocation = v1::RevokeTokenResponse {
        tokens: vec![v1::TokenView { id: "abcDEF012345".into(), ..Default::default() }],
        revision: 4,
        receipt: None,
    };
    let edges = vec![edge("edge-1", State::Applied), edge("edge-2", State::Pending)];
    let receipt = v1::Receipt { revision: 4, complete: false, edges };
    let plan = Plan { revocation: revocation.into(), receipt: receipt.into(), ..Plan::default() };
    let (_plan, folder) = start(plan).await;
    let words = ["token", "revoke", "abcDEF012345"];
    run(folder.path(), &words).await.expect(2);
    let ended = run(folder.path(), &[&words[..], &["--yes", "--wait", "0s"]].concat()).await.expect(1);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(
        (lines[0], *lines.last().unwrap()),
        ("edge-1  applied in 12 ms", "token abcDEF012345 revoked on 1/2 edges in 12 ms")
    );
    assert!(lines[1].starts_with("edge-2  out of reach; refuses from 2100-01-01"), "{ended:?}");
    assert!(ended.err.contains("edge-2 (until 2100-01-01T00:00:00Z at the latest)"), "{ended:?}");
}

fn events(count: u64) -> Vec<v1::AuditEvent> {
    (1..=count).rev().map(|sequence| v1::AuditEvent { sequence, ..Default::default() }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_lists_are_read_page_by_page_up_to_the_limit() {
    let (plan, folder) = start(Plan { events: events(10).into(), ..Plan::default() }).await;
    for (limit, expected) in [("7", 7), ("1", 1), ("100", 10)] {
        let ended = run(folder.path(), &["audit", "list", "--limit", limit, "-o", "json"]).await.expect(0);
        let sequences: Vec<_> =
            ended.json().as_array().unwrap().iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
        assert_eq!(sequences, (1..=10).rev().take(expected).collect::<Vec<_>>());
    }
    assert_eq!(plan.pages.lock().unwrap()[..3], [7, 4, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_begins_with_the_latest_follows_and_ends_with_ctrl_c() {
    let (_plan, folder) = start(Plan { events: events(5).into(), ..Plan::default() }).await;
    let cases: [(&[&str], &[u64]); 2] = [(&["-n", "2"], &[4, 5, 6, 7]), (&["--after", "20"], &[21, 22])];
    for (options, expected) in cases {
        let words = [&["audit", "tail", "-f", "-o", "json"], options].concat();
        let mut child = command(folder.path(), &words).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for sequence in expected {
            let line = tokio::time::timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(event["sequence"], *sequence, "{line}");
        }
        let id = child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let ended = ended(child).await.expect(0);
        assert!(ended.err.contains(&format!("--after {}", expected.last().unwrap())), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_longer_than_what_grpc_takes_by_default_is_shown() {
    let nack = |n: u32| v1::Nack { id: n.to_string(), reason: "r".repeat(200), ..Default::default() };
    let edge = |n: u32| v1::EdgeView {
        id: format!("edge-{n}"),
        connected: true,
        refused_items: (0..100).map(nack).collect(),
        ..Default::default()
    };
    let edges: Vec<_> = (0..300).map(edge).collect();
    let (_, folder) = start(Plan { edges: std::sync::Mutex::new(edges), ..Plan::default() }).await;
    let ended = run(folder.path(), &["edge", "list", "--quiet"]).await.expect(0);
    assert_eq!(ended.out.lines().count(), 300);
}
