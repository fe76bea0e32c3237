//! An edge in a network namespace of its own whose link goes down: nothing is
//! closed, packets are just gone.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nla_domain::secret::Secret;
use nla_proto::v1::Staleness;
use nla_sandbox::system::wait_for;
use serde_json::{Value, json};

use super::fleet::{EdgeProcess, Fleet, STANDARD, STRICT};
use nla_tests::programs::process::{Ended, Running, until};

/// What a half-open connection may take to be noticed, and a busy machine.
const NOTICED: Duration = Duration::from_secs(10);
const BUSY: Duration = Duration::from_secs(3);

fn ip(words: &[&str]) -> bool {
    Command::new("ip")
        .args(words)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|ended| ended.success())
}

/// A namespace with one link to us; both go with this value.
struct Namespace {
    name: String,
    ours: String,
    address: String,
}

impl Namespace {
    /// `None` where this user may not make one.
    fn make() -> Option<Self> {
        let number = std::process::id();
        let (name, ours, theirs) = (format!("nla-{number}"), format!("nla{number}a"), format!("nla{number}b"));
        // A /30 of its own below 10.253.0.0/16.
        let (third, fourth) = (number / 64 % 256, number % 64 * 4);
        let address = |last: u32| format!("10.253.{third}.{}", fourth + last);
        if !ip(&["netns", "add", &name]) {
            return None;
        }
        let made = Self { name, ours, address: address(1) };
        let Self { name, ours, address: ours_at } = &made;
        let (ours_at, theirs_at) = (format!("{ours_at}/30"), format!("{}/30", address(2)));
        let steps: [&[&str]; 6] = [
            &["link", "add", ours, "type", "veth", "peer", "name", &theirs, "netns", name],
            &["addr", "add", &ours_at, "dev", ours],
            &["link", "set", ours, "up"],
            &["-n", name, "addr", "add", &theirs_at, "dev", &theirs],
            &["-n", name, "link", "set", &theirs, "up"],
            &["-n", name, "link", "set", "lo", "up"],
        ];
        steps.iter().all(|words| ip(words)).then_some(made)
    }

    fn link(&self, state: &str) {
        assert!(ip(&["link", "set", &self.ours, state]));
    }

    /// The same command inside.
    fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.name]).arg(command.get_program()).args(command.get_args());
        inside.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }

    /// A call from the edge's own side: its HTTP status and its error.
    fn call(&self, edge: &EdgeProcess, fleet: &Fleet, token: &Secret) -> (u16, String) {
        let config = fleet.plane.folder().join("curl.config");
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "list_databases", "arguments": {}, "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": { "name": "curl", "version": "1" } } } });
        // Not in the arguments: others can see those.
        let text = format!("header = \"Authorization: Bearer {}\"\n", token.expose());
        nla_proto::files::write_private(&config, text.as_bytes()).unwrap();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "3", "--config"]).arg(&config).arg("--cacert").arg(&fleet.web.ca);
        for header in [
            "Content-Type: application/json",
            "Accept: application/json, text/event-stream",
            "MCP-Protocol-Version: 2026-07-28",
            "Mcp-Method: tools/call",
            "Mcp-Name: list_databases",
        ] {
            curl.args(["--header", header]);
        }
        curl.args(["--data", &body.to_string(), "--write-out", "\n%{http_code}"]);
        curl.arg(format!("https://127.0.0.1:{}/mcp", edge.port));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let ended = Ended::of(self.inside(&curl).env("PATH", path));
        let (body, status) = ended.out.rsplit_once('\n').unwrap_or(("", "0"));
        let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
        let code = body["error"]["data"]["code"].as_str().unwrap_or_default().to_owned();
        (status.parse().unwrap_or(0), code)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The link goes with the namespace that holds its other end.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_is_cut_off_fences_itself_and_comes_back_by_a_step() {
    let required = std::env::var_os("NLA_REQUIRE_NETNS").is_some_and(|value| value == "1");
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let Some(namespace) = Namespace::make().filter(|_| there("curl")) else {
        assert!(!required, "NLA_REQUIRE_NETNS=1, and a network namespace cannot be made here, or curl is missing");
        eprintln!(
            "SKIPPED: partitions were NOT tested: this needs root, `ip netns` and curl; NLA_REQUIRE_NETNS=1 insists"
        );
        return;
    };
    let mut fleet = Fleet::without_edges("0.0.0.0", &[&namespace.address]).await;
    let mut edge = fleet.enrol("edge-1", &namespace.address).await;
    let mut command = namespace.inside(&edge.command());
    edge.running = Some(Running::start(&mut command, fleet.plane.folder(), "edge-1"));
    let (id, revoked) = fleet.token(Staleness::Strict).await;
    let (_, kept) = fleet.token(Staleness::Standard).await;
    let call = |edge: &EdgeProcess, token: &Secret| namespace.call(edge, &fleet, token);
    for token in [&revoked, &kept] {
        wait_for("the edge's first answer", || async { call(&edge, token).0 == 200 }).await.unwrap();
    }
    let seen = |connected: bool| {
        let (_, edges, _) = fleet.nlactl(&["edge", "list"]);
        edges[0]["connected"] == json!(connected)
    };
    assert!(seen(true));

    namespace.link("down");
    let cut = Instant::now();
    let (code, answer, err) = fleet.nlactl(&["token", "revoke", &id, "--yes", "--wait", "0s"]);
    assert_eq!((code, &answer["receipt"]["edges"][0]["state"]), (1, &json!("pending")), "{answer:#} {err}");
    assert!(err.contains("edge-1 (until "), "{err}");
    let revision = answer["receipt"]["revision"].to_string();
    let words = ["receipt", "show", "--revision", &revision, "--strict", "--wait", "20s"];
    let (code, answer, err) = fleet.nlactl(&words);
    assert_eq!((code, &answer["edges"][0]["state"]), (0, &json!("fenced")), "{answer:#} {err}");
    assert!(cut.elapsed() >= STRICT && cut.elapsed() < STRICT + BUSY + BUSY, "{:?}", cut.elapsed());
    assert_eq!(call(&edge, &revoked), (503, "stale".to_owned()));
    // The other class has its own bound.
    until("the end of the longer bound", || call(&edge, &kept) == (503, "stale".to_owned()));
    assert!(cut.elapsed() < STANDARD + BUSY, "{:?}", cut.elapsed());

    until("the half-open connection to be noticed by the control plane", || seen(false));
    assert!(cut.elapsed() < NOTICED + BUSY, "{:?}", cut.elapsed());
    let log = edge.running.as_ref().unwrap().log();
    assert!(log.contains("nothing came from the control plane for 5s"), "{log}");

    namespace.link("up");
    wait_for("the edge's return", || async { call(&edge, &kept).0 == 200 }).await.unwrap();
    assert_eq!(call(&edge, &revoked), (401, "invalid_token".to_owned()));
    let (code, answer, err) = fleet.nlactl(&words);
    assert_eq!((code, &answer["edges"][0]["state"]), (0, &json!("applied")), "{answer:#} {err}");
    // It said which revision it holds, and got the step from there.
    let log = fleet.plane.running().log();
    let connections: Vec<_> = log.lines().filter(|line| line.contains("edge connected")).collect();
    assert!(connections.len() >= 2 && !connections.last().unwrap().contains("revision=0"), "{connections:#?}");
    // `ip netns exec` has become the edge, so that this ends it.
    edge.running.take().unwrap().stop();
}
