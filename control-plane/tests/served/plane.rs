//! A control plane for tests, its clients, and an edge that speaks the
//! protocol by hand.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use nla_control_plane::{
    app::{self, RunError},
    config::Config,
    init::{InitOptions, init},
};
use nla_domain::{
    clock::{FixedClock, SystemClock, WallClock},
    join::JoinToken,
    snapshot::{Digest, ItemKey},
};
use nla_proto::{
    convert,
    tls::{
        Identity, Roots,
        client::{ClientTls, channel},
    },
    v1::{self, control_message::Message as ToEdge, edge_message::Message as FromEdge},
};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming, transport::Channel};

/// Everything in these tests happens within this time, or fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// What `look` finds, once it finds something; it is asked again and again.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            match look().await {
                Some(found) => break found,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// A running control plane.
pub(crate) struct Plane {
    pub(crate) folder: TempDir,
    pub(crate) config: Config,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) address: SocketAddr,
    pub(crate) enrolment: SocketAddr,
    stop: CancellationToken,
    running: Option<JoinHandle<Result<(), RunError>>>,
}

/// A key with its certificate.
#[derive(Clone)]
pub(crate) struct Party {
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
    pub(crate) ca_pem: String,
}

impl Party {
    pub(crate) fn tls(&self) -> ClientTls {
        let identity = Identity::from_pem(self.certificate_pem.as_bytes(), self.key_pem.as_bytes()).unwrap();
        ClientTls::new(&identity, &Roots::from_pem(self.ca_pem.as_bytes()).unwrap()).unwrap()
    }
}

/// A fresh key and a request for a certificate.
pub(crate) fn key_and_csr() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    (key.serialize_pem(), csr.pem().unwrap())
}

