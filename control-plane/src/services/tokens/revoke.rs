//! The end of tokens, on all edges at once: those that are named, or all that
//! match a filter, in one change.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use nla_domain::{
    error::ErrorKind,
    id::{Revision, TokenId},
    token::Staleness,
};
use nla_proto::{failure::Failure, v1};
use tokio::time::Instant;

use super::{
    super::{
        Context,
        change::{Change, Recorder, parse, text},
        receipts::MAX_WAIT,
        view,
    },
    bounded, find, put,
    selection::Selection,
};
use crate::{
    store::{Draft, Revocation},
    stream::SyncContext,
};

/// Connected edges answer in milliseconds; one that does not is named.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// Tokens in one change, which has to fit into one record of the log. `nlactl`
/// makes several changes of more.
const MAX_TOKENS: usize = 1_000;

enum Selected {
    Ids(BTreeSet<TokenId>),
    Matching(Selection),
}

pub(super) async fn answer(
    context: &Context,
    change: Change,
    request: v1::RevokeTokenRequest,
) -> Result<v1::RevokeTokenResponse, Failure> {
    let selected = Selected::read(&request)?;
    text("reason", &request.reason, 0, 500)?;
    let wait = bounded("wait", request.wait.as_ref(), DEFAULT_WAIT, Duration::ZERO, MAX_WAIT)?;
    let sync = Arc::clone(&context.sync);
    let revoked = change
        .commit(&context.store, move |draft, recorder| revoke(draft, recorder, &sync, &selected, &request.reason))
        .await?;
    let state = context.store.state();
    let ids = revoked.ids.iter().filter_map(|id| id.parse::<TokenId>().ok());
    let records: Vec<_> = ids.filter_map(|id| state.tokens.get(&id)).collect();
    let tokens = records.iter().map(|stored| view::token(&stored.value, &stored.meta)).collect();
    if revoked.revision == 0 {
        return Ok(v1::RevokeTokenResponse { tokens, revision: 0, receipt: None });
    }
    // The longest bound of those that ended.
    let strict = records.iter().all(|stored| stored.value.token.staleness == Staleness::Strict);
    let class = if strict { Staleness::Strict } else { Staleness::Standard };
    let receipt = context.sync.receipt(Revision(revoked.revision), class, Instant::now() + wait).await;
    Ok(v1::RevokeTokenResponse { tokens, revision: revoked.revision, receipt: Some(receipt) })
}

impl Selected {
    fn read(request: &v1::RevokeTokenRequest) -> Result<Self, Failure> {
        match (&request.ids[..], &request.filter) {
            ([], Some(filter)) => Ok(Self::Matching(Selection::read_some(filter.clone())?)),
            ([], None) => Err(Failure::invalid("ids", "name the tokens to revoke, or give a filter")),
            (_, Some(_)) => Err(Failure::invalid("filter", "give ids or a filter, not both")),
            (ids, None) if ids.len() > MAX_TOKENS => Err(too_many("ids")),
            (ids, None) => {
                let parsed = ids.iter().enumerate().map(|(at, id)| parse(&format!("ids[{at}]"), id));
                Ok(Self::Ids(parsed.collect::<Result<_, _>>()?))
            }
        }
    }

    fn ids(&self, draft: &Draft<'_>, sync: &SyncContext) -> Result<Vec<TokenId>, Failure> {
        match self {
            Self::Ids(ids) => Ok(ids.iter().copied().collect()),
            Self::Matching(selection) => {
                let found = selection.matching(draft.state(), &sync.uses, draft.now(), false);
                let found = found.map(|stored| stored.value.token.id);
                let ids: Vec<TokenId> = found.take(MAX_TOKENS + 1).collect();
                if ids.len() > MAX_TOKENS { Err(too_many("filter")) } else { Ok(ids) }
            }
        }
    }
}

fn too_many(field: &str) -> Failure {
    let message = format!("more than {MAX_TOKENS} tokens cannot end in one change: name fewer at a time");
    Failure::new(ErrorKind::InvalidArgument, message).with_field(field)
}

fn revoke(
    draft: &mut Draft<'_>,
    recorder: &Recorder,
    sync: &SyncContext,
    selected: &Selected,
    reason: &str,
) -> Result<v1::RevokedTokens, Failure> {
    let ids = selected.ids(draft, sync)?;
    let mut newest = Revision(0);
    for id in &ids {
        let stored = Arc::clone(find(draft.state(), *id)?);
        let mut record = stored.value.clone();
        if record.revoked.is_some() {
            // Revoking twice is what a person in a hurry does: the answer is the same.
            newest = newest.max(stored.meta.revision);
            continue;
        }
        record.revoked = Some(Revocation { at: draft.now(), by: draft.actor().to_owned(), reason: reason.to_owned() });
        let meta = put(draft, recorder, &record, Some(&stored.value), reason);
        newest = newest.max(meta.revision);
    }
    Ok(v1::RevokedTokens { ids: ids.iter().map(ToString::to_string).collect(), revision: newest.0 })
}
