//! One token in the place of another.

use std::{sync::Arc, time::Duration};

use nla_domain::{error::ErrorKind, id::TokenId};
use nla_proto::{failure::Failure, v1};

use super::{
    super::{change::Recorder, view},
    find, generate, put,
};
use crate::store::{Draft, Revocation};

pub(super) fn rotate(
    draft: &mut Draft<'_>,
    recorder: &Recorder,
    id: TokenId,
    overlap: Duration,
    lifetime: Duration,
    expected_revision: u64,
) -> Result<v1::RotateTokenResponse, Failure> {
    let stored = Arc::clone(find(draft.state(), id)?);
    draft.expect_revision(&crate::store::RecordKey::Token(id), expected_revision)?;
    let now = draft.now();
    if !view::is_live(&stored.value, now) {
        let message = "the token has ended, so that there is nothing to hand over: create a new one";
        return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("id"));
    }
    if let Some(successor) = stored.value.successor {
        let message = format!("the token was rotated before: rotate its successor {successor}");
        return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("id"));
    }
    let text = generate()?;
    let mut next = stored.value.clone();
    next.token.id = text.id();
    let (pepper_generation, pepper) = draft.state().settings.value.peppers.newest();
    next.token.verifier = text.verifier(pepper);
    next.token.pepper_generation = pepper_generation;
    next.token.expires_at = Some(now.plus(lifetime));
    next.predecessor = Some(id);
    let mut old = stored.value.clone();
    old.successor = Some(text.id());
    if overlap.is_zero() {
        // Revoked rather than expired: a tombstone holds whatever a clock says.
        let by = draft.actor().to_owned();
        old.revoked = Some(Revocation { at: now, by, reason: "rotated without overlap".to_owned() });
    } else {
        let end = now.plus(overlap);
        old.token.expires_at = Some(old.token.expires_at.map_or(end, |earlier| earlier.min(end)));
    }
    let old_meta = put(draft, recorder, &old, Some(&stored.value), "");
    let meta = put(draft, recorder, &next, None, "");
    Ok(v1::RotateTokenResponse {
        token: Some(view::token(&next, &meta)),
        token_text: text.expose().to_owned(),
        predecessor: Some(view::token(&old, &old_meta)),
    })
}
