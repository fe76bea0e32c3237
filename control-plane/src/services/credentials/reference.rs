//! A credential that stands elsewhere: looked up once before it is taken, so
//! that a typing error shows at once.

use std::time::Duration;

use nla_domain::{credential::Credential, error::ErrorKind, id::DatabaseName};
use nla_proto::{failure::Failure, v1};
use serde_json::json;

use super::super::{
    Context,
    change::{Change, parse},
    rotations::check_at_rest,
    tokens::bounded,
    view,
};
use crate::{
    sources::{Source, resolve},
    store::{RecordKey, SourceRecord},
};

/// A program costs a process, and what it asks may have limits of its own.
const MIN_EVERY: Duration = Duration::from_secs(10);
const MAX_EVERY: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) async fn reference(
    context: &Context,
    change: Change,
    request: v1::ReferenceCredentialRequest,
) -> Result<v1::CredentialView, Failure> {
    let database: DatabaseName = parse("database", &request.database)?;
    let refused = |error: String| Failure::invalid("source", format!("the source {error}"));
    let source = Source::parse(&request.source, &context.allowed_sources).map_err(refused)?;
    let asked = request.every.as_ref();
    let every = bounded("every", asked, MIN_EVERY, MIN_EVERY, MAX_EVERY)?;
    let found = resolve(&source).await.map_err(|error| {
        Failure::new(ErrorKind::FailedPrecondition, format!("the source gives no credential: {error}"))
            .with_field("source")
    })?;
    if found.expires_at.is_some_and(|end| end <= context.clock.now()) {
        let message = "the source gives a credential that has expired";
        return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("source"));
    }
    let username = found.username.clone().unwrap_or_else(|| request.username.clone());
    let credential = Credential { database, username, password: found.password.clone(), generation: 0 };
    credential.validate().map_err(|error| Failure::invalid("username", error.to_string()))?;
    let every = asked.is_some().then_some(every);
    change
        .commit(&context.store, move |draft, recorder| {
            let name = credential.database.clone();
            if !draft.state().databases.contains_key(&name) {
                return Err(Failure::not_found("database", name.as_str()).with_field("database"));
            }
            check_at_rest(draft.state(), &name)?;
            let before = draft.state().credentials.get(&name).map(|stored| stored.value.clone());
            let mut credential = credential;
            credential.generation = before.as_ref().map_or(0, |held| held.generation) + 1;
            let record = SourceRecord {
                database: name.clone(),
                username: request.username,
                source: request.source,
                every,
                refreshed_at: draft.now(),
                expires_at: found.expires_at,
                error: None,
            };
            let mut after = view::credential_json(&credential);
            after["source"] = json!(record.source);
            let key = RecordKey::Credential(name);
            recorder.record(draft, &key, before.as_ref().map(view::credential_json), Some(after));
            let meta = draft.put(credential.clone());
            draft.put(record.clone());
            Ok(view::credential(&credential, &meta, Some(&record)))
        })
        .await
}
