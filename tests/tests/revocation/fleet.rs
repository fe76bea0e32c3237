//! A control plane and edges as processes, with bounds that a test can wait for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nla_domain::secret::Secret;
use nla_proto::{files::write_private, v1};
use nla_sandbox::{
    mcp::McpClient,
    port::free_port,
    sample::{self, TemporarySample},
    system::{Admin, WebCertificate, analyst, sample_database, wait_for},
};
use serde_json::{Value, json};

use super::link::Link;
use nla_tests::programs::{
    binaries::program,
    plane::Plane,
    process::{Ended, Running},
};

/// Bounds of the two classes.
pub(crate) const STRICT: Duration = Duration::from_secs(2);
pub(crate) const STANDARD: Duration = Duration::from_secs(4);
/// No HTTP answer takes longer, unless its edge is stopped.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) struct Fleet {
    pub(crate) edges: Vec<EdgeProcess>,
    pub(crate) plane: Plane,
    pub(crate) web: WebCertificate,
    _sample: TemporarySample,
}

/// An edge, running or not.
pub(crate) struct EdgeProcess {
    pub(crate) id: String,
    pub(crate) port: u16,
    folder: PathBuf,
    pub(crate) running: Option<Running>,
    /// Its way to the control plane, where the test may block it.
    pub(crate) link: Link,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    Refused(u16, String),
    Silent,
}

impl Fleet {
    /// With so many edges, ready.
    pub(crate) async fn start(edges: usize) -> Self {
        let mut fleet = Self::without_edges("127.0.0.1", &[]).await;
        for number in 1..=edges {
            fleet.add(&format!("edge-{number}")).await;
        }
        fleet
    }

    /// A control plane that listens on that address and has more names.
    pub(crate) async fn without_edges(listen: &str, names: &[&str]) -> Self {
        let sample = sample::start_temporary().await.unwrap();
        let (mut plane, _) = Plane::init();
        let names: Vec<_> = ["localhost", "127.0.0.1"].iter().chain(names).map(|name| format!("{name:?}")).collect();
        let config = format!(
            "data_dir = \"data\"\nlisten = \"{listen}:{}\"\nenrolment_listen = \"{listen}:{}\"\nshutdown_seconds = 5\n\
             names = [{}]\n[staleness]\nstrict_seconds = {}\nstandard_seconds = {}\n",
            plane.port,
            plane.enrolment_port,
            names.join(", "),
            STRICT.as_secs(),
            STANDARD.as_secs()
        );
        fs::write(plane.folder().join("control-plane.toml"), config).unwrap();
        plane.start();
        let web = WebCertificate::make(plane.folder()).unwrap();
        let fleet = Self { edges: vec![], plane, web, _sample: sample };
        let admin = fleet.admin().await;
        let shop = &fleet._sample;
        admin.create_database(sample_database(&shop.postgres).unwrap()).await.unwrap();
        let login = &shop.sample;
        admin.set_credential(login.database, login.reader, &login.reader_password).await.unwrap();
        admin.create_role(analyst("analyst", &[login.database])).await.unwrap();
        fleet
    }

    pub(crate) async fn admin(&self) -> Admin {
        Admin::connect(&self.plane.operator_dir()).await.unwrap()
    }

    async fn add(&mut self, id: &str) {
        let mut edge = self.enrol(id, "127.0.0.1").await;
        edge.start();
        edge.ready(&self.web).await;
        self.edges.push(edge);
    }

