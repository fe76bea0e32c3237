//! The parts of an NLA, each in this process but over real sockets, TLS and
//! files: [`ControlPlane`], [`Edge`], and [`Admin`], the first operator. The
//! demo puts them together step by step; tests take a whole [`Sandbox`].

mod admin;
mod control_plane;
mod edge;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use nla_domain::{
    clock::{SystemClock, WallClock},
    secret::Secret,
};
use nla_proto::v1;

pub use self::{
    admin::{Admin, idempotency_key},
    control_plane::ControlPlane,
    edge::{Edge, WebCertificate},
};
use crate::{
    mcp::McpClient,
    postgres::Postgres,
    sample::{self, Sample, TemporarySample},
};

/// Parts are up in well under a second; a busy machine takes longer.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at something that becomes ready.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` holds.
///
/// # Errors
/// When it does not hold in time; the error names `what`.
pub async fn wait_for<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) -> Result<()> {
    tokio::time::timeout(READY_WITHIN, async {
        while !condition().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .await
    .with_context(|| format!("{what} did not happen within {} s", READY_WITHIN.as_secs()))
}

/// Builds a server on its port. A program that another thread starts meanwhile
/// inherits a listener that was just closed, for the moment until it runs; so
/// a port that is taken gets a second chance.
pub(crate) async fn on_its_port<T, E, F>(mut build: impl FnMut() -> F) -> Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
    F: Future<Output = Result<T, E>>,
{
    const CHANCES: u32 = 100;
    let taken = |error: &anyhow::Error| {
        error.chain().any(|cause| {
            cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
        })
    };
    for _ in 1..CHANCES {
        match build().await.map_err(anyhow::Error::from) {
            Err(error) if taken(&error) => tokio::time::sleep(LOOK_EVERY).await,
            outcome => return outcome,
        }
    }
    Ok(build().await?)
}

/// The definition of the sample database for the control plane.
///
/// # Errors
/// When the server's CA certificate cannot be read.
pub fn sample_database(postgres: &Postgres) -> Result<v1::Database> {
    let root = std::fs::read_to_string(postgres.ca_file()).context("cannot read the CA of the private PostgreSQL")?;
    Ok(v1::Database {
        name: sample::DATABASE.into(),
        description: "A web shop with two tenants: customers, orders, payments, products".into(),
        host: postgres.host().into(),
        port: postgres.port().into(),
        dbname: sample::DATABASE.into(),
        sslmode: v1::SslMode::VerifyFull.into(),
        root_certificate_pem: root,
        limits: None,
        role_policy: v1::RolePolicy::Unspecified.into(),
    })
}

/// A role that may use all tools on these databases.
pub fn analyst(name: &str, databases: &[&str]) -> v1::Role {
    v1::Role {
        name: name.into(),
        description: "Reads everything that the database role may read".into(),
        databases: databases.iter().map(|name| (*name).into()).collect(),
        tools: vec![
            v1::Tool::ListDatabases.into(),
            v1::Tool::GetSchema.into(),
            v1::Tool::QueryDatabase.into(),
            v1::Tool::ExplainQuery.into(),
        ],
        allow_explain_analyze: true,
        max_rows: 0,
        sql_audit: v1::SqlAudit::Full.into(),
        functions: vec![],
        relations: vec![],
        operators: vec![],
        settings: vec![],
    }
}

/// A whole NLA with the sample database, for tests. Dropped in this order: the
/// parts end before their files go.
#[derive(Debug)]
pub struct Sandbox {
    /// The edges, `edge-1` first.
    pub edges: Vec<Edge>,
    /// The first operator.
    pub admin: Admin,
    /// The control plane.
    pub control_plane: ControlPlane,
    /// The HTTPS certificate of all edges.
    pub web: WebCertificate,
    /// The server with the sample database.
    pub sample: TemporarySample,
}

impl Sandbox {
    /// Two edges; the database `shop`, its reader's credential, and the role
    /// `analyst` are there.
    ///
    /// # Errors
    /// Whatever part does not start.
    pub async fn start() -> Result<Self> {
        Self::with_edges(2).await
    }

    /// As [`Sandbox::start`], with that many edges.
    ///
    /// # Errors
    /// Whatever part does not start.
    pub async fn with_edges(count: usize) -> Result<Self> {
        Self::with_clock(count, Arc::new(SystemClock)).await
    }

    /// The same with another wall clock of the control plane, for tests of what
    /// happens with time.
    ///
    /// # Errors
    /// Whatever part does not start.
    pub async fn with_clock(count: usize, clock: Arc<dyn WallClock>) -> Result<Self> {
        let sample = sample::start_temporary().await?;
        let folder = sample.folder().join("nla");
        nla_proto::files::create_private_dir(&folder)?;
        let control_plane = ControlPlane::start_with_clock(&folder, clock).await?;
        let admin = Admin::connect(control_plane.operator_dir()).await?;
        let web = WebCertificate::make(&folder)?;
        let mut sandbox = Self { edges: Vec::new(), admin, control_plane, web, sample };
        sandbox.admin.create_database(sample_database(&sandbox.sample.postgres)?).await?;
        let Sample { database, reader, reader_password } = &sandbox.sample.sample;
        sandbox.admin.set_credential(database, reader, reader_password).await?;
        sandbox.admin.create_role(analyst("analyst", &[database])).await?;
        for number in 1..=count {
            sandbox.add_edge(&format!("edge-{number}")).await?;
        }
        Ok(sandbox)
    }

    /// Enrols and starts another edge, and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be enrolled or does not become ready.
    pub async fn add_edge(&mut self, id: &str) -> Result<&Edge> {
        let join = self.admin.join_token(id).await?;
        let folder = self.folder().join(id);
        let edge = Edge::start(id, &folder, &self.control_plane, &self.web, join).await?;
        self.edges.push(edge);
        Ok(self.edges.last().expect("one was pushed"))
    }

    /// The folder of control plane and edges.
    pub fn folder(&self) -> std::path::PathBuf {
        self.sample.folder().join("nla")
    }

    /// A new token with these roles, applied on all edges.
    ///
    /// # Errors
    /// When it cannot be made or does not arrive.
    pub async fn token(&self, roles: &[&str]) -> Result<(v1::TokenView, Secret)> {
        let request = v1::CreateTokenRequest {
            owner: "tests@example.com".into(),
            purpose: "tests".into(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            ..Default::default()
        };
        let created = self.admin.create_token(request).await?;
        self.settled().await?;
        Ok(created)
    }

    /// Waits until every edge holds the newest revision.
    ///
    /// # Errors
    /// When one does not in time.
    pub async fn settled(&self) -> Result<()> {
        let revision = self.admin.revision().await?;
        for edge in &self.edges {
            edge.holds(revision).await?;
        }
        Ok(())
    }

    /// A client of one edge.
    ///
    /// # Errors
    /// When the edges' CA certificate cannot be used.
    pub fn client(&self, edge: usize, token: &Secret) -> Result<McpClient> {
        McpClient::new(&self.edges[edge].mcp_url(), Path::new(&self.web.ca), Some(token.clone()))
    }
}
