//! A real control plane in this process, on ports of its own, with the folder
//! of its first operator.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use nla_control_plane::{
    app::{self, RunError},
    init::{InitOptions, init, write_operator_config},
};
use nla_domain::join::JoinToken;
use nla_proto::{
    tls::client::{self, ClientTls},
    v1::{JoinRequest, enrolment_client::EnrolmentClient},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::run;

/// It serves until it is stopped.
pub(crate) struct ControlPlane {
    folder: tempfile::TempDir,
    operator: PathBuf,
    enrolment: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), RunError>>,
}

impl ControlPlane {
    /// Initialises and starts one.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut report = init(InitOptions::new(folder.path().join("data"))).await.unwrap();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        report.config.listen = any_port;
        report.config.enrolment_listen = any_port;
        let app = Box::pin(app::build(report.config)).await.unwrap();
        let url = format!("https://{}", app.listen_address());
        write_operator_config(&report.operator_dir, &url).unwrap();
        let enrolment = app.enrolment_address();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(Box::pin(app.run(shutdown.clone())));
        Self { operator: report.operator_dir, enrolment, folder, shutdown, serving }
    }

    /// Enrols an edge that never connects.
    pub(crate) async fn enrol(&self, edge: &str) {
        let made = run(&self.operator, &["edge", "join-token", edge, "-o", "json"]).await.expect(0).json();
        let join_token = made["join_token"].as_str().unwrap().to_owned();
        let tls = ClientTls::pinned(JoinToken::parse(&join_token).unwrap().ca_pin()).unwrap();
        let channel = client::connect(&format!("https://{}", self.enrolment), &tls).await.unwrap();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let csr_pem = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        EnrolmentClient::new(channel).join(JoinRequest { join_token, csr_pem }).await.unwrap();
    }

    /// The first operator's folder.
    pub(crate) fn operator(&self) -> &Path {
        &self.operator
    }

    /// A place for files of the test.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it and waits until it has ended. Its files stay as long as the
    /// answer does.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
        self.folder
    }
}
