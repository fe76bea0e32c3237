//! Tokens that were revoked after the backup from which this store was
//! restored. Edges that lived through it remember them and refuse them; here
//! they are revoked again, so that edges which join later refuse them too.

use nla_domain::id::{EdgeId, TokenId};
use nla_proto::v1;

use super::Publisher;
use crate::store::{Draft, Revocation};

/// Ids of one message; what an edge may send holds no more.
const MAX_IDS: usize = 4_000;

impl Publisher {
    /// Takes an edge's word for what it saw revoked in another epoch. That can
    /// only end tokens, and only in a store that was restored. What cannot be
    /// committed is sent again with the edge's next state.
    pub(super) async fn tombstones_held(&self, edge: &EdgeId, held: v1::TombstonesHeld) {
        let state = self.store.state();
        if state.restored_at.is_none() || held.epoch.is_empty() || held.epoch == state.epoch.0 {
            tracing::warn!(%edge, "the edge remembers revoked tokens that are live here, and the store was not restored: ignored");
            return;
        }
        if held.ids.len() > MAX_IDS {
            tracing::warn!(%edge, ids = held.ids.len(), most = MAX_IDS, "too many revoked tokens in one message: the first are taken");
        }
        let live = |id: &TokenId| state.tokens.get(id).is_some_and(|token| token.value.revoked.is_none());
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
