//! Tokens that were revoked after the backup from which this store was
//! restored. Edges that lived through it remember them and refuse them; here
//! they are revoked again, so that edges which join later refuse them too.

use std::time::Duration;

use nla_domain::{
    clock::Timestamp,
    id::{EdgeId, TokenId},
};
use nla_proto::v1;

use super::Publisher;
use crate::store::{Draft, Revocation};

/// Ids of one message; what an edge may send holds no more.
const MAX_IDS: usize = 4_000;
/// An edge is believed for this long after the restore: the staleness of most
/// is over by then, and its word is not needed for ever.
const BELIEVED: Duration = Duration::from_secs(7 * 24 * 3600);

impl Publisher {
    /// Takes an edge's word for what it saw revoked in the epoch that was
    /// backed up. That can only end tokens that were there before the restore,
    /// and only in the days after it. What cannot be committed is sent again
    /// with the edge's next state. `ignored` says whether the session's log
    /// names it already that something was not believed.
    pub(super) async fn tombstones_held(
        &self,
        edge: &EdgeId,
        held: v1::TombstonesHeld,
        now: Timestamp,
        ignored: &mut bool,
    ) {
        let state = self.store.state();
        let restored_at = state.restored_at.filter(|at| {
            let former = state.former_epoch.is_some_and(|former| held.epoch == former.0);
            former && now <= at.plus(BELIEVED)
        });
        let Some(restored_at) = restored_at else {
            if !std::mem::replace(ignored, true) {
                tracing::warn!(%edge, "the edge remembers revoked tokens that are live here, and not from the store that was restored here within a week: ignored");
            }
            return;
        };
        if held.ids.len() > MAX_IDS {
            tracing::warn!(%edge, ids = held.ids.len(), most = MAX_IDS, "too many revoked tokens in one message: the first are taken");
        }
        let live = |id: &TokenId| {
            let token = state.tokens.get(id);
            token.is_some_and(|token| token.value.revoked.is_none() && token.meta.created_at <= restored_at)
        };
        let ids: Vec<TokenId> = held.ids.iter().take(MAX_IDS).filter_map(|id| id.parse().ok()).filter(live).collect();
        if ids.is_empty() {
            return;
        }
        let actor = format!("edge/{edge}");
        let reason = format!("revoked after the backup, reported by {edge}");
        let count = ids.len();
        let change = move |draft: &mut Draft<'_>| {
            for id in &ids {
                revoke(draft, id, &reason);
            }
            Ok(())
        };
        match self.store.mutate(&actor, change).await {
            Ok(()) => {
                tracing::warn!(%edge, tokens = count, "tokens that were revoked after the backup are revoked again");
            }
            Err(failure) => {
                let what = "tokens that were revoked after the backup could not be revoked again";
                tracing::error!(%edge, tokens = count, %failure, what);
            }
        }
    }
}

fn revoke(draft: &mut Draft<'_>, id: &TokenId, reason: &str) {
    let Some(stored) = draft.state().tokens.get(id).cloned() else { return };
    if stored.value.revoked.is_some() {
        return;
    }
    let mut record = stored.value.clone();
    let revocation = Revocation { at: draft.now(), by: draft.actor().to_owned(), reason: reason.to_owned() };
    record.revoked = Some(revocation);
    draft.event(v1::AdminEvent {
        actor: draft.actor().to_owned(),
        action: "revoke-after-restore".to_owned(),
        object: format!("token/{id}"),
        outcome: v1::Outcome::Succeeded.into(),
        reason: reason.to_owned(),
        before_json: serde_json::json!({ "revoked": false }).to_string(),
        after_json: serde_json::json!({ "revoked": true }).to_string(),
        ..Default::default()
    });
    draft.put(record);
}
