//! Databases: where agents may be let to.

use std::sync::Arc;

use nla_domain::{
    database::Database,
    error::ErrorKind,
    id::{DatabaseName, EdgeId},
};
use nla_proto::{failure::Failure, tls::Roots, v1};
use tonic::{Request, Response, Status};

use super::{
    Context,
    change::{Change, parse, required_revision, room},
    rotations::check_ended,
    view,
};
use crate::{
    authz::Caller,
    store::{RecordKey, State, Stored},
};

/// Databases of one control plane; lists have no pages.
const MAX_DATABASES: usize = 1_000;
/// Even a bundle of public authorities is smaller than this.
const MAX_ROOT_BYTES: usize = 64 << 10;

/// The service.
#[derive(Debug)]
pub(super) struct Databases(pub(super) Arc<Context>);

#[tonic::async_trait]
impl v1::databases_server::Databases for Databases {
    async fn create(&self, request: Request<v1::CreateDatabaseRequest>) -> Result<Response<v1::DatabaseView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Databases/Create", |r| &r.idempotency_key)?;
        let database = read(request.database)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            let key = RecordKey::Database(database.name.clone());
            if draft.state().meta(&key).is_some() {
                let message = format!("the database {} exists: update it, or choose another name", database.name);
                return Err(Failure::new(ErrorKind::Conflict, message).with_field("database.name"));
            }
            room("databases", draft.state().databases.len(), MAX_DATABASES)?;
            recorder.record(draft, &key, None, Some(view::database_json(&database)));
            let meta = draft.put(database.clone());
            Ok(view::database(&database, &meta))
        });
        Ok(Response::new(answer.await?))
    }

    async fn update(&self, request: Request<v1::UpdateDatabaseRequest>) -> Result<Response<v1::DatabaseView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Databases/Update", |r| &r.idempotency_key)?;
        let database = read(request.database)?;
        let expected = required_revision(request.expected_revision)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            let key = RecordKey::Database(database.name.clone());
            let before = Arc::clone(find(draft.state(), &database.name, "database.name")?);
            draft.expect_revision(&key, expected)?;
            if !same_login(&before.value, &database) {
                check_ended(draft.state(), &database.name)?;
            }
            let (old, new) = (view::database_json(&before.value), view::database_json(&database));
            recorder.record(draft, &key, Some(old), Some(new));
            let meta = draft.put(database.clone());
            Ok(view::database(&database, &meta))
        });
        Ok(Response::new(answer.await?))
    }

    async fn list(
        &self,
        _request: Request<v1::ListDatabasesRequest>,
    ) -> Result<Response<v1::ListDatabasesResponse>, Status> {
        let state = self.0.store.state();
        let databases = state.databases.values().map(|stored| view::database(&stored.value, &stored.meta)).collect();
        Ok(Response::new(v1::ListDatabasesResponse { databases }))
    }

    async fn get(&self, request: Request<v1::GetDatabaseRequest>) -> Result<Response<v1::DatabaseView>, Status> {
        let state = self.0.store.state();
        let name = parse("name", &request.get_ref().name)?;
        let stored = find(&state, &name, "name")?;
        Ok(Response::new(view::database(&stored.value, &stored.meta)))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteDatabaseRequest>,
    ) -> Result<Response<v1::DeleteDatabaseResponse>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Databases/Delete", |r| &r.idempotency_key)?;
        let name: DatabaseName = parse("name", &request.name)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            let key = RecordKey::Database(name.clone());
            let before = Arc::clone(find(draft.state(), &name, "name")?);
            draft.expect_revision(&key, request.expected_revision)?;
            unused(draft.state(), &name, draft.now())?;
            check_ended(draft.state(), &name)?;
            recorder.record(draft, &key, Some(view::database_json(&before.value)), None);
            // A database of the same name that comes later must not inherit it.
            let credential = RecordKey::Credential(name.clone());
            if let Some(found) = draft.state().credentials.get(&name).cloned() {
                recorder.record(draft, &credential, Some(view::credential_json(&found.value)), None);
                draft.remove(&credential);
            }
            draft.remove(&RecordKey::Rotation(name.clone()));
            draft.remove(&RecordKey::Source(name.clone()));
            draft.remove(&key);
            Ok(v1::DeleteDatabaseResponse { revision: draft.revision().0 })
        });
        Ok(Response::new(answer.await?))
    }

    async fn test(
        &self,
        request: Request<v1::TestDatabaseRequest>,
    ) -> Result<Response<v1::TestDatabaseResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (actor, address) = (caller.to_string(), caller.remote().ip().to_string());
        let request = request.into_inner();
        let name: DatabaseName = parse("name", &request.name)?;
        find(&self.0.store.state(), &name, "name")?;
        let registry = &self.0.sync.registry;
        let edges = if request.edge_id.is_empty() {
            registry.connected()
        } else {
            let id: EdgeId = parse("edge_id", &request.edge_id)?;
            let message = format!("the edge {id} is not connected");
            vec![
                registry
                    .get(&id)
                    .ok_or_else(|| Failure::new(ErrorKind::FailedPrecondition, message).with_field("edge_id"))?,
            ]
        };
        let edges = registry.probe(edges, &name).await;
        // It changes nothing, but logs in with a credential that the operator
        // may not have.
        let reached = edges.iter().filter(|edge| edge.result.as_ref().is_some_and(|result| result.ok)).count();
        let event = v1::AdminEvent {
            actor,
            action: "/nla.v1.Databases/Test".to_owned(),
            object: format!("database/{name}"),
            client_address: address,
            outcome: v1::Outcome::Succeeded.into(),
            reason: format!("{reached} of {} edges reached it", edges.len()),
            ..Default::default()
        };
        self.0.store.audit_admin(event).await?;
        Ok(Response::new(v1::TestDatabaseResponse { edges }))
    }
}

