//! The drill: a control plane is lost with its data while agents work, and
//! comes back from a backup.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nla_proto::v1::{self, edges_client::EdgesClient, roles_client::RolesClient, tokens_client::TokensClient};
use nla_sandbox::{
    mcp::McpClient,
    system::{Sandbox, analyst, idempotency_key, wait_for},
};
use nla_tests::traffic::{SELECT_1, Traffic};
use serde_json::{Value, json};

use nla_tests::programs::{
    binaries::program,
    process::{Ended, Running, until},
};

/// Slow enough for the edges' audit queues to hold what happens while the
/// control plane is away.
const PACE: Duration = Duration::from_millis(100);

/// The sandbox's control plane, run by its real program.
struct Program {
    running: Option<Running>,
    folder: PathBuf,
    flags: Vec<String>,
    operator_dir: PathBuf,
}

impl Program {
    async fn take_over(sandbox: &mut Sandbox) -> Self {
        sandbox.control_plane.stop().await.unwrap();
        let operator_dir = sandbox.control_plane.operator_dir().to_owned();
        let config = sandbox.control_plane.config_mut();
        let flags = [
            ("--data-dir", config.data_dir.display().to_string()),
            ("--key-file", config.key_file.display().to_string()),
            ("--listen", config.listen.to_string()),
            ("--enrolment-listen", config.enrolment_listen.to_string()),
        ];
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
        let mut program = Self { running: None, folder: sandbox.folder(), flags, operator_dir };
        program.start();
        program
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = program("nla-control-plane");
        command.args(words).args(&self.flags).current_dir(&self.folder);
        command
    }

    fn start(&mut self) {
        self.running = Some(Running::start(&mut self.command(&["run"]), &self.folder, "program"));
        until("the start of the control plane", || Ended::of(&mut self.nlactl(&["system", "status"])).code == 0);
    }

    fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        running.signal("KILL");
        running.wait();
    }

    fn nlactl(&self, words: &[&str]) -> Command {
        let mut command = program("nlactl");
        command.args(words).env("NLA_CONFIG_DIR", &self.operator_dir).current_dir(&self.folder);
        command
    }

    fn run(&self, words: &[&str]) -> Ended {
        Ended::of(&mut self.nlactl(words)).expect(0)
    }

    fn json(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["-o", "json"]).collect();
        serde_json::from_str(&self.run(&words).out).unwrap()
    }
}

async fn status(client: &McpClient) -> u16 {
    let call = json!({ "name": "query_database", "arguments": { "sql": "SELECT 1" } });
    client.request("tools/call", call).await.unwrap().status.as_u16()
}

