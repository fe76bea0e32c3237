//! A server on the real mTLS listener that answers as a test plans it: late,
//! wrongly, in pages or not at all, as a control plane in trouble would.

use std::{
    collections::VecDeque,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
};

use nla_proto::{
    files,
    tls::{
        Identity, Roots,
        server::{ServerTls, incoming},
    },
    v1::{
        self,
        audit_server::{Audit, AuditServer},
        edges_server::{Edges, EdgesServer},
        receipts_server::{Receipts, ReceiptsServer},
        tokens_server::{Tokens, TokensServer},
    },
};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

/// After all tests.
const LATER: (i32, u8, u8) = (4096, 1, 1);

/// A certificate authority of the test's own.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    fn issue(&self, uri: &str, until: (i32, u8, u8)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (format!("{}{}", certificate.pem(), self.pem), key.serialize_pem())
    }

    /// A configuration folder for an operator of this authority.
    pub(crate) fn operator_folder(&self, folder: &Path, url: &str) {
        self.operator_folder_until(folder, url, LATER);
    }

    /// The same with a certificate that ends on that day.
    pub(crate) fn operator_folder_until(&self, folder: &Path, url: &str, until: (i32, u8, u8)) {
        let (chain, key) = self.issue("spiffe://test/operator/ana", until);
        files::write_public(&folder.join("ana.crt"), chain.as_bytes()).unwrap();
        files::write_private(&folder.join("ana.key"), key.as_bytes()).unwrap();
        files::write_public(&folder.join("ca.crt"), self.pem.as_bytes()).unwrap();
        let config = format!(
            "current_context: test\ncontexts: [{{name: test, url: '{url}', certificate: ana.crt, key: ana.key, ca: ca.crt}}]\n"
        );
        std::fs::write(folder.join("config.yaml"), config).unwrap();
    }
}

/// One planned answer.
pub(crate) enum Answer<T> {
    Now(T),
    Error(Status),
    Never,
}

/// What the server will say and what it was asked.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) creations: Mutex<VecDeque<Answer<v1::CreateTokenResponse>>>,
    pub(crate) listed: Mutex<Vec<v1::TokenView>>,
    pub(crate) edges: Mutex<Vec<v1::EdgeView>>,
    pub(crate) revocation: Mutex<v1::RevokeTokenResponse>,
    pub(crate) receipt: Mutex<v1::Receipt>,
    /// All events, newest first.
    pub(crate) events: Mutex<Vec<v1::AuditEvent>>,
    pub(crate) keys: Mutex<Vec<String>>,
    pub(crate) pages: Mutex<Vec<u32>>,
}

#[derive(Clone)]
struct Service(Arc<Plan>);

#[tonic::async_trait]
impl Tokens for Service {
    async fn create(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        self.0.keys.lock().unwrap().push(request.into_inner().idempotency_key);
        let answer = self.0.creations.lock().unwrap().pop_front();
        match answer.expect("a planned answer") {
            Answer::Now(answer) => Ok(Response::new(answer)),
            Answer::Error(status) => Err(status),
            Answer::Never => std::future::pending().await,
        }
    }

    async fn list(&self, _: Request<v1::ListTokensRequest>) -> Result<Response<v1::ListTokensResponse>, Status> {
        Ok(Response::new(v1::ListTokensResponse { tokens: self.0.listed.lock().unwrap().clone() }))
    }

    async fn get(&self, _: Request<v1::GetTokenRequest>) -> Result<Response<v1::TokenView>, Status> {
        Err(Status::unimplemented("not planned"))
    }

    async fn revoke(&self, _: Request<v1::RevokeTokenRequest>) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        Ok(Response::new(self.0.revocation.lock().unwrap().clone()))
    }

    async fn rotate(&self, _: Request<v1::RotateTokenRequest>) -> Result<Response<v1::RotateTokenResponse>, Status> {
        Err(Status::unimplemented("not planned"))
    }

    async fn update(&self, _: Request<v1::UpdateTokenRequest>) -> Result<Response<v1::TokenView>, Status> {
        Err(Status::unimplemented("not planned"))
    }
}

