//! Credentials: how edges log in. A password goes in and never comes out.

mod reference;

use std::sync::Arc;

use nla_domain::{
    credential::{Credential, InvalidCredential},
    id::DatabaseName,
    secret::Secret,
};
use nla_proto::{failure::Failure, v1};
use tonic::{Request, Response, Status};

use self::reference::reference;
use super::{
    Context,
    change::{Change, parse},
    rotations::check_at_rest,
    view,
};
use crate::store::RecordKey;

/// The service.
#[derive(Debug)]
pub(super) struct Credentials(pub(super) Arc<Context>);

#[tonic::async_trait]
impl v1::credentials_server::Credentials for Credentials {
    async fn set(&self, request: Request<v1::SetCredentialRequest>) -> Result<Response<v1::CredentialView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Credentials/Set", |r| &r.idempotency_key)?;
        let database: DatabaseName = parse("database", &request.database)?;
        let (username, password) = (request.username, Secret::new(request.password));
        let mut credential = Credential { database, username, password, generation: 0 };
        credential.validate().map_err(|error| {
            let field = match error {
                InvalidCredential::Username => "username",
                InvalidCredential::Password => "password",
            };
            Failure::invalid(field, error.to_string())
        })?;
        let expected = request.expected_revision;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            let name = credential.database.clone();
            if !draft.state().databases.contains_key(&name) {
                return Err(Failure::not_found("database", name.as_str()).with_field("database"));
            }
            check_at_rest(draft.state(), &name)?;
            let key = RecordKey::Credential(name.clone());
            draft.expect_revision(&key, expected)?;
            let before = draft.state().credentials.get(&name).cloned();
            credential.generation = before.as_ref().map_or(0, |stored| stored.value.generation) + 1;
            let old = before.map(|stored| view::credential_json(&stored.value));
            recorder.record(draft, &key, old, Some(view::credential_json(&credential)));
            let meta = draft.put(credential.clone());
            draft.remove(&RecordKey::Source(name));
            Ok(view::credential(&credential, &meta, None))
        });
        Ok(Response::new(answer.await?))
    }

    async fn reference(
        &self,
        request: Request<v1::ReferenceCredentialRequest>,
    ) -> Result<Response<v1::CredentialView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Credentials/Reference", |r| &r.idempotency_key)?;
        Ok(Response::new(reference(&self.0, change, request).await?))
    }

    async fn list(
        &self,
        _request: Request<v1::ListCredentialsRequest>,
    ) -> Result<Response<v1::ListCredentialsResponse>, Status> {
        let state = self.0.store.state();
        let credentials = state.credentials.values().map(|stored| {
            let source = state.sources.get(&stored.value.database).map(|source| &source.value);
            view::credential(&stored.value, &stored.meta, source)
        });
        Ok(Response::new(v1::ListCredentialsResponse { credentials: credentials.collect() }))
    }
}
