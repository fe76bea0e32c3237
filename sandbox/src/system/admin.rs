//! The first operator: the same gRPC calls as `nlactl` makes.

use std::path::Path;

use anyhow::{Context as _, Result};
use nla_domain::secret::Secret;
use nla_proto::{
    failure::Failure,
    tls::{
        Identity, Roots,
        client::{self, ClientTls},
    },
    v1::{
        self, audit_client::AuditClient, credentials_client::CredentialsClient, databases_client::DatabasesClient,
        edges_client::EdgesClient, roles_client::RolesClient, system_client::SystemClient, tokens_client::TokensClient,
    },
};
use tonic::{Response, Status, transport::Channel};
use uuid::Uuid;

/// A channel to the control plane with the first operator's certificate.
#[derive(Clone, Debug)]
pub struct Admin {
    channel: Channel,
}

/// A key that no other request has.
pub fn idempotency_key() -> String {
    Uuid::new_v4().to_string()
}

fn taken<T>(answer: Result<Response<T>, Status>) -> Result<T, Failure> {
    answer.map(Response::into_inner).map_err(|status| Failure::from_status(&status))
}

impl Admin {
    /// Connects with an operator's bundle; the URL is in its `config.yaml`.
    ///
    /// # Errors
    /// When the bundle cannot be used or nobody answers.
    pub async fn connect(operator_dir: &Path) -> Result<Self> {
        let config = std::fs::read_to_string(operator_dir.join("config.yaml"))
            .context("cannot read the operator's config.yaml")?;
        let url = config
            .lines()
            .find_map(|line| line.trim().trim_start_matches("- ").strip_prefix("url:"))
            .context("the operator's config.yaml holds no url")?;
        let identity = Identity::load(&operator_dir.join("operator.crt"), &operator_dir.join("operator.key"))?;
        let roots = Roots::from_pem(&nla_proto::files::read_public(&operator_dir.join("ca.crt"))?)?;
        let channel = client::connect(url.trim(), &ClientTls::new(&identity, &roots)?).await?;
        Ok(Self { channel })
    }

    /// For calls that have no method here.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// `nlactl database add`.
    ///
    /// # Errors
    /// As the control plane answers.
    pub async fn create_database(&self, database: v1::Database) -> Result<v1::DatabaseView, Failure> {
        let request = v1::CreateDatabaseRequest { idempotency_key: idempotency_key(), database: Some(database) };
        taken(DatabasesClient::new(self.channel()).create(request).await)
    }

    /// `nlactl credential set`.
    ///
    /// # Errors
    /// As the control plane answers.
    pub async fn set_credential(
        &self,
        database: &str,
        username: &str,
        password: &Secret,
    ) -> Result<v1::CredentialView, Failure> {
        let request = v1::SetCredentialRequest {
            idempotency_key: idempotency_key(),
            database: database.into(),
            username: username.into(),
            password: password.expose().into(),
            expected_revision: 0,
        };
        taken(CredentialsClient::new(self.channel()).set(request).await)
    }

    /// `nlactl role create`.
    ///
    /// # Errors
    /// As the control plane answers.
    pub async fn create_role(&self, role: v1::Role) -> Result<v1::RoleView, Failure> {
        let request = v1::CreateRoleRequest { idempotency_key: idempotency_key(), role: Some(role) };
        taken(RolesClient::new(self.channel()).create(request).await)
    }

    /// `nlactl token create`. The request's idempotency key is filled in.
    ///
    /// # Errors
    /// As the control plane answers.
    pub async fn create_token(&self, request: v1::CreateTokenRequest) -> Result<(v1::TokenView, Secret), Failure> {
        let request = v1::CreateTokenRequest { idempotency_key: idempotency_key(), ..request };
        let created = taken(TokensClient::new(self.channel()).create(request).await)?;
        Ok((created.token.unwrap_or_default(), Secret::new(created.token_text)))
    }

    /// `nlactl token revoke`.
    ///
    /// # Errors
    /// As the control plane answers.
    pub async fn revoke_token(&self, id: &str) -> Result<v1::RevokeTokenResponse, Failure> {
        let request =
            v1::RevokeTokenRequest { idempotency_key: idempotency_key(), ids: vec![id.into()], ..Default::default() };
        taken(TokensClient::new(self.channel()).revoke(request).await)
    }

    /// `nlactl edge join-token`.
    ///
    /// # Errors
    /// As the control plane answers.
    pub async fn join_token(&self, edge_id: &str) -> Result<Secret, Failure> {
        let request = v1::CreateJoinTokenRequest {
            idempotency_key: idempotency_key(),
            edge_id: edge_id.into(),
            ..Default::default()
        };
        taken(EdgesClient::new(self.channel()).create_join_token(request).await)
            .map(|made| Secret::new(made.join_token))
    }

    /// The newest events that pass the filter, newest first.
    ///
    /// # Errors
    /// As the control plane answers.
    pub async fn audit(&self, filter: v1::AuditFilter) -> Result<Vec<v1::AuditEvent>, Failure> {
        let request = v1::ListAuditRequest { filter: Some(filter), page_size: 1_000, page_token: String::new() };
        taken(AuditClient::new(self.channel()).list(request).await).map(|answer| answer.events)
    }

    /// All calls with one token, newest first. Without a token: all calls.
    ///
    /// # Errors
    /// As the control plane answers.
    pub async fn calls(&self, token: &str) -> Result<Vec<v1::CallEvent>, Failure> {
        let mut client = AuditClient::new(self.channel());
        let filter = v1::AuditFilter { token: token.into(), kind: "call".into(), ..Default::default() };
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListAuditRequest { filter: Some(filter.clone()), page_size: 1_000, page_token };
            let page = taken(client.list(request).await)?;
            found.extend(page.events.into_iter().filter_map(|event| match event.event {
                Some(v1::audit_event::Event::Call(call)) => Some(call),
                _ => None,
            }));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(found);
            }
        }
    }

    /// The control plane's revision.
    ///
    /// # Errors
    /// As the control plane answers.
    pub async fn revision(&self) -> Result<u64, Failure> {
        taken(SystemClient::new(self.channel()).status(v1::StatusRequest {}).await).map(|status| status.revision)
    }
}
