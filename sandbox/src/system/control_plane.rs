//! A control plane in a folder: made by `init`, run in process, restartable on
//! the same ports.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use nla_control_plane::{
    app,
    config::Config,
    init::{InitOptions, init, write_operator_config},
};
use nla_domain::clock::{SystemClock, WallClock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::on_its_port;
use crate::port::free_port;

/// A running control plane. It ends when this value is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    config: Config,
    operator_dir: PathBuf,
    clock: Arc<dyn WallClock>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), app::RunError>>,
}

impl ControlPlane {
    /// Makes a control plane in `folder` and starts it on free loopback ports.
    ///
    /// # Errors
    /// When the folder holds one already, or it does not start.
    pub async fn start(folder: &Path) -> Result<Self> {
        Self::start_with_clock(folder, Arc::new(SystemClock)).await
    }

    /// The same with another wall clock, for tests of what ends with time.
    ///
    /// # Errors
    /// As [`ControlPlane::start`].
    pub async fn start_with_clock(folder: &Path, clock: Arc<dyn WallClock>) -> Result<Self> {
        let mut options = InitOptions::new(folder.join("control-plane"));
        options.operator_dir = Some(folder.join("operator"));
        let report = init(options).await.context("cannot initialise the control plane")?;
        let mut config = report.config;
        config.listen.set_port(free_port()?);
        config.enrolment_listen.set_port(free_port()?);
        let mut control_plane = Self { config, operator_dir: report.operator_dir, clock, running: None };
        control_plane.resume().await?;
        write_operator_config(&control_plane.operator_dir, &control_plane.url())?;
        Ok(control_plane)
    }

    /// Goes by another wall clock from the next start on.
    pub fn set_clock(&mut self, clock: Arc<dyn WallClock>) {
        self.clock = clock;
    }

    /// Starts it again after [`ControlPlane::stop`], where it was before.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn resume(&mut self) -> Result<()> {
        let (config, clock) = (&self.config, &self.clock);
        let app = on_its_port(|| Box::pin(app::build_with_clock(config.clone(), Arc::clone(clock))))
            .await
            .context("cannot start the control plane")?;
        self.config.listen = app.listen_address();
        self.config.enrolment_listen = app.enrolment_address();
        let stop = CancellationToken::new();
        let task = tokio::spawn(Box::pin(app.run(stop.clone())));
        self.running = Some(Running { stop, task });
        Ok(())
    }

    /// Stops it as SIGTERM would, and waits for its end.
    ///
    /// # Errors
    /// When it had failed before.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(running) = self.running.take() {
            running.stop.cancel();
            running.task.await.context("the control plane panicked")??;
        }
        Ok(())
    }

    /// Where operators and edges connect.
    pub fn url(&self) -> String {
        format!("https://{}", self.config.listen)
    }

    /// Where edges join.
    pub fn enrolment_url(&self) -> String {
        format!("https://{}", self.config.enrolment_listen)
    }

    /// The first operator's bundle; fit for `NLA_CONFIG_DIR`.
    pub fn operator_dir(&self) -> &Path {
        &self.operator_dir
    }

    /// How it is configured; a change counts from the next start.
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.stop.cancel();
        }
    }
}
