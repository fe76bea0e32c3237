//! Brings the stored settings in line with the configuration. They live in
//! the store because a change must reach the edges as a revision of its own.

use nla_domain::snapshot::Settings;
use nla_proto::{failure::Failure, v1};
use serde_json::json;

use crate::{config::StalenessBounds, pki::slots, store::Store};

/// As audit events name the program itself.
const ACTOR: &str = "control-plane";

pub(super) async fn apply(store: &Store, bounds: StalenessBounds) -> Result<(), Failure> {
    let state = store.state();
    let ca_bundle_pem = slots::bundle_pem(&state);
    let stored = &state.settings.value;
    let held = StalenessBounds { strict: stored.strict_staleness, standard: stored.standard_staleness };
    if held == bounds && stored.ca_bundle_pem == ca_bundle_pem {
        return Ok(());
    }
    let change = move |draft: &mut crate::store::Draft<'_>| {
        let stored = draft.state().settings.value.clone();
        draft.event(v1::AdminEvent {
            actor: ACTOR.to_owned(),
            action: "start".to_owned(),
            object: "settings".to_owned(),
            outcome: v1::Outcome::Succeeded.into(),
            before_json: as_json(held),
            after_json: as_json(bounds),
            ..Default::default()
        });
        draft.put(Settings {
            strict_staleness: bounds.strict,
            standard_staleness: bounds.standard,
            ca_bundle_pem,
            ..stored
        });
        Ok(())
    };
    store.mutate(ACTOR, change).await
}

fn as_json(bounds: StalenessBounds) -> String {
    json!({ "strict_seconds": bounds.strict.as_secs(), "standard_seconds": bounds.standard.as_secs() }).to_string()
}
