//! The state of the control plane itself.

use std::sync::Arc;

use nla_proto::{convert, failure::Failure, v1};
use tonic::{Request, Response, Status};

use super::{Context, authorities::wire_phase, backups, view};
use crate::{
    authz::Caller,
    pki::slots::{self, Phase},
};

/// The service.
#[derive(Debug)]
pub(super) struct System(pub(super) Arc<Context>);

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[tonic::async_trait]
impl v1::system_server::System for System {
    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (name, level) = caller.operator()?;
        let state = self.0.store.state();
        let now = self.0.clock.now();
        let audit_events = *self.0.store.audit_head().borrow();
        let store_bytes = self.0.store.size_bytes().await?;
        let status = v1::StatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: state.epoch.0.to_vec(),
            revision: state.revision.0,
            started_at: Some(convert::timestamp(self.0.started_at)),
            tokens_active: count(state.tokens.values().filter(|token| view::is_live(&token.value, now)).count()),
            databases: count(state.databases.len()),
            roles: count(state.roles.len()),
            edges_enrolled: count(state.edges.values().filter(|edge| edge.value.revoked.is_none()).count()),
            edges_connected: count(self.0.sync.registry.count()),
            audit_events,
            store_bytes,
            ca_expires_at: Some(convert::timestamp(slots::signing(&state).map_err(Failure::from)?.not_after())),
            caller: name.to_string(),
            caller_level: convert::level(level).into(),
            ca_phase: wire_phase(Phase::of(&state)).into(),
            keys_rotating: self.0.keys.is_rotating().await?,
            ..Default::default()
        };
        Ok(Response::new(backups::status(&self.0, status)))
    }
}
