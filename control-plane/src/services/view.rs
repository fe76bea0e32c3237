//! Stored records as operators and the audit log see them. Secrets end here:
//! nothing in this file reads a verifier, a password or a key.

use nla_domain::{clock::Timestamp, credential::Credential, database::Database, role::Role};
use nla_proto::{convert, v1};
use serde_json::{Value, json};

use crate::store::{EdgeRecord, Meta, OperatorRecord, Revocation, Stored, TokenRecord, TokenUse};

pub(super) fn meta(meta: &Meta) -> v1::ObjectMeta {
    v1::ObjectMeta {
        revision: meta.revision.0,
        created_at: Some(convert::timestamp(meta.created_at)),
        updated_at: Some(convert::timestamp(meta.updated_at)),
        created_by: meta.created_by.clone(),
    }
}

fn names<T: ToString>(names: &[T]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn revoked_at(revoked: Option<&Revocation>) -> Option<prost_types::Timestamp> {
    revoked.map(|revocation| convert::timestamp(revocation.at))
}

pub(super) fn token(record: &TokenRecord, stored: &Meta) -> v1::TokenView {
    let token = &record.token;
    v1::TokenView {
        id: token.id.to_string(),
        owner: token.owner.clone(),
        purpose: record.purpose.clone(),
        roles: names(&token.roles),
        databases: names(&token.databases),
        expires_at: token.expires_at.map(convert::timestamp),
        allowed_cidrs: names(&token.allowed_cidrs),
        staleness: convert::staleness(token.staleness).into(),
        limits: Some(token.limits.into()),
        revoked_at: revoked_at(record.revoked.as_ref()),
        revoked_by: record.revoked.as_ref().map(|revocation| revocation.by.clone()).unwrap_or_default(),
        predecessor: text(record.predecessor.as_ref()),
        successor: text(record.successor.as_ref()),
        meta: Some(meta(stored)),
        labels: record.labels.as_map().clone(),
        last_use: None,
    }
}

pub(super) fn token_use(used: &TokenUse) -> v1::TokenLastUse {
    v1::TokenLastUse {
        at: Some(convert::timestamp(used.at)),
        edge_id: used.edge.to_string(),
        client_address: text(used.address.as_ref()),
        calls: used.calls,
    }
}

pub(super) fn token_json(record: &TokenRecord) -> Value {
    let token = &record.token;
    json!({
        "owner": token.owner,
        "purpose": record.purpose,
        "roles": names(&token.roles),
        "databases": names(&token.databases),
        "expires_at": token.expires_at.map(|at| at.to_string()),
        "allowed_cidrs": names(&token.allowed_cidrs),
        "staleness": format!("{:?}", token.staleness).to_lowercase(),
        "calls_per_second": token.limits.calls_per_second,
        "burst": token.limits.burst,
        "concurrent_calls": token.limits.concurrent_calls,
        "labels": record.labels.as_map(),
        "revoked": record.revoked.is_some(),
        "predecessor": record.predecessor.map(|id| id.to_string()),
        "successor": record.successor.map(|id| id.to_string()),
    })
}

/// True while the token opens anything.
pub(super) fn is_live(record: &TokenRecord, now: Timestamp) -> bool {
    record.revoked.is_none() && record.token.expires_at.is_none_or(|end| now < end)
}

pub(super) fn database(database: &Database, stored: &Meta) -> v1::DatabaseView {
    v1::DatabaseView { database: Some(database.into()), meta: Some(meta(stored)) }
}

pub(super) fn database_json(database: &Database) -> Value {
    json!({
        "description": database.description,
        "host": database.endpoint.host,
        "port": database.endpoint.port,
        "dbname": database.dbname,
        "sslmode": database.sslmode.as_str(),
        "root_certificate": database.root_certificate_pem.as_ref().map(|pem| {
            format!("sha256:{:?}", nla_domain::snapshot::Digest::of(pem.as_bytes()))
        }),
        "max_rows": database.limits.max_rows,
        "max_bytes": database.limits.max_bytes,
        "statement_timeout_ms": u64::try_from(database.limits.statement_timeout.as_millis()).unwrap_or(u64::MAX),
        "pool_size": database.limits.pool_size,
        "role_policy": database.role_policy.as_str(),
    })
}

pub(super) fn credential(credential: &Credential, stored: &Meta) -> v1::CredentialView {
    v1::CredentialView {
        database: credential.database.to_string(),
        username: credential.username.clone(),
        generation: credential.generation,
        meta: Some(meta(stored)),
    }
}

pub(super) fn credential_json(credential: &Credential) -> Value {
    json!({ "username": credential.username, "generation": credential.generation })
}

pub(super) fn role(role: &Role, stored: &Meta) -> v1::RoleView {
    v1::RoleView { role: Some(role.into()), meta: Some(meta(stored)) }
}

pub(super) fn role_json(role: &Role) -> Value {
    json!({
        "description": role.description,
        "databases": names(&role.databases),
        "tools": names(&role.tools),
        "allow_explain_analyze": role.allow_explain_analyze,
        "max_rows": role.max_rows,
        "sql_audit": role.sql_audit.as_str(),
        "functions": role.functions,
        "relations": role.relations,
        "operators": role.operators,
        "settings": role.settings,
    })
}

pub(super) fn operator(record: &OperatorRecord, stored: &Meta) -> v1::OperatorView {
    v1::OperatorView {
        name: record.name.to_string(),
        level: convert::level(record.level).into(),
        expires_at: Some(convert::timestamp(record.expires_at())),
        revoked_at: revoked_at(record.revoked.as_ref()),
        meta: Some(meta(stored)),
    }
}

pub(super) fn operator_json(record: &OperatorRecord) -> Value {
    json!({
        "level": record.level.as_str(),
        "expires_at": record.certificate.not_after.to_string(),
        "renewal_expires_at": record.next.as_ref().map(|next| next.not_after.to_string()),
        "revoked": record.revoked.is_some(),
    })
}

/// What the store knows of an edge; its connection is added by the caller.
pub(super) fn edge(stored: &Stored<EdgeRecord>) -> v1::EdgeView {
    let record = &stored.value;
    v1::EdgeView {
        id: record.id.to_string(),
        meta: Some(meta(&stored.meta)),
        certificate_expires_at: Some(convert::timestamp(record.certificate.not_after)),
        revoked_at: revoked_at(record.revoked.as_ref()),
        draining_since: record.draining.as_ref().map(|draining| convert::timestamp(draining.since)),
        draining_reason: record.draining.as_ref().map(|draining| draining.reason.clone()).unwrap_or_default(),
        quarantined_since: record.quarantine.as_ref().map(|quarantine| convert::timestamp(quarantine.since)),
        quarantine_reason: record.quarantine.as_ref().map(|quarantine| quarantine.reason.clone()).unwrap_or_default(),
        ..Default::default()
    }
}

pub(super) fn edge_json(record: &EdgeRecord) -> Value {
    json!({
        "certificate_expires_at": record.certificate.not_after.to_string(),
        "revoked": record.revoked.is_some(),
        "previous_certificate_expires_at": record.previous.as_ref().map(|previous| previous.not_after.to_string()),
        "draining": record.draining.is_some(),
        "quarantined": record.quarantine.is_some(),
    })
}
