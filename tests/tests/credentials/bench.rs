//! A sandbox whose sample database has a manager and a pair of roles, and the
//! calls of an operator who rotates.

use std::sync::Arc;

use nla_control_plane::{
    crypto::Kek,
    store::{Store, StoreOptions},
};
use nla_domain::{
    clock::{SystemClock, WallClock},
    credential::generate_password,
    secret::Secret,
};
use nla_proto::v1::{self, RotationStep, rotations_client::RotationsClient};
use nla_sandbox::{
    sample,
    system::{Sandbox, idempotency_key, wait_for},
};
use tokio_postgres::Client;
use tokio_stream::StreamExt as _;
use tonic::Status;

pub(crate) const MANAGER: &str = "nla_manager";
pub(crate) const PAIR: [&str; 2] = ["shop_nla_a", "shop_nla_b"];

/// More calls than any test makes.
const AMPLE: v1::TokenLimits = v1::TokenLimits { calls_per_second: 10_000, burst: 10_000, concurrent_calls: 100 };

pub(crate) struct Bench {
    pub(crate) sandbox: Sandbox,
    /// A superuser's session.
    pub(crate) watch: Client,
    pub(crate) manager_password: Secret,
}

impl Bench {
    /// With that many edges; the server logs every statement.
    pub(crate) async fn start(edges: usize) -> Self {
        Self::start_with_clock(edges, Arc::new(SystemClock)).await
    }

    /// The same with another wall clock of the control plane.
    pub(crate) async fn start_with_clock(edges: usize, clock: Arc<dyn WallClock>) -> Self {
        let sandbox = Sandbox::with_clock(edges, clock).await.unwrap();
        let watch = sandbox.sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
        // The log of this program is searched for it, and other tests log theirs.
        let manager_password = generate_password().unwrap();
        let [a, b] = PAIR;
        let statements = [
            format!("CREATE ROLE {MANAGER} LOGIN CREATEROLE PASSWORD '{}'", manager_password.expose()),
            format!("GRANT CONNECT ON DATABASE {} TO {MANAGER}", sample::DATABASE),
            format!("CREATE ROLE {a} NOLOGIN; CREATE ROLE {b} NOLOGIN; GRANT {} TO {a}, {b}", sample::READER),
            format!("GRANT {a}, {b} TO {MANAGER} WITH ADMIN OPTION"),
            "ALTER SYSTEM SET log_statement = 'all'".to_owned(),
            "SELECT pg_reload_conf()".to_owned(),
        ];
        for statement in statements {
            watch.batch_execute(&statement).await.unwrap();
        }
        wait_for("a server that logs all", || async {
            let shown: String = watch.query_one("SHOW log_statement", &[]).await.unwrap().get(0);
            shown == "all"
        })
        .await
        .unwrap();
        Self { sandbox, watch, manager_password }
    }

    /// The same, ready to rotate.
    pub(crate) async fn configured(edges: usize) -> Self {
        let bench = Self::start(edges).await;
        bench.configure(PAIR, &bench.manager_password).await.unwrap();
        bench
    }

    pub(crate) fn client(&self) -> RotationsClient<tonic::transport::Channel> {
        RotationsClient::new(self.sandbox.admin.channel())
    }

    pub(crate) async fn configure(&self, roles: [&str; 2], password: &Secret) -> Result<v1::RotationView, Status> {
        let request = v1::ConfigureRotationRequest {
            idempotency_key: idempotency_key(),
            database: sample::DATABASE.into(),
            manager_username: MANAGER.into(),
            manager_password: password.expose().into(),
            roles: roles.map(str::to_owned).to_vec(),
        };
        self.client().configure(request).await.map(tonic::Response::into_inner)
    }

    /// Rotates and watches until it stands still.
    pub(crate) async fn rotate(&self, change: impl FnOnce(&mut v1::StartRotationRequest)) -> v1::RotationRun {
        let mut request = v1::StartRotationRequest {
            idempotency_key: idempotency_key(),
            database: sample::DATABASE.into(),
            ..Default::default()
        };
        change(&mut request);
        let mut stream = self.client().start(request).await.unwrap().into_inner();
        let mut last = None;
        while let Some(view) = stream.next().await {
            last = view.unwrap().run;
        }
        last.unwrap()
    }