#[tonic::async_trait]
impl Receipts for Service {
    async fn get(&self, _: Request<v1::GetReceiptRequest>) -> Result<Response<v1::Receipt>, Status> {
        Ok(Response::new(self.0.receipt.lock().unwrap().clone()))
    }
}

#[tonic::async_trait]
impl Edges for Service {
    async fn list(&self, _: Request<v1::ListEdgesRequest>) -> Result<Response<v1::ListEdgesResponse>, Status> {
        Ok(Response::new(v1::ListEdgesResponse { edges: self.0.edges.lock().unwrap().clone() }))
    }

    async fn create_join_token(
        &self,
        _: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        Err(Status::unimplemented("not planned"))
    }

    async fn revoke(&self, _: Request<v1::RevokeEdgeRequest>) -> Result<Response<v1::EdgeView>, Status> {
        Err(Status::unimplemented("not planned"))
    }

    async fn drain(&self, _: Request<v1::DrainEdgeRequest>) -> Result<Response<v1::EdgeView>, Status> {
        Err(Status::unimplemented("not planned"))
    }

    async fn resume(&self, _: Request<v1::ResumeEdgeRequest>) -> Result<Response<v1::EdgeView>, Status> {
        Err(Status::unimplemented("not planned"))
    }

    async fn get(&self, _: Request<v1::GetEdgeRequest>) -> Result<Response<v1::EdgeView>, Status> {
        Err(Status::unimplemented("not planned"))
    }

    async fn quarantine(&self, _: Request<v1::QuarantineEdgeRequest>) -> Result<Response<v1::EdgeView>, Status> {
        Err(Status::unimplemented("not planned"))
    }

    async fn release(&self, _: Request<v1::ReleaseEdgeRequest>) -> Result<Response<v1::EdgeView>, Status> {
        Err(Status::unimplemented("not planned"))
    }
}

#[tonic::async_trait]
impl Audit for Service {
    async fn list(&self, request: Request<v1::ListAuditRequest>) -> Result<Response<v1::ListAuditResponse>, Status> {
        let request = request.into_inner();
        self.0.pages.lock().unwrap().push(request.page_size);
        let from: usize = request.page_token.parse().unwrap_or(0);
        let events = self.0.events.lock().unwrap();
        // Three at a time, whatever is asked for: pages may be short.
        let to = events.len().min(from + request.page_size.min(3) as usize);
        let next_page_token = if to < events.len() { to.to_string() } else { String::new() };
        Ok(Response::new(v1::ListAuditResponse { events: events[from..to].to_vec(), next_page_token }))
    }

    type TailStream = Pin<Box<dyn Stream<Item = Result<v1::AuditEvent, Status>> + Send>>;

    async fn tail(&self, request: Request<v1::TailAuditRequest>) -> Result<Response<Self::TailStream>, Status> {
        let after = request.into_inner().after_sequence;
        let new = (1..=2).map(move |at| Ok(v1::AuditEvent { sequence: after + at, ..Default::default() }));
        Ok(Response::new(Box::pin(tokio_stream::iter(new).chain(tokio_stream::pending()))))
    }
}

/// Serves the plan and returns the URL.
pub(crate) async fn serve(authority: &Authority, plan: Arc<Plan>) -> String {
    let (chain, key) = authority.issue("spiffe://test/control-plane", LATER);
    let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
    let tls = ServerTls::mutual(&identity, &Roots::from_pem(authority.pem.as_bytes()).unwrap()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(TokensServer::new(Service(Arc::clone(&plan))))
        .add_service(ReceiptsServer::new(Service(Arc::clone(&plan))))
        .add_service(EdgesServer::new(Service(Arc::clone(&plan))))
        .add_service(AuditServer::new(Service(plan)));
    tokio::spawn(server.serve_with_incoming(incoming(listener, tls)));
    url
}
