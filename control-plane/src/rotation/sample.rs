//! A store for tests of rotations and sources.

use std::sync::Arc;

use nla_domain::{
    clock::{FixedClock, Timestamp},
    credential::Credential,
    database::{Database, DatabaseLimits, Endpoint, RolePolicy, SslMode},
    pepper::Peppers,
    secret::{Key32, Secret},
    snapshot::Settings,
};

use nla_proto::v1;

use crate::{
    crypto::Kek,
    store::{CertificateRecord, Draft, EdgeRecord, Login, RotationRecord, Store, StoreOptions},
};

/// A store that holds what `first` puts into it, and the folder that it lies in.
pub(crate) fn store(first: impl FnOnce(&mut Draft<'_>)) -> (Store, Arc<FixedClock>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock::at(Timestamp::from_micros(1_800_000_000_000_000)));
    let options =
        StoreOptions { cache_bytes: 4 << 20, ..StoreOptions::new(folder.path().join("store"), clock.clone()) };
    let kek = Kek::new(Key32::new([7; 32]));
    let settings = Settings::new(Peppers::first(Key32::new([9; 32])));
    let first = |draft: &mut Draft<'_>| {
        first(draft);
        draft.event(v1::AdminEvent { action: "init".into(), ..Default::default() });
        Ok(())
    };
    let (store, ()) = Store::create(options, &kek, settings, first).unwrap();
    (store, clock, folder)
}

pub(crate) fn edge(id: &str) -> EdgeRecord {
    let not_after = Timestamp::from_micros(1_900_000_000_000_000);
    EdgeRecord::new(id.parse().unwrap(), CertificateRecord { serial: vec![1], not_after, issuer: Vec::new() })
}

pub(crate) fn database(name: &str, host: &str) -> Database {
    let endpoint = Endpoint { host: host.into(), port: 5432.try_into().unwrap() };
    Database {
        name: name.parse().unwrap(),
        description: String::new(),
        endpoint,
        dbname: name.into(),
        sslmode: SslMode::Require,
        root_certificate_pem: None,
        limits: DatabaseLimits::default(),
        role_policy: RolePolicy::default(),
    }
}

pub(crate) fn credential(database: &str, username: &str, password: &str) -> Credential {
    let password = Secret::new(password);
    Credential { database: database.parse().unwrap(), username: username.into(), password, generation: 1 }
}

pub(crate) fn record(database: &str, manager: &str, roles: [&str; 2]) -> RotationRecord {
    RotationRecord {
        database: database.parse().unwrap(),
        manager: Login { username: manager.into(), password: Secret::new("m") },
        roles: roles.map(str::to_owned),
        every: None,
        next_at: None,
        run: None,
    }
}