/// A fresh idempotency key.
pub(crate) fn once() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::listening_on("127.0.0.1:0").await
    }

    /// Clients connect by 127.0.0.1 nevertheless.
    pub(crate) async fn listening_on(address: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = init(InitOptions::new(folder.path().join("data"))).await.unwrap().config;
        config.listen = address.parse().unwrap();
        config.enrolment_listen = config.listen;
        config.shutdown_deadline = Duration::from_secs(5);
        let clock = Arc::new(FixedClock::at(SystemClock.now()));
        let nowhere = config.listen;
        let mut plane = Self {
            folder,
            config,
            clock,
            address: nowhere,
            enrolment: nowhere,
            stop: CancellationToken::new(),
            running: None,
        };
        plane.run().await;
        plane
    }

    async fn run(&mut self) {
        let app = app::build_with_clock(self.config.clone(), self.clock.clone()).await.unwrap();
        let local = |address: SocketAddr| SocketAddr::from(([127, 0, 0, 1], address.port()));
        self.address = local(app.listen_address());
        self.enrolment = local(app.enrolment_address());
        self.stop = CancellationToken::new();
        self.running = Some(tokio::spawn(app.run(self.stop.clone())));
    }

    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        let running = self.running.take().unwrap();
        timeout(DEADLINE, running).await.expect("the control plane did not stop").unwrap().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// Starts on the same data, at the same address.
    pub(crate) async fn start_again(&mut self) {
        self.config.listen.set_port(self.address.port());
        self.run().await;
    }

    /// Seconds since the epoch on its clock.
    pub(crate) fn clock_now(&self) -> i64 {
        self.clock.now().as_micros() / 1_000_000
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The operator that init has made.
    pub(crate) fn admin(&self) -> Party {
        let read = |name: &str| {
            let path: PathBuf = self.folder.path().join("data-operator").join(name);
            std::fs::read_to_string(path).unwrap()
        };
        Party { certificate_pem: read("operator.crt"), key_pem: read("operator.key"), ca_pem: read("ca.crt") }
    }

    pub(crate) fn channel(&self, party: &Party) -> Channel {
        channel(&self.url(), &party.tls()).unwrap()
    }

    pub(crate) fn admin_channel(&self) -> Channel {
        self.channel(&self.admin())
    }

    pub(crate) async fn operator(&self, name: &str, level: v1::Level) -> Party {
        let (key_pem, csr_pem) = key_and_csr();
        let request = v1::CreateOperatorRequest {
            idempotency_key: once(),
            name: name.to_owned(),
            level: level.into(),
            csr_pem,
            lifetime: None,
        };
        let mut operators = v1::operators_client::OperatorsClient::new(self.admin_channel());
        let made = operators.create(request).await.unwrap().into_inner();
        Party { certificate_pem: made.certificate_pem, key_pem, ca_pem: made.ca_bundle_pem }
    }

    pub(crate) async fn join_token(&self, edge: &str) -> String {
        let request =
            v1::CreateJoinTokenRequest { idempotency_key: once(), edge_id: edge.to_owned(), ..Default::default() };
        let mut edges = v1::edges_client::EdgesClient::new(self.admin_channel());
        edges.create_join_token(request).await.unwrap().into_inner().join_token
    }

    pub(crate) async fn join(&self, join_token: &str) -> Result<Party, Status> {
        let pin = JoinToken::parse(join_token).unwrap().ca_pin();
        let channel = channel(&format!("https://{}", self.enrolment), &ClientTls::pinned(pin).unwrap()).unwrap();
        let (key_pem, csr_pem) = key_and_csr();
        let request = v1::JoinRequest { join_token: join_token.to_owned(), csr_pem };
        let joined = v1::enrolment_client::EnrolmentClient::new(channel).join(request).await?.into_inner();
        let certificate = joined.certificate.unwrap();
        Ok(Party { certificate_pem: certificate.chain_pem, key_pem, ca_pem: certificate.ca_bundle_pem })
    }

    pub(crate) async fn edge(&self, id: &str) -> Party {
        self.join(&self.join_token(id).await).await.unwrap()
    }

    pub(crate) async fn revision(&self) -> u64 {
        let mut system = v1::system_client::SystemClient::new(self.admin_channel());
        system.status(v1::StatusRequest {}).await.unwrap().into_inner().revision
    }

    /// The reasons of refused calls of a method, once there are that many: they
    /// are recorded after the caller has its answer.
    pub(crate) async fn refusals(&self, method: &str, count: usize) -> Vec<String> {
        let recorded = async || Some(self.recorded_refusals(method).await).filter(|reasons| reasons.len() >= count);
        eventually("the record of refusals", recorded).await
    }

    async fn recorded_refusals(&self, method: &str) -> Vec<String> {
        let mut audit = v1::audit_client::AuditClient::new(self.admin_channel());
        let events = audit.list(v1::ListAuditRequest::default()).await.unwrap().into_inner().events;
        let refused = |event: v1::AuditEvent| match event.event {
            Some(v1::audit_event::Event::Admin(event)) if event.outcome == i32::from(v1::Outcome::Refused) => {
                (event.action == method).then_some(event.reason)
            }
            _ => None,
        };
        events.into_iter().filter_map(refused).collect()
    }

    /// Waits until edges are told the newest revision: the publisher follows
    /// the store by a moment.
    pub(crate) async fn published(&self) {
        let watcher = self.edge("watcher").await;
        let mut follower = Follower::connect(self.channel(&watcher), Held::default()).await.unwrap();
        follower.reach(self.revision().await).await;
    }

    /// A database `shop`, a role `reader` that opens it, and a credential.
    pub(crate) async fn shop(&self) {
        let channel = self.admin_channel();
        let mut databases = v1::databases_client::DatabasesClient::new(channel.clone());
        let database = Some(database("shop"));
        databases.create(v1::CreateDatabaseRequest { idempotency_key: once(), database }).await.unwrap();
        let mut credentials = v1::credentials_client::CredentialsClient::new(channel.clone());
        let request = v1::SetCredentialRequest {
            idempotency_key: once(),
            database: "shop".to_owned(),
            username: "reader".to_owned(),
            password: "hunter2".to_owned(),
            expected_revision: 0,
        };
        credentials.set(request).await.unwrap();
        let mut roles = v1::roles_client::RolesClient::new(channel);
        roles.create(v1::CreateRoleRequest { idempotency_key: once(), role: Some(role("reader")) }).await.unwrap();
    }

    pub(crate) async fn token(&self) -> v1::CreateTokenResponse {
        let mut tokens = v1::tokens_client::TokensClient::new(self.admin_channel());
        tokens.create(token_request()).await.unwrap().into_inner()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn database(name: &str) -> v1::Database {
    v1::Database {
        name: name.to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 5432,
        dbname: "shop".to_owned(),
        sslmode: v1::SslMode::Disable.into(),
        ..Default::default()
    }
}

pub(crate) fn role(name: &str) -> v1::Role {
    v1::Role {
        name: name.to_owned(),
        databases: vec!["shop".to_owned()],
        tools: vec![v1::Tool::QueryDatabase.into()],
        sql_audit: v1::SqlAudit::Full.into(),
        ..Default::default()
    }
}

pub(crate) fn token_request() -> v1::CreateTokenRequest {
    v1::CreateTokenRequest {
        idempotency_key: once(),
        owner: "team".to_owned(),
        purpose: "test".to_owned(),
        roles: vec!["reader".to_owned()],
        ..Default::default()
    }
}

/// What an edge holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Held {
    pub(crate) epoch: Vec<u8>,
    pub(crate) revision: u64,
    pub(crate) digest: Vec<u8>,
    pub(crate) items: BTreeMap<ItemKey, Vec<u8>>,
}

impl Held {
    fn digest_of_items(&self) -> Vec<u8> {
        let digests: Vec<(&ItemKey, Digest)> = self.items.iter().map(|(key, body)| (key, Digest::of(body))).collect();
        Digest::of_items(digests.iter().map(|(key, digest)| (*key, digest))).0.to_vec()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.items.keys().map(ToString::to_string).collect()
    }
}

/// What the control plane sent, as far as tests care.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    Everything,
    Step { upserts: usize, removals: usize },
}