    /// An edge's configuration; it does not run yet.
    pub(crate) async fn enrol(&self, id: &str, control_plane: &str) -> EdgeProcess {
        let folder = self.plane.folder().to_owned();
        let join = self.admin().await.join_token(id).await.unwrap();
        write_private(&folder.join(format!("{id}.join")), join.expose().as_bytes()).unwrap();
        let port = free_port().unwrap();
        let link = Link::to(self.plane.port).await;
        // From this machine by the link, from elsewhere without.
        let through = if control_plane == "127.0.0.1" { link.port } else { self.plane.port };
        let config = format!(
            "join_token_file = \"{id}.join\"\nstate_dir = \"{id}\"\nlisten = \"127.0.0.1:{port}\"\nshutdown_seconds = 5\n\
             [control_plane]\nurl = \"https://{control_plane}:{through}\"\nenrolment_url = \"https://{control_plane}:{}\"\n\
             [tls]\ncertificate = \"web.pem\"\nkey = \"web.key\"\n\
             [limits]\naddress_per_second = 10000\naddress_burst = 10000\n",
            self.plane.enrolment_port
        );
        fs::write(folder.join(format!("{id}.toml")), config).unwrap();
        EdgeProcess { id: id.to_owned(), port, folder, running: None, link }
    }

    /// A token that every edge has taken over.
    pub(crate) async fn token(&self, staleness: v1::Staleness) -> (String, Secret) {
        let request = v1::CreateTokenRequest {
            owner: "tests@example.com".into(),
            purpose: "revocation".into(),
            roles: vec!["analyst".into()],
            staleness: staleness.into(),
            limits: Some(v1::TokenLimits { calls_per_second: 10_000, burst: 10_000, concurrent_calls: 100 }),
            ..Default::default()
        };
        let (view, secret) = self.admin().await.create_token(request).await.unwrap();
        for edge in &self.edges {
            let client = edge.client(&self.web, &secret);
            wait_for("a new token", || async { query(&client).await == Reply::Done }).await.unwrap();
        }
        (view.id, secret)
    }

    /// `nlactl` with JSON; its exit code and its result.
    pub(crate) fn nlactl(&self, words: &[&str]) -> (i32, Value, String) {
        let ended = Ended::of(self.plane.nlactl(words).args(["-o", "json"]));
        let value = serde_json::from_str(&ended.out).unwrap_or(Value::Null);
        (ended.code, value, ended.err)
    }
}

impl EdgeProcess {
    pub(crate) fn command(&self) -> Command {
        let mut command = program("nla-edge");
        command.args(["--config", &format!("{}.toml", self.id)]).current_dir(&self.folder);
        command
    }

    pub(crate) fn start(&mut self) {
        self.running = Some(Running::start(&mut self.command(), &self.folder, &self.id));
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.signal("KILL");
            running.wait();
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        self.running.as_ref().expect("it was started").signal(signal);
    }

    /// A new client, so with a connection of its own.
    pub(crate) fn client(&self, web: &WebCertificate, token: &Secret) -> McpClient {
        client(self.port, &web.ca, token)
    }

    pub(crate) async fn ready(&self, web: &WebCertificate) {
        let client = self.client(web, &Secret::new("none"));
        let url = format!("https://127.0.0.1:{}/readyz", self.port);
        wait_for(&format!("readiness of {}", self.id), || async {
            let request = axum::http::Request::get(&url).body(Default::default()).unwrap();
            client.send(request).await.is_ok_and(|answer| answer.status == 200)
        })
        .await
        .unwrap();
    }
}

pub(crate) fn client(port: u16, ca: &Path, token: &Secret) -> McpClient {
    McpClient::new(&format!("https://127.0.0.1:{port}/mcp"), ca, Some(token.clone())).unwrap()
}

/// A call that needs the database.
pub(crate) async fn query(client: &McpClient) -> Reply {
    let call = json!({ "name": "query_database", "arguments": { "sql": "SELECT 1" } });
    let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, client.request("tools/call", call)).await else {
        return Reply::Silent;
    };
    let code = |error: &Value| error["code"].as_str().unwrap_or_default().to_owned();
    match answer.status.as_u16() {
        200 if answer.body["result"]["isError"] == json!(true) => {
            Reply::Refused(200, code(&answer.body["result"]["_meta"]["nla/error"]))
        }
        200 => Reply::Done,
        status => Reply::Refused(status, code(&answer.body["error"]["data"])),
    }
}