/// True where a login takes the same way to the same place. Another root
/// certificate may be what mends a rotation.
fn same_login(one: &Database, other: &Database) -> bool {
    let way = |database: &Database| (database.endpoint.clone(), database.dbname.clone(), database.sslmode);
    way(one) == way(other)
}

fn read(wire: Option<v1::Database>) -> Result<Database, Failure> {
    let wire = wire.ok_or_else(|| Failure::invalid("database", "database is missing"))?;
    let prefixed = |failure: Failure| match &failure.field {
        Some(field) => {
            let field = format!("database.{field}");
            failure.with_field(field)
        }
        None => failure,
    };
    let database = Database::try_from(wire).map_err(|error| prefixed(error.into()))?;
    if let Some(pem) = &database.root_certificate_pem
        && (pem.len() > MAX_ROOT_BYTES || Roots::from_pem(pem.as_bytes()).is_err())
    {
        let message = format!("root_certificate_pem must be certificates in PEM, at most {MAX_ROOT_BYTES} bytes");
        return Err(Failure::invalid("database.root_certificate_pem", message));
    }
    Ok(database)
}

fn find<'a>(state: &'a State, name: &DatabaseName, field: &str) -> Result<&'a Arc<Stored<Database>>, Failure> {
    state.databases.get(name).ok_or_else(|| Failure::not_found("database", name.as_str()).with_field(field))
}

/// Refuses while something points at the database, and says what.
fn unused(state: &State, name: &DatabaseName, now: nla_domain::clock::Timestamp) -> Result<(), Failure> {
    let roles =
        state.roles.values().filter(|role| role.value.opens(name)).map(|role| format!("role/{}", role.value.name));
    let live = state.tokens.values().filter(|token| view::is_live(&token.value, now));
    let tokens = live.filter(|token| token.value.token.databases.contains(name));
    let users: Vec<String> =
        roles.chain(tokens.map(|token| format!("token/{}", token.value.token.id))).take(10).collect();
    if users.is_empty() {
        return Ok(());
    }
    let message = format!("the database {name} is in use by {}: change or end those first", users.join(", "));
    Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("name"))
}

#[cfg(test)]
mod tests {
    use nla_domain::database::SslMode;

    use super::*;
    use crate::{
        rotation::{Wish, begin, sample},
        services::rotations::check_at_rest,
    };

    #[test]
    fn a_database_stays_where_it_is_until_its_rotation_has_ended() {
        let (store, _clock, _folder) = sample::store(|draft| {
            draft.put(sample::database("shop", "db.example"));
            draft.put(sample::record("shop", "boss", ["a", "b"]));
            let record = draft.state().rotations.get("shop").unwrap().value.clone();
            let mut begun = begin(draft, &record, Wish::default()).unwrap();
            begun.run.as_mut().unwrap().failure = Some("the server is down".into());
            draft.put(begun);
        });
        let name = "shop".parse().unwrap();
        check_at_rest(&store.state(), &name).unwrap();
        let error = check_ended(&store.state(), &name).unwrap_err();
        assert!(error.message.contains("resume or abort"), "{}", error.message);
        let shop = sample::database("shop", "db.example");
        assert!(same_login(&shop, &Database { description: "other".into(), ..shop.clone() }));
        for other in [
            sample::database("shop", "other.example"),
            Database { dbname: "other".into(), ..shop.clone() },
            Database { sslmode: SslMode::VerifyCa, ..shop.clone() },
        ] {
            assert!(!same_login(&shop, &other), "{other:?}");
        }
    }
}
