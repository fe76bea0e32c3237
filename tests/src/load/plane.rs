//! The servers under load, each a process of its own, so that its memory is its
//! own: `nla-control-plane` as it is installed, and the bare broadcast.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nla_control_plane::init::{InitOptions, init, write_operator_config};
use nla_proto::{
    files,
    tls::{
        Identity, Roots,
        client::{ClientTls, channel},
        peer::Peer,
    },
    v1::{self, operators_client::OperatorsClient},
};
use nla_sandbox::{
    port::free_port,
    system::{Admin, idempotency_key, wait_for},
};
use tonic::transport::Channel;

/// A program that runs until it is stopped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
}

impl Server {
    fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child })
    }

    /// A figure of `/proc/<pid>/status` in bytes, such as `VmHWM`.
    pub(super) fn memory_bytes(&self, name: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib: u64 = line.and_then(|line| line.split_whitespace().next()).context("no such figure")?.parse()?;
        Ok(kib * 1024)
    }

    /// Ends it with SIGTERM and waits.
    fn stop(mut self) -> Result<()> {
        // The standard library can send nothing but SIGKILL.
        let id = self.child.id().to_string();
        if !Command::new("sh").args(["-c", "kill -s TERM \"$1\"", "sh", &id]).status()?.success() {
            bail!("cannot stop process {id}");
        }
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { bail!("the control plane ended with {status}") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The control plane, in a folder of its own.
#[derive(Debug)]
pub(super) struct Plane {
    program: PathBuf,
    folder: PathBuf,
    pub(super) address: SocketAddr,
    pub(super) enrolment: SocketAddr,
    pub(super) server: Server,
    pub(super) admin: Admin,
}

impl Plane {
    /// Makes one and starts it.
    pub(super) async fn start(program: &Path, folder: &Path) -> Result<Self> {
        let operator_dir = folder.join("operator");
        let mut options = InitOptions::new(folder.join("data"));
        options.operator_dir = Some(operator_dir.clone());
        init(options).await.context("cannot initialise the control plane")?;
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (address, enrolment) = (local(free_port()?), local(free_port()?));
        let config = format!("data_dir = \"data\"\nlisten = \"{address}\"\nenrolment_listen = \"{enrolment}\"\n");
        std::fs::write(folder.join("control-plane.toml"), config)?;
        write_operator_config(&operator_dir, &format!("https://{address}"))?;
        let server = launch(program, folder)?;
        let admin = tokio::sync::OnceCell::new();
        wait_for("the start of the control plane", || async {
            admin.get_or_try_init(|| Admin::connect(&operator_dir)).await.is_ok()
        })
        .await?;
        let admin = admin.into_inner().context("nobody has connected")?;
        Ok(Self { program: program.into(), folder: folder.into(), address, enrolment, server, admin })
    }

    /// Where edges and operators connect.
    pub(super) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Stops it and starts it again on the same data. When the new process was
    /// started.
    pub(super) async fn restart(self) -> Result<(Self, Instant)> {
        let Self { program, folder, address, enrolment, server, admin } = self;
        tokio::task::spawn_blocking(move || server.stop()).await??;
        let started = Instant::now();
        let server = launch(&program, &folder)?;
        Ok((Self { program, folder, address, enrolment, server, admin }, started))
    }

    /// A further operator: each may make so many changes in an hour.
    pub(super) async fn operator(&self, name: &str) -> Result<Channel> {
        let key = rcgen::KeyPair::generate()?;
        let request = v1::CreateOperatorRequest {
            idempotency_key: idempotency_key(),
            name: name.into(),
            level: v1::Level::Admin.into(),
            csr_pem: rcgen::CertificateParams::default().serialize_request(&key)?.pem()?,
            lifetime: None,
        };
        let made = OperatorsClient::new(self.admin.channel()).create(request).await?.into_inner();
        let identity = Identity::from_pem(made.certificate_pem.as_bytes(), key.serialize_pem().as_bytes())?;
        let tls = ClientTls::new(&identity, &Roots::from_pem(made.ca_bundle_pem.as_bytes())?)?;
        channel(&self.url(), &tls).map_err(|failure| anyhow::anyhow!("{failure}"))
    }
}

fn launch(program: &Path, folder: &Path) -> Result<Server> {
    let mut command = Command::new(program);
    command.args(["--config", "control-plane.toml"]).current_dir(folder);
    Server::start(&mut command, &folder.join("control-plane.log"))
}

/// The bare broadcast server.
#[derive(Debug)]
pub(super) struct Broadcast {
    pub(super) url: String,
    /// What its clients trust.
    pub(super) roots: Roots,
    _server: Server,
}

impl Broadcast {
    /// Starts `program`, which takes the arguments of this program's
    /// `bare-server`.
    pub(super) async fn start(program: &Path, folder: &Path, trust_domain: &str) -> Result<Self> {
        let mut authority = rcgen::CertificateParams::default();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        let authority_key = rcgen::KeyPair::generate()?;
        let ca = authority.self_signed(&authority_key)?.pem();
        let key = rcgen::KeyPair::generate()?;
        let mut own = rcgen::CertificateParams::default();
        own.subject_alt_names.push(rcgen::SanType::URI(Peer::ControlPlane.spiffe_id(trust_domain).try_into()?));
        own.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let chain = own.signed_by(&key, &rcgen::Issuer::new(authority, authority_key))?.pem();
        let (chain_file, key_file) = (folder.join("broadcast.pem"), folder.join("broadcast.key"));
        files::write_public(&chain_file, chain.as_bytes())?;
        files::write_private(&key_file, key.serialize_pem().as_bytes())?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut command = Command::new(program);
        command.arg("bare-server").args(["--listen", &address.to_string()]);
        command.arg("--certificate").arg(&chain_file).arg("--key").arg(&key_file);
        let server = Server::start(&mut command, &folder.join("broadcast.log"))?;
        let listens = || async { tokio::net::TcpStream::connect(address).await.is_ok() };
        wait_for("the start of the broadcast server", listens).await?;
        Ok(Self { url: format!("https://{address}"), roots: Roots::from_pem(ca.as_bytes())?, _server: server })
    }
}

/// How long a step of the measurement may take before it counts as failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