/// An edge's end of the stream.
pub(crate) struct Follower {
    pub(crate) held: Held,
    pub(crate) out: mpsc::Sender<v1::EdgeMessage>,
    pub(crate) stream: Streaming<v1::ControlMessage>,
}

fn key(kind: i32, id: &str) -> ItemKey {
    ItemKey { kind: convert::from_item_kind("kind", kind).unwrap(), id: id.into() }
}

impl Follower {
    pub(crate) async fn connect(channel: Channel, held: Held) -> Result<Self, Status> {
        Self::connect_as(channel, held, "boot").await
    }

    /// As the process of that boot.
    pub(crate) async fn connect_as(channel: Channel, held: Held, boot: &str) -> Result<Self, Status> {
        let (out, messages) = mpsc::channel(16);
        let hello = v1::Hello {
            epoch: held.epoch.clone(),
            revision: held.revision,
            digest: held.digest.clone(),
            boot_id: boot.to_owned(),
            version: "1".to_owned(),
            mcp_url: "https://edge".to_owned(),
        };
        out.send(v1::EdgeMessage { message: Some(FromEdge::Hello(hello)) }).await.unwrap();
        let mut client = v1::edge_sync_client::EdgeSyncClient::new(channel);
        let stream = client.sync(ReceiverStream::new(messages)).await?.into_inner();
        Ok(Self { held, out, stream })
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Result<Option<ToEdge>, Status> {
        let message = timeout(DEADLINE, self.stream.message()).await.expect("the control plane said nothing");
        Ok(message?.map(|message| message.message.unwrap()))
    }

    /// Takes messages until the state has changed, checks the digest and
    /// acknowledges.
    pub(crate) async fn advance(&mut self) -> Result<Told, Status> {
        let mut arriving = BTreeMap::new();
        let told = loop {
            match self.next().await?.ok_or_else(|| Status::cancelled("the stream has ended"))? {
                ToEdge::SnapshotChunk(chunk) => {
                    arriving.extend(chunk.items.into_iter().map(|item| (key(item.kind, &item.id), item.body.to_vec())));
                }
                ToEdge::SnapshotEnd(end) => {
                    self.held = Held { epoch: end.epoch, revision: end.revision, digest: end.digest, items: arriving };
                    break Told::Everything;
                }
                ToEdge::Delta(delta) => {
                    assert_eq!(delta.from, self.held.revision, "a gap");
                    let told = Told::Step { upserts: delta.upserts.len(), removals: delta.removals.len() };
                    for item in delta.upserts {
                        self.held.items.insert(key(item.kind, &item.id), item.body.to_vec());
                    }
                    for removal in delta.removals {
                        self.held.items.remove(&key(removal.kind, &removal.id));
                    }
                    self.held.revision = delta.to;
                    self.held.digest = delta.digest;
                    break told;
                }
                ToEdge::Heartbeat(beat) => {
                    assert_eq!((beat.revision, &beat.digest), (self.held.revision, &self.held.digest), "out of order");
                }
                other => panic!("unexpected: {other:?}"),
            }
        };
        assert_eq!(self.held.digest_of_items(), self.held.digest, "the digest is not that of the items");
        let ack = v1::Ack { revision: self.held.revision, digest: self.held.digest.clone(), calls_cut: 0 };
        self.send(FromEdge::Ack(ack)).await;
        Ok(told)
    }

    /// Advances until the edge holds `revision`.
    pub(crate) async fn reach(&mut self, revision: u64) {
        while self.held.revision < revision {
            self.advance().await.unwrap();
        }
    }

    pub(crate) async fn send(&self, message: FromEdge) {
        let _ = self.out.send(v1::EdgeMessage { message: Some(message) }).await;
    }
}