fn events(program: &Program, action: &str) -> Vec<Value> {
    let listed = program.json(&["audit", "list", "--kind", "admin", "--limit", "1000"]);
    let events = listed.as_array().unwrap().iter().filter(|event| event["action"] == action);
    events.cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_is_lost_and_comes_back_from_its_backup() {
    let mut sandbox = Sandbox::start().await.unwrap();
    let (kept_id, kept) = sandbox.token(&["analyst"]).await.unwrap();
    let (doomed_id, doomed_secret) = sandbox.token(&["analyst"]).await.unwrap();
    let mut program = Program::take_over(&mut sandbox).await;
    let load = Traffic::start((0..2).map(|edge| sandbox.client(edge, &kept).unwrap()), PACE, SELECT_1);
    load.goes_on(10).await;

    let made = program.run(&["system", "backup", "drill.nlabackup"]);
    assert!(made.err.contains("keep that elsewhere"), "{made:?}");
    let backup = program.folder.join("drill.nlabackup");
    let manifest = program.json(&["system", "backup-info", "drill.nlabackup"]);
    assert_eq!((&manifest["whole"], &manifest["authenticated"]), (&json!(true), &json!(false)), "{manifest}");

    // What the backup cannot know of: a revocation, a token, a narrower role,
    // an edge, and calls that were recorded.
    sandbox.admin.revoke_token(&doomed_id.id).await.unwrap();
    let (late_id, late_secret) = sandbox.token(&["analyst"]).await.unwrap();
    let doomed: Vec<McpClient> = (0..2).map(|edge| sandbox.client(edge, &doomed_secret).unwrap()).collect();
    let late: Vec<McpClient> = (0..2).map(|edge| sandbox.client(edge, &late_secret).unwrap()).collect();
    for edge in 0..2 {
        assert_eq!((status(&doomed[edge]).await, status(&late[edge]).await), (401, 200));
    }
    let mut roles = RolesClient::new(sandbox.admin.channel());
    let role = roles.get(v1::GetRoleRequest { name: "analyst".into() }).await.unwrap().into_inner();
    let changed = v1::Role { description: "changed after the backup".into(), ..analyst("analyst", &["shop"]) };
    let request = v1::UpdateRoleRequest {
        idempotency_key: idempotency_key(),
        role: Some(changed),
        expected_revision: role.meta.unwrap().revision,
    };
    roles.update(request).await.unwrap();
    load.goes_on(20).await;
    let delivered = || async { sandbox.admin.calls(&kept_id.id).await.unwrap().len() > 20 };
    wait_for("recorded calls", delivered).await.unwrap();

    // The loss.
    program.kill();
    let data = sandbox.control_plane.config_mut().data_dir.clone();
    fs::remove_dir_all(&data).unwrap();
    load.goes_on(10).await;
    for doomed in &doomed {
        assert_eq!(status(doomed).await, 401, "while the control plane is away");
    }
    let checked = program.command_for_backup(&backup);
    assert!(checked.out.contains("can be restored with this key"), "{checked:?}");
    let restored = Ended::of(&mut program.command(&["restore", "drill.nlabackup"])).expect(0);
    for expected in ["Check these", "admin (admin)", "edge-1, edge-2", "nlactl operator list", "new epoch"] {
        assert!(restored.out.contains(expected), "{expected}: {}", restored.out);
    }
    program.start();

    // The edges follow it without a restart, and what was revoked stays so.
    let followed = || async { status(&late[0]).await == 401 && status(&late[1]).await == 401 };
    wait_for("edges that follow the restored store", followed).await.unwrap();
    let mut tokens = TokensClient::new(sandbox.admin.channel());
    let revoked = || async {
        let request = v1::GetTokenRequest { id: doomed_id.id.clone() };
        let token = TokensClient::new(sandbox.admin.channel()).get(request).await.unwrap().into_inner();
        token.revoked_at.is_some()
    };
    for doomed in &doomed {
        assert_eq!(status(doomed).await, 401, "after the restore");
    }
    wait_for("a revocation by what edges remember", revoked).await.unwrap();
    let again = events(&program, "revoke-after-restore");
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(again[0]["object"], format!("token/{}", doomed_id.id));
    assert!(again[0]["actor"].as_str().unwrap().starts_with("edge/edge-"), "{again:?}");
    let missing = tokens.get(v1::GetTokenRequest { id: late_id.id.clone() }).await.unwrap_err();
    assert_eq!(missing.code(), tonic::Code::NotFound, "made after the backup: it is gone");
    let role = roles.get(v1::GetRoleRequest { name: "analyst".into() }).await.unwrap().into_inner();
    assert_ne!(role.role.unwrap().description, "changed after the backup");

    // A new edge, which has never seen the revocation, learns it.
    sandbox.add_edge("edge-3").await.unwrap();
    for secret in [&doomed_secret, &late_secret] {
        assert_eq!(status(&sandbox.client(2, secret).unwrap()).await, 401);
    }
    assert_eq!(status(&sandbox.client(2, &kept).unwrap()).await, 200);
    load.goes_on(20).await;
    let answered = load.end().await.len();

    // The audit log goes on, and says what it lacks.
    let calls_before = sandbox.admin.calls(&kept_id.id).await.unwrap().len();
    for edge in 0..2 {
        assert_eq!(status(&sandbox.client(edge, &kept).unwrap()).await, 200);
    }
    let recorded = || async { sandbox.admin.calls(&kept_id.id).await.unwrap().len() >= calls_before + 2 };
    wait_for("calls after the restore in the audit log", recorded).await.unwrap();
    let gaps = events(&program, "audit-gap");
    let of: std::collections::BTreeSet<&str> = gaps.iter().map(|gap| gap["object"].as_str().unwrap()).collect();
    assert_eq!((gaps.len(), of), (2, ["edge/edge-1", "edge/edge-2"].into()), "{gaps:?}");
    assert_eq!(events(&program, "restore").len(), 1);
    let state = program.json(&["system", "status"]);
    assert!(!state["restored_at"].is_null() && state["tokens_revoked_again"] == 1, "{state}");
    assert_eq!(program.json(&["system", "verify"])["sound"], true);
    let edges = EdgesClient::new(sandbox.admin.channel()).list(v1::ListEdgesRequest {}).await.unwrap().into_inner();
    assert_eq!(edges.edges.len(), 3);
    println!("{answered} calls were answered over the loss and the restore, none failed");
    program.running.take().unwrap().stop();
}

impl Program {
    fn command_for_backup(&self, backup: &Path) -> Ended {
        let key = &self.flags[3];
        let mut command = program("nla-control-plane");
        Ended::of(command.arg("verify-backup").arg(backup).args(["--key-file", key])).expect(0)
    }
}
