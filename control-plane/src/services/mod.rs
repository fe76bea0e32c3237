//! The gRPC services. A handler reads the request into domain values, makes
//! one call to the store and writes the answer; who may call it was decided
//! before, by [`crate::authz`].

mod audit;
mod authorities;
mod backups;
mod change;
mod credentials;
mod databases;
mod edges;
mod enrolment;
mod first_use;
mod ingest;
mod keys;
mod operators;
mod receipts;
mod renewal;
mod roles;
mod rotations;
mod standing;
mod sync;
mod system;
mod tokens;
mod view;

use std::sync::Arc;

use nla_domain::clock::{Timestamp, WallClock};
use nla_proto::{DESCRIPTORS, v1};
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

pub(crate) use self::backups::BackupLog;
use crate::{
    authz::Refusals, config::TokenPolicy, key_rotation::KeyRotation, rotation::Engine, sources::AllowedSources,
    store::Store, stream::SyncContext,
};

/// No administrative request comes near this.
const MAX_ADMIN_BYTES: usize = 1 << 20;
/// A batch of audit events with statements in full.
const MAX_INGEST_BYTES: usize = 4 << 20;
/// Edges say little on their stream.
const MAX_SYNC_BYTES: usize = 64 << 10;

/// What services work with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn WallClock>,
    /// What replaces authorities and keys.
    pub(crate) keys: Arc<KeyRotation>,
    pub(crate) sync: Arc<SyncContext>,
    pub(crate) rotations: Arc<Engine>,
    /// Where credentials may come from.
    pub(crate) allowed_sources: AllowedSources,
    pub(crate) refusals: Refusals,
    pub(crate) backups: BackupLog,
    pub(crate) token_policy: TokenPolicy,
    pub(crate) started_at: Timestamp,
    /// Sessions, which outlive the calls that began them.
    pub(crate) sessions: TaskTracker,
}

/// All services of the main listener, and the switch for their health.
pub(crate) async fn main_routes(
    context: &Arc<Context>,
) -> Result<(Routes, HealthReporter), tonic_reflection::server::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let reflection =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
    let mut routes = Routes::builder();
    macro_rules! serve {
        ($($server:path, $service:path, $limit:expr;)*) => {$(
            routes.add_service(<$server>::new($service(Arc::clone(context))).max_decoding_message_size($limit));
        )*};
    }
    serve! {
        v1::tokens_server::TokensServer<_>, tokens::Tokens, MAX_ADMIN_BYTES;
        v1::receipts_server::ReceiptsServer<_>, receipts::Receipts, MAX_ADMIN_BYTES;
        v1::databases_server::DatabasesServer<_>, databases::Databases, MAX_ADMIN_BYTES;
        v1::credentials_server::CredentialsServer<_>, credentials::Credentials, MAX_ADMIN_BYTES;
        v1::rotations_server::RotationsServer<_>, rotations::Rotations, MAX_ADMIN_BYTES;
        v1::roles_server::RolesServer<_>, roles::Roles, MAX_ADMIN_BYTES;
        v1::edges_server::EdgesServer<_>, edges::Edges, MAX_ADMIN_BYTES;
        v1::operators_server::OperatorsServer<_>, operators::Operators::new, MAX_ADMIN_BYTES;
        v1::authorities_server::AuthoritiesServer<_>, authorities::Authorities, MAX_ADMIN_BYTES;
        v1::keys_server::KeysServer<_>, keys::Keys, MAX_ADMIN_BYTES;
        v1::system_server::SystemServer<_>, system::System, MAX_ADMIN_BYTES;
        v1::audit_server::AuditServer<_>, audit::Audit, MAX_ADMIN_BYTES;
        v1::backups_server::BackupsServer<_>, backups::Backups, MAX_ADMIN_BYTES;
        v1::audit_ingest_server::AuditIngestServer<_>, ingest::Ingest, MAX_INGEST_BYTES;
        v1::edge_sync_server::EdgeSyncServer<_>, sync::Sync, MAX_SYNC_BYTES;
        v1::enrolment_server::EnrolmentServer<_>, enrolment::Enrolment::new, MAX_SYNC_BYTES;
    }
    routes.add_service(health_service).add_service(reflection().build_v1()?).add_service(reflection().build_v1alpha()?);
    Ok((routes.routes(), health))
}

/// The one service of the enrolment listener.
pub(crate) fn enrolment_routes(context: &Arc<Context>) -> Routes {
    let service = enrolment::Enrolment::new(Arc::clone(context));
    Routes::new(v1::enrolment_server::EnrolmentServer::new(service).max_decoding_message_size(MAX_SYNC_BYTES))
}
