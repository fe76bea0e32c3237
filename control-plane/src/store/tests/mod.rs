//! Tests of the store on real files. [`Bench`] is all that knows which
//! database is below; the contract holds for any.

use std::{path::PathBuf, sync::Arc};

use nla_domain::{
    clock::{FixedClock, Timestamp},
    role::{Role, Tool},
    secret::Key32,
    snapshot::Settings,
    token::{Token, TokenLimits, TokenText},
};
use tempfile::TempDir;

use super::*;

mod audit_log;
mod contract;
mod crash;
mod damage;
mod failing;
mod once;
mod token_uses;

pub(super) struct Bench {
    pub(super) folder: TempDir,
    pub(super) kek: Kek,
    pub(super) clock: Arc<FixedClock>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let clock = Arc::new(FixedClock::at(Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").unwrap()));
        Self { folder: tempfile::tempdir().unwrap(), kek: Kek::new(Key32::new([7; 32])), clock }
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(super) fn options(&self) -> StoreOptions {
        StoreOptions { cache_bytes: 4 << 20, ..StoreOptions::new(self.dir(), self.clock.clone()) }
    }

    pub(super) fn create(&self) -> Store {
        let first = |draft: &mut Draft<'_>| {
            draft.event(event("init"));
            Ok(())
        };
        Store::create(self.options(), &self.kek, settings(), first).unwrap().0
    }

    pub(super) fn open(&self) -> Result<Store, StoreError> {
        Store::open(self.options(), &self.kek)
    }
}

pub(super) fn settings() -> Settings {
    Settings {
        pepper: Key32::new([9; 32]),
        strict_staleness: Duration::from_secs(15),
        standard_staleness: Duration::from_secs(300),
    }
}

pub(super) fn event(action: &str) -> v1::AdminEvent {
    v1::AdminEvent { action: action.into(), outcome: v1::Outcome::Succeeded.into(), ..Default::default() }
}

pub(super) fn role(name: &str, description: &str) -> Role {
    Role {
        name: name.parse().unwrap(),
        description: description.into(),
        databases: vec!["shop".parse().unwrap()],
        tools: vec![Tool::QueryDatabase],
        allow_explain_analyze: false,
        max_rows: None,
        sql_audit: Default::default(),
        functions: vec![],
        relations: vec![],
        operators: vec![],
        settings: vec![],
    }
}

pub(super) fn token() -> TokenRecord {
    let text = TokenText::generate().unwrap();
    TokenRecord {
        token: Token {
            id: text.id(),
            verifier: text.verifier(&Key32::new([9; 32])),
            owner: "ada".into(),
            roles: vec!["reader".parse().unwrap()],
            databases: vec![],
            expires_at: Some(Timestamp::from_micros(5)),
            allowed_cidrs: vec!["10.0.0.0/8".parse().unwrap()],
            staleness: Default::default(),
            limits: TokenLimits::default(),
        },
        purpose: "reports".into(),
        revoked: None,
        predecessor: None,
        successor: None,
        labels: Default::default(),
        noticed: None,
    }
}

/// Puts a role and says so.
pub(super) async fn put_role(store: &Store, name: &str, description: &str) -> Result<Meta, Failure> {
    let role = role(name, description);
    store
        .mutate("ada", move |draft| {
            draft.event(event("put"));
            Ok(draft.put(role))
        })
        .await
}

pub(super) fn call(request: &str) -> v1::CallEvent {
    v1::CallEvent {
        at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        request_id: request.into(),
        token: "abcDEF012345".into(),
        database: "shop".into(),
        outcome: v1::Outcome::Succeeded.into(),
        ..Default::default()
    }
}
