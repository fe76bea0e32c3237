//! The demo: starts everything step by step, asks each edge a question over
//! MCP, shows the audit events, prints what to paste into a client, and stays
//! until Ctrl-C. Whatever was started is stopped and whatever was written to a
//! folder of its own is removed, also when a step fails.

mod arguments;
mod example;
mod progress;
mod report;
mod target;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use nla_domain::secret::Secret;
use nla_proto::v1;
use tokio::signal::unix::{SignalKind, signal};

pub use self::arguments::Arguments;
use self::{arguments::Output, progress::Progress, report::Ready, target::Target};
use crate::system::{Admin, ControlPlane, Edge, WebCertificate, analyst};

/// Runs the demo; errors go to stderr with their causes.
pub fn main(arguments: Arguments) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("NLA_LOG").unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let outcome = runtime.block_on(Box::pin(run(arguments)));
    // Parts that were dropped on a failure end with the runtime.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // Nothing is left to do when stderr is closed.
    let _ = writeln!(std::io::stderr(), "nla-demo: {error:#}");
    ExitCode::FAILURE
}

async fn run(arguments: Arguments) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let interrupted = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    tokio::pin!(interrupted);

    let folder = Folder::make(arguments.data_dir.as_deref())?;
    let mut system = None;
    // An interruption while it starts stops it just as one afterwards.
    let outcome = tokio::select! {
        outcome = serve(&arguments, folder.path(), &mut system) => outcome,
        () = &mut interrupted => Ok(()),
    };
    if outcome.is_ok() && system.is_some() && !arguments.exit {
        interrupted.await;
    }
    let progress = Progress::new(&arguments);
    if let Some(system) = system {
        progress.step("stopping", system.stop()).await?;
    }
    outcome
}

/// What has been started, in the order in which it is stopped.
struct System {
    edges: Vec<Edge>,
    control_plane: ControlPlane,
    target: Target,
}

impl System {
    async fn stop(self) -> Result<()> {
        let Self { mut edges, mut control_plane, target } = self;
        for edge in &mut edges {
            edge.stop().await?;
        }
        control_plane.stop().await?;
        target.stop().await;
        Ok(())
    }
}

async fn serve(arguments: &Arguments, folder: &Path, started: &mut Option<System>) -> Result<()> {
    let began = Instant::now();
    let progress = Progress::new(arguments);
    let target = progress.step(Target::what(arguments), Target::prepare(arguments, folder)).await?;
    let control_plane =
        progress.step("control plane: key, store, certificate authority", ControlPlane::start(folder)).await?;
    let system = started.insert(System { edges: Vec::new(), control_plane, target });
    let admin = Admin::connect(system.control_plane.operator_dir()).await?;
    let (token, secret) = progress.step("database, credential, role and token", grant(&admin, &system.target)).await?;
    let web = WebCertificate::make(folder)?;
    for number in 1..=arguments.edges {
        let id = format!("edge-{number}");
        let enrol = async {
            let join = admin.join_token(&id).await?;
            Edge::start(&id, &folder.join(&id), &system.control_plane, &web, join).await
        };
        let edge = progress.step(&format!("{id}: enrolment with a join token, HTTPS"), enrol).await?;
        system.edges.push(edge);
    }
    let ready = Ready {
        mcp_urls: system.edges.iter().map(Edge::mcp_url).collect(),
        token: secret,
        ca_cert: web.ca.clone(),
        control_plane: system.control_plane.url(),
        operator_dir: system.control_plane.operator_dir().to_owned(),
        postgres_url: system.target.url(),
        data_dir: folder.to_owned(),
    };
    let example = progress.step("one MCP call to each edge", example::run(&ready, &system.target)).await?;
    let events = progress.step("their audit events", example::events(&admin, &token.id, ready.mcp_urls.len())).await?;
    let mut out = std::io::stdout().lock();
    match arguments.output {
        Output::Json => writeln!(out, "{}", ready.to_json())?,
        Output::Text => {
            example::print(&mut out, &system.target, &example, &events)?;
            ready.print(&mut out, began.elapsed(), arguments)?;
        }
    }
    out.flush()?;
    Ok(())
}

async fn grant(admin: &Admin, target: &Target) -> Result<(v1::TokenView, Secret)> {
    let database = target.definition()?;
    let name = database.name.clone();
    admin.create_database(database).await?;
    let (username, password) = target.login();
    admin.set_credential(&name, username, password).await?;
    admin.create_role(analyst("analyst", &[&name])).await?;
    let request = v1::CreateTokenRequest {
        owner: "demo".into(),
        purpose: "try NLA".into(),
        roles: vec!["analyst".into()],
        ..Default::default()
    };
    Ok(admin.create_token(request).await?)
}

/// The folder of the demo: one that was asked for stays, one of its own goes.
enum Folder {
    Given(PathBuf),
    Own(tempfile::TempDir),
}

impl Folder {
    fn make(given: Option<&Path>) -> Result<Self> {
        let Some(path) = given else {
            return tempfile::Builder::new()
                .prefix("nla-demo-")
                .tempdir()
                .map(Self::Own)
                .context("cannot create a folder for the demo; name one with --data-dir");
        };
        let path = std::path::absolute(path)?;
        let is_empty = match std::fs::read_dir(&path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
                true
            }
            Err(error) => return Err(error).with_context(|| format!("cannot use {}", path.display())),
        };
        if !is_empty {
            bail!("{} is not empty: each demo starts from nothing; remove it or name another folder", path.display());
        }
        Ok(Self::Given(path))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Own(folder) => folder.path(),
        }
    }
}
