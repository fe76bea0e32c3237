//! Roles: what tokens may do.

use std::sync::Arc;

use nla_domain::{error::ErrorKind, id::RoleName, role::Role};
use nla_proto::{failure::Failure, v1};
use tonic::{Request, Response, Status};

use super::{
    Context,
    change::{Change, parse, required_revision, room},
    view,
};
use crate::store::{RecordKey, State, Stored};

/// Roles of one control plane; lists have no pages.
const MAX_ROLES: usize = 1_000;
/// Databases of one role.
const MAX_DATABASES: usize = 1_000;

/// The service.
#[derive(Debug)]
pub(super) struct Roles(pub(super) Arc<Context>);

#[tonic::async_trait]
impl v1::roles_server::Roles for Roles {
    async fn create(&self, request: Request<v1::CreateRoleRequest>) -> Result<Response<v1::RoleView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Roles/Create", |r| &r.idempotency_key)?;
        let role = read(request.role)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            let key = RecordKey::Role(role.name.clone());
            if draft.state().meta(&key).is_some() {
                let message = format!("the role {} exists: update it, or choose another name", role.name);
                return Err(Failure::new(ErrorKind::Conflict, message).with_field("role.name"));
            }
            room("roles", draft.state().roles.len(), MAX_ROLES)?;
            check_databases(draft.state(), &role)?;
            recorder.record(draft, &key, None, Some(view::role_json(&role)));
            let meta = draft.put(role.clone());
            Ok(view::role(&role, &meta))
        });
        Ok(Response::new(answer.await?))
    }

    async fn update(&self, request: Request<v1::UpdateRoleRequest>) -> Result<Response<v1::RoleView>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Roles/Update", |r| &r.idempotency_key)?;
        let role = read(request.role)?;
        let expected = required_revision(request.expected_revision)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            let key = RecordKey::Role(role.name.clone());
            let before = Arc::clone(find(draft.state(), &role.name, "role.name")?);
            draft.expect_revision(&key, expected)?;
            check_databases(draft.state(), &role)?;
            recorder.record(draft, &key, Some(view::role_json(&before.value)), Some(view::role_json(&role)));
            let meta = draft.put(role.clone());
            Ok(view::role(&role, &meta))
        });
        Ok(Response::new(answer.await?))
    }

    async fn list(&self, _request: Request<v1::ListRolesRequest>) -> Result<Response<v1::ListRolesResponse>, Status> {
        let state = self.0.store.state();
        let roles = state.roles.values().map(|stored| view::role(&stored.value, &stored.meta)).collect();
        Ok(Response::new(v1::ListRolesResponse { roles }))
    }

    async fn get(&self, request: Request<v1::GetRoleRequest>) -> Result<Response<v1::RoleView>, Status> {
        let state = self.0.store.state();
        let stored = find(&state, &parse("name", &request.get_ref().name)?, "name")?;
        Ok(Response::new(view::role(&stored.value, &stored.meta)))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRoleRequest>,
    ) -> Result<Response<v1::DeleteRoleResponse>, Status> {
        let (change, request) = Change::of(request, "/nla.v1.Roles/Delete", |r| &r.idempotency_key)?;
        let name: RoleName = parse("name", &request.name)?;
        let answer = change.commit(&self.0.store, move |draft, recorder| {
            let key = RecordKey::Role(name.clone());
            let before = Arc::clone(find(draft.state(), &name, "name")?);
            draft.expect_revision(&key, request.expected_revision)?;
            unused(draft.state(), &name, draft.now())?;
            recorder.record(draft, &key, Some(view::role_json(&before.value)), None);
            draft.remove(&key);
            Ok(v1::DeleteRoleResponse { revision: draft.revision().0 })
        });
        Ok(Response::new(answer.await?))
    }
}

fn read(wire: Option<v1::Role>) -> Result<Role, Failure> {
    let mut wire = wire.ok_or_else(|| Failure::invalid("role", "role is missing"))?;
    if wire.databases.len() > MAX_DATABASES || wire.tools.len() > 100 {
        return Err(Failure::invalid(
            "role",
            format!("a role may name at most {MAX_DATABASES} databases and 100 tools"),
        ));
    }
    if v1::SqlAudit::try_from(wire.sql_audit) == Ok(v1::SqlAudit::Unspecified) {
        wire.sql_audit = v1::SqlAudit::Full.into();
    }
    let mut role = Role::try_from(wire).map_err(|error| {
        let field = format!("role.{}", error.field);
        Failure::from(error).with_field(field)
    })?;
    role.databases.sort();
    role.databases.dedup();
    role.tools.sort();
    role.tools.dedup();
    for names in [&mut role.functions, &mut role.relations, &mut role.operators, &mut role.settings] {
        names.sort();
        names.dedup();
    }
    Ok(role)
}

fn check_databases(state: &State, role: &Role) -> Result<(), Failure> {
    match role.databases.iter().find(|name| !state.databases.contains_key(*name)) {
        None => Ok(()),
        Some(unknown) => Err(Failure::not_found("database", unknown.as_str()).with_field("role.databases")),
    }
}

fn find<'a>(state: &'a State, name: &RoleName, field: &str) -> Result<&'a Arc<Stored<Role>>, Failure> {
    state.roles.get(name).ok_or_else(|| Failure::not_found("role", name.as_str()).with_field(field))
}

/// A live token would change its meaning: it would lose what the role allows,
/// and a later role of that name would silently give it something else.
fn unused(state: &State, name: &RoleName, now: nla_domain::clock::Timestamp) -> Result<(), Failure> {
    let live = state.tokens.values().filter(|token| view::is_live(&token.value, now));
    let users: Vec<String> = live
        .filter(|token| token.value.token.roles.contains(name))
        .map(|token| format!("token/{}", token.value.token.id))
        .take(10)
        .collect();
    if users.is_empty() {
        return Ok(());
    }
    let message = format!("the role {name} is in use by {}: revoke or replace those first", users.join(", "));
    Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("name"))
}
