//! What all changes have in common: who asks, the idempotency key, and the
//! audit event that is committed with the change.

use std::fmt::Display;

use nla_domain::error::ErrorKind;
use nla_proto::{failure::Failure, v1};
use serde_json::Value;
use tonic::Request;

use crate::{
    authz::Caller,
    store::{Draft, Once, Store},
};

/// A request for a change, before it is made.
pub(super) struct Change {
    method: &'static str,
    actor: String,
    address: String,
    once: Once,
}

/// Writes the audit events of one change.
#[derive(Clone)]
pub(super) struct Recorder {
    method: &'static str,
    actor: String,
    address: String,
}

impl Change {
    /// Takes a request apart. `key` finds its idempotency key.
    pub(super) fn of<M: prost::Message>(
        request: Request<M>,
        method: &'static str,
        key: impl FnOnce(&M) -> &str,
    ) -> Result<(Self, M), Failure> {
        let caller = Caller::of(&request)?;
        let message = request.into_inner();
        let once = once(key(&message), method, &message)?;
        let address = caller.remote().ip().to_string();
        Ok((Self { method, actor: caller.to_string(), address, once }, message))
    }

    /// Makes the change once; a repeat gives the first answer.
    pub(super) async fn commit<T: prost::Message + Default + Send + 'static>(
        self,
        store: &Store,
        change: impl FnOnce(&mut Draft<'_>, &Recorder) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let Self { method, actor, address, once } = self;
        let recorder = Recorder { method, actor, address };
        let actor = recorder.actor.clone();
        store.mutate_once(&actor, once, move |draft| change(draft, &recorder)).await
    }
}

fn once(key: &str, method: &'static str, request: &impl prost::Message) -> Result<Once, Failure> {
    if key.is_empty() || key.len() > 64 || !key.bytes().all(|b| b.is_ascii_graphic()) {
        let message = "an idempotency key of 1 to 64 printable ASCII characters is needed, such as a random UUID";
        return Err(Failure::invalid("idempotency_key", message));
    }
    Once::new(key, method, request)
}

impl Recorder {
    /// For a change that carries no idempotency key.
    pub(super) fn new(method: &'static str, actor: String, address: String) -> Self {
        Self { method, actor, address }
    }

    /// Adds the event of a change to the draft.
    pub(super) fn record(
        &self,
        draft: &mut Draft<'_>,
        object: impl Display,
        before: Option<Value>,
        after: Option<Value>,
    ) {
        self.record_why(draft, object, before, after, "");
    }

    /// The same with the operator's reason.
    pub(super) fn record_why(
        &self,
        draft: &mut Draft<'_>,
        object: impl Display,
        before: Option<Value>,
        after: Option<Value>,
        reason: &str,
    ) {
        let json = |value: Option<Value>| value.map(|value| value.to_string()).unwrap_or_default();
        draft.event(v1::AdminEvent {
            actor: self.actor.clone(),
            action: self.method.to_owned(),
            object: object.to_string(),
            client_address: self.address.clone(),
            outcome: v1::Outcome::Succeeded.into(),
            reason: reason.to_owned(),
            revision: 0,
            before_json: json(before),
            after_json: json(after),
        });
    }
}

/// A text that people wrote, such as a purpose or a reason.
pub(super) fn text(field: &str, value: &str, min: usize, max: usize) -> Result<(), Failure> {
    let length = value.chars().count();
    if length < min || length > max || value.chars().any(char::is_control) {
        return Err(Failure::invalid(
            field,
            format!("{field} must be {min} to {max} characters without control characters"),
        ));
    }
    Ok(())
}

/// A required expected revision.
pub(super) fn required_revision(expected: u64) -> Result<u64, Failure> {
    if expected == 0 {
        let message = "expected_revision is needed: read the object and send back its meta.revision";
        return Err(Failure::invalid("expected_revision", message));
    }
    Ok(expected)
}

/// No more objects of a kind than a list can show.
pub(super) fn room(kind: &str, count: usize, max: usize) -> Result<(), Failure> {
    if count >= max {
        return Err(Failure::new(
            ErrorKind::FailedPrecondition,
            format!("there are {count} {kind}, which is the limit"),
        ));
    }
    Ok(())
}

/// A name or id that must be well formed.
pub(super) fn parse<T>(field: &str, value: &str) -> Result<T, Failure>
where
    T: std::str::FromStr<Err: Display>,
{
    value.parse().map_err(|error: T::Err| Failure::invalid(field, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idempotency_keys_are_required_and_printable() {
        let long = "k".repeat(64);
        let too_long = "k".repeat(65);
        let cases =
            [("k", true), (&long, true), ("", false), (&too_long, false), ("a b", false), ("a\n", false), ("ä", false)];
        for (key, accepted) in cases {
            let made = once(key, "/m", &v1::ListRolesRequest {});
            assert_eq!(made.is_ok(), accepted, "{key:?}");
            if let Err(failure) = made {
                assert_eq!(failure.field.as_deref(), Some("idempotency_key"));
            }
        }
    }
}