    /// Begins one without watching it.
    pub(crate) async fn begin(&self) -> Result<(), Status> {
        let request = v1::StartRotationRequest {
            idempotency_key: idempotency_key(),
            database: sample::DATABASE.into(),
            ..Default::default()
        };
        self.client().start(request).await.map(drop)
    }

    pub(crate) async fn run(&self) -> v1::RotationRun {
        let request = v1::GetRotationRequest { database: sample::DATABASE.into() };
        self.client().get(request).await.unwrap().into_inner().run.unwrap()
    }

    pub(crate) async fn abort(&self) -> Result<v1::RotationView, Status> {
        let request =
            v1::AbortRotationRequest { idempotency_key: idempotency_key(), database: sample::DATABASE.into() };
        self.client().abort(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn resume(&self, force: bool) -> Result<v1::RotationView, Status> {
        let request =
            v1::ResumeRotationRequest { idempotency_key: idempotency_key(), database: sample::DATABASE.into(), force };
        self.client().resume(request).await.map(tonic::Response::into_inner)
    }

    /// Waits until the newest rotation satisfies a condition.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&v1::RotationRun) -> bool) -> v1::RotationRun {
        wait_for(what, || async { holds(&self.run().await) }).await.unwrap();
        self.run().await
    }

    pub(crate) async fn ended(&self) -> v1::RotationRun {
        self.until("the end of a rotation", is_ended).await
    }

    /// Whether a role may log in, and whether it has a password.
    pub(crate) async fn open(&self, role: &str) -> (bool, bool) {
        let sql = "SELECT rolcanlogin, rolpassword IS NOT NULL FROM pg_authid WHERE rolname = $1";
        let row = self.watch.query_one(sql, &[&role]).await.unwrap();
        (row.get(0), row.get(1))
    }

    pub(crate) async fn sessions(&self, role: &str) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
        self.watch.query_one(sql, &[&role]).await.unwrap().get(0)
    }

    pub(crate) async fn token(&self) -> Secret {
        let request = v1::CreateTokenRequest {
            owner: "tests@example.com".into(),
            purpose: "rotation".into(),
            roles: vec!["analyst".into()],
            limits: Some(AMPLE),
            ..Default::default()
        };
        let (_, secret) = self.sandbox.admin.create_token(request).await.unwrap();
        self.sandbox.settled().await.unwrap();
        secret
    }

    /// As whom an edge logs in for a caller.
    pub(crate) async fn user(&self, edge: usize, token: &Secret) -> String {
        let client = self.sandbox.client(edge, token).unwrap();
        let answer = client.query("SELECT current_user").await.unwrap();
        answer["rows"][0][0].as_str().unwrap().to_owned()
    }

    /// Waits until that many edges hold a stream.
    pub(crate) async fn connected(&self, edges: usize) {
        wait_for("connected edges", || async {
            let mut client = v1::edges_client::EdgesClient::new(self.sandbox.admin.channel());
            let listed = client.list(v1::ListEdgesRequest {}).await;
            listed.is_ok_and(|listed| listed.get_ref().edges.iter().filter(|edge| edge.connected).count() == edges)
        })
        .await
        .unwrap();
    }

    /// The password in force, read as only the holder of the key can.
    pub(crate) async fn password(&mut self) -> Secret {
        self.sandbox.control_plane.stop().await.unwrap();
        let config = self.sandbox.control_plane.config_mut().clone();
        let kek = Kek::load(&config.key_file, &config.data_dir).unwrap();
        let options = StoreOptions::new(&config.data_dir, Arc::new(SystemClock));
        let store = Store::open(options, &kek).unwrap();
        let credential = store.state().credentials.values().next().unwrap().value.clone();
        store.close().await;
        drop(store);
        self.sandbox.control_plane.resume().await.unwrap();
        credential.password
    }
}

pub(crate) fn is_ended(run: &v1::RotationRun) -> bool {
    matches!(run.step(), RotationStep::Done | RotationStep::Aborted)
}

/// The role of the pair that is not this one.
pub(crate) fn other(role: &str) -> &'static str {
    if role == PAIR[0] { PAIR[1] } else { PAIR[0] }
}
