//! The end of a token, on all edges at once.

use std::sync::Arc;

use nla_domain::id::TokenId;
use nla_proto::{failure::Failure, v1};

use super::{
    super::{change::Recorder, view},
    find, put,
};
use crate::store::{Draft, Revocation};

pub(super) fn revoke(
    draft: &mut Draft<'_>,
    recorder: &Recorder,
    id: TokenId,
    reason: String,
) -> Result<v1::RevokeTokenResponse, Failure> {
    let stored = Arc::clone(find(draft.state(), id)?);
    let mut record = stored.value.clone();
    if record.revoked.is_some() {
        // Revoking twice is what a person in a hurry does: the answer is the same.
        let token = Some(view::token(&record, &stored.meta));
        return Ok(v1::RevokeTokenResponse { token, revision: stored.meta.revision.0, edges: vec![] });
    }
    record.revoked = Some(Revocation { at: draft.now(), by: draft.actor().to_owned(), reason: reason.clone() });
    let meta = put(draft, recorder, &record, Some(&stored.value), &reason);
    Ok(v1::RevokeTokenResponse { token: Some(view::token(&record, &meta)), revision: meta.revision.0, edges: vec![] })
}
