//! One token in the place of another.

use std::{sync::Arc, time::Duration};

use nla_domain::{error::ErrorKind, id::TokenId};
use nla_proto::{failure::Failure, v1};

use super::{
    super::{
        change::{Recorder, parse, text},
        view,
    },
    bounded, find, generate,
    life::Life,
    put,
};
use crate::{
    config::TokenPolicy,
    store::{Draft, Revocation},
};

/// Overlap of a rotation: agents pick up a new token within days, or never.
const MAX_OVERLAP: Duration = Duration::from_secs(30 * 24 * 3600);

/// One token to be replaced.
pub(super) struct Rotation {
    id: TokenId,
    overlap: Duration,
    life: Life,
    expected_revision: u64,
    compromised: bool,
    reason: String,
}

impl Rotation {
    pub(super) fn read(policy: &TokenPolicy, request: v1::RotateTokenRequest) -> Result<Self, Failure> {
        let overlap = bounded("overlap", request.overlap.as_ref(), Duration::ZERO, Duration::ZERO, MAX_OVERLAP)?;
        if request.compromised && !overlap.is_zero() {
            let message = "a compromised token ends at once: leave out the overlap";
            return Err(Failure::invalid("overlap", message));
        }
        text("reason", &request.reason, 0, 500)?;
        Ok(Self {
            id: parse("id", &request.id)?,
            overlap,
            life: Life::read(policy, request.lifetime.as_ref(), request.never_expires)?,
            expected_revision: request.expected_revision,
            compromised: request.compromised,
            reason: request.reason,
        })
    }

    /// Whether the old token ends with the rotation.
    pub(super) fn ends_old(&self) -> bool {
        self.overlap.is_zero()
    }

    /// Why the old token was revoked, where it was.
    fn revoked_because(&self) -> String {
        match (self.compromised, self.reason.as_str()) {
            (true, "") => "compromised".to_owned(),
            (true, reason) => format!("compromised: {reason}"),
            (false, "") => "rotated without overlap".to_owned(),
            (false, reason) => reason.to_owned(),
        }
    }
}

pub(super) fn rotate(
    draft: &mut Draft<'_>,
    recorder: &Recorder,
    rotation: &Rotation,
) -> Result<v1::RotateTokenResponse, Failure> {
    let id = rotation.id;
    let stored = Arc::clone(find(draft.state(), id)?);
    draft.expect_revision(&crate::store::RecordKey::Token(id), rotation.expected_revision)?;
    let now = draft.now();
    if !view::is_live(&stored.value, now) {
        let message = "the token has ended, so that there is nothing to hand over: create a new one";
        return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("id"));
    }
    if let Some(successor) = stored.value.successor {
        let message = if rotation.compromised {
            format!("the token was rotated before: revoke it, for its successor {successor} is in place")
        } else {
            format!("the token was rotated before: rotate its successor {successor}")
        };
        return Err(Failure::new(ErrorKind::FailedPrecondition, message).with_field("id"));
    }
    let text = generate()?;
    let mut next = stored.value.clone();
    next.token.id = text.id();
    next.token.verifier = text.verifier(&draft.state().settings.value.pepper);
    next.token.expires_at = rotation.life.end(now);
    next.noticed = None;
    next.predecessor = Some(id);
    let mut old = stored.value.clone();
    old.successor = Some(text.id());
    let mut reason = rotation.reason.clone();
    if rotation.ends_old() {
        // Revoked rather than expired: a tombstone holds whatever a clock says.
        reason = rotation.revoked_because();
        old.revoked = Some(Revocation { at: now, by: draft.actor().to_owned(), reason: reason.clone() });
    } else {
        let end = now.plus(rotation.overlap);
        old.token.expires_at = Some(old.token.expires_at.map_or(end, |earlier| earlier.min(end)));
    }
    let old_meta = put(draft, recorder, &old, Some(&stored.value), &reason);
    let meta = put(draft, recorder, &next, None, &reason);
    Ok(v1::RotateTokenResponse {
        token: Some(view::token(&next, &meta)),
        token_text: text.expose().to_owned(),
        predecessor: Some(view::token(&old, &old_meta)),
        revision: meta.revision.0,
        edges: vec![],
    })
}
