//! Databases on one server share its roles: what one rotation shuts must not be
//! what another database lives by.

use nla_domain::{
    database::{Database, Endpoint},
    id::DatabaseName,
};

use crate::store::{RotationRecord, State};

/// True where both lead to the same server, as far as names tell.
fn same_server(one: &Endpoint, other: &Endpoint) -> bool {
    let host = |endpoint: &Endpoint| {
        let host = endpoint.host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        match endpoint.is_local() && !host.starts_with('/') {
            true => "localhost".to_owned(),
            // Folders of sockets differ in case.
            false if host.starts_with('/') => host.to_owned(),
            false => host.to_ascii_lowercase(),
        }
    };
    one.port == other.port && host(one) == host(other)
}

/// Why the pair of `record` cannot take turns: another database on the server
/// of `database` uses one of its roles.
///
/// # Errors
/// Names the role, the other database and what to do.
pub(crate) fn check_unshared(state: &State, database: &Database, record: &RotationRecord) -> Result<(), String> {
    let others = state.databases.values().map(|stored| &stored.value);
    for other in others.filter(|other| other.name != record.database) {
        if !same_server(&database.endpoint, &other.endpoint) {
            continue;
        }
        for role in &record.roles {
            if let Some(use_of) = use_of(state, &other.name, role) {
                return Err(shared(record, role, &other.name, use_of));
            }
        }
        // Their rotation would shut it.
        let theirs = state.rotations.get(&other.name).map(|stored| &stored.value.roles);
        if theirs.is_some_and(|roles| roles.contains(&record.manager.username)) {
            return Err(shared(record, &record.manager.username, &other.name, "a role of its pair"));
        }
    }
    Ok(())
}

fn use_of(state: &State, other: &DatabaseName, role: &str) -> Option<&'static str> {
    let rotation = state.rotations.get(other).map(|stored| &stored.value);
    let run = rotation.and_then(|rotation| rotation.run.as_ref()).filter(|run| run.is_open());
    let uses = [
        (rotation.is_some_and(|rotation| rotation.roles.iter().any(|of_pair| of_pair == role)), "a role of its pair"),
        (rotation.is_some_and(|rotation| rotation.manager.username == role), "its manager"),
        (run.is_some_and(|run| run.old.username == role), "the role that its rotation replaces"),
        (state.credentials.get(other).is_some_and(|stored| stored.value.username == role), "its credential"),
        (state.sources.get(other).is_some_and(|stored| stored.value.username == role), "its credential's role"),
    ];
    uses.into_iter().find_map(|(is, what)| is.then_some(what))
}

fn shared(record: &RotationRecord, role: &str, other: &DatabaseName, what: &str) -> String {
    let name = &record.database;
    format!(
        "the role {role} is in use for the database {other} on the same server, as {what}: a rotation of {name} would \
         shut it; give {name} a pair of its own (`nlactl credential rotation-sql {name}`, then \
         `nlactl credential rotation configure {name}`)"
    )
}

#[cfg(test)]
mod tests {
    use super::{super::sample, *};

    #[test]
    fn a_pair_is_refused_that_another_database_of_the_server_lives_by() {
        let (store, _clock, _folder) = sample::store(|draft| {
            for (name, host) in
                [("shop", "Db.example."), ("crm", "db.example"), ("far", "other.example"), ("plain", "db.example")]
            {
                draft.put(sample::database(name, host));
            }
            draft.put(sample::record("crm", "boss", ["crm_a", "crm_b"]));
            draft.put(sample::record("far", "boss", ["far_a", "far_b"]));
            draft.put(sample::credential("plain", "reader", "p"));
        });
        let state = store.state();
        let shop = &state.databases.get("shop").unwrap().value;
        for (manager, roles, refused) in [
            ("boss", ["shop_a", "shop_b"], None),
            ("boss", ["far_a", "far_b"], None),
            ("boss", ["shop_a", "crm_b"], Some("crm_b is in use for the database crm")),
            ("boss", ["reader", "shop_b"], Some("reader is in use for the database plain")),
            ("crm_a", ["shop_a", "shop_b"], Some("crm_a is in use")),
            ("chief", ["boss", "shop_b"], Some("its manager")),
        ] {
            let found = check_unshared(&state, shop, &sample::record("shop", manager, roles));
            match (found, refused) {
                (Ok(()), None) => {}
                (Err(error), Some(part)) => assert!(error.contains(part), "{roles:?}: {error}"),
                (found, _) => panic!("{manager} {roles:?}: {found:?}"),
            }
        }
    }
}
