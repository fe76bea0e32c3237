//! One call from its first gate to its audit event. Made from an [`Admitted`]
//! by `tools`; the gates write into it what they learn.
//! Invariants: a call ends in exactly one event, also when it is dropped half
//! way; an answer is handed out only together with the proof that it was
//! recorded; a call whose token has ended or whose client has gone stops.

use std::{future::Future, sync::Arc};

use nla_domain::{
    audit::{Outcome, SqlRecord},
    error::ErrorKind,
    id::TokenId,
    policy::Grant,
    snapshot::Snapshot,
    token::Token,
};
use nla_guard::CheckedSql;

use super::{Admitted, Failure, Pipeline};
use crate::{
    audit::{AuditSlot, Recorded},
    mcp::call::Context,
    pg::{Cells, Executed, RowSet},
};

/// Relations in one event; a statement of 32 KiB can name thousands.
const MOST_RELATIONS: usize = 100;

/// A call under way.
#[derive(Debug)]
pub struct Call<'a> {
    admitted: &'a Admitted,
    /// What decides: the state that was held when the call began, and the
    /// token as it is there.
    snapshot: Arc<Snapshot>,
    token: Arc<Token>,
    edge: &'a str,
    context: &'a Context,
    slot: AuditSlot,
}

/// An answer, or a failure told as one, that was recorded.
#[derive(Debug)]
pub struct Reply<T> {
    answer: T,
    _recorded: Recorded,
}

impl<T> Reply<T> {
    /// The answer may leave.
    pub fn into_inner(self) -> T {
        self.answer
    }
}

impl Pipeline {
    /// Does `work` as a call of `action` and records how it ended. `work` is
    /// dropped when the client goes, the deadline passes or the token ends, and
    /// that cancels what it runs.
    ///
    /// # Errors
    /// [`Failure`], recorded as well.
    pub async fn call<T>(
        &self,
        admitted: &Admitted,
        action: &str,
        context: &Context,
        work: impl AsyncFnOnce(&mut Call<'_>) -> Result<T, Failure>,
    ) -> Reply<Result<T, Failure>> {
        let mut call = match Call::begin(self, admitted, action, context) {
            Ok(call) => call,
            Err(ended) => {
                let (slot, failure) = *ended;
                return Reply { _recorded: slot.finish(), answer: Err(failure) };
            }
        };
        let answer = {
            let ended = admitted.caller.registration.ended.clone();
            // On the heap: every layer above would carry its size otherwise.
            let work = Box::pin(work(&mut call));
            let answer = until(ended, context, work).await;
            answer.and_then(|answer| if self.still_stands(admitted.caller.token.id) { Ok(answer) } else { Err(cut()) })
        };
        if let Err(failure) = &answer {
            call.note_failure(failure);
        } else {
            let record = call.slot.record_mut();
            record.outcome = Outcome::Succeeded;
            record.reason = None;
        }
        Reply { _recorded: call.slot.finish(), answer }
    }
}

async fn until<T>(
    ended: tokio_util::sync::CancellationToken,
    context: &Context,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        // A token that has ended gets no answer, however close it is.
        biased;
        () = ended.cancelled() => Err(cut()),
        () = context.cancel.cancelled() => Err(Failure::cancelled("the call was cancelled: its client has gone or its time was over")),
        answer = work => answer,
    }
}

fn cut() -> Failure {
    Failure::cancelled("the token was revoked or has expired while the call ran")
}

impl<'a> Call<'a> {
    fn begin(
        pipeline: &'a Pipeline,
        admitted: &'a Admitted,
        action: &str,
        context: &'a Context,
    ) -> Result<Self, Box<(AuditSlot, Failure)>> {
        let mut slot = match admitted.take_slot() {
            Some(slot) => slot,
            // One message is one call; a second one under the same admission
            // would have passed no limit.
            None => match pipeline.audit.reserve() {
                Ok(slot) => {
                    let failure = Failure::new(ErrorKind::Internal, "the call was already answered");
                    return Err(Box::new((slot, failure)));
                }
                Err(_) => unreachable!("mcp makes one call of each admission"),
            },
        };
        let record = slot.record_mut();
        action.clone_into(&mut record.action);
        record.request_id = context.request_id.to_string();
        record.caller.client_name = context.client_name.as_deref().map(str::to_owned);
        // A revision may have been acknowledged since the caller was admitted.
        let Some((snapshot, token)) = pipeline.held(admitted.caller.token.id) else {
            let failure = cut();
            record.outcome = failure.outcome();
            record.reason = Some(failure.kind.reason());
            return Err(Box::new((slot, failure)));
        };
        Ok(Self { admitted, snapshot, token, edge: pipeline.config.edge.as_str(), context, slot })
    }

    /// The caller's token.
    pub fn token(&self) -> TokenId {
        self.admitted.caller.token.id
    }

    /// What decisions about the caller are made from.
    pub fn policy(&self) -> (&Snapshot, &Token) {
        (&self.snapshot, &self.token)
    }

    /// Edge, token and request, as far as PostgreSQL has room: the request's id
    /// ends in its random part, the edge's name may be cut.
    pub(super) fn application_name(&self) -> String {
        const EDGE_CHARS: usize = 12;
        let edge = &self.edge[..self.edge.len().min(EDGE_CHARS)];
        let mut buffer = uuid::Uuid::encode_buffer();
        let request = self.context.request_id.simple().encode_lower(&mut buffer);
        format!("nla/{edge}/{}/{request}", self.token())
    }

    pub(super) fn note_grant(&mut self, grant: &Grant) {
        let record = self.slot.record_mut();
        record.database = Some(grant.database.name.clone());
        record.caller.role = Some(grant.role.name.clone());
    }

    pub(super) fn note_sql(&mut self, sql: SqlRecord) {
        self.slot.record_mut().sql = Some(sql);
    }

    pub(super) fn note_relations(&mut self, checked: &CheckedSql) {
        self.slot.record_mut().relations =
            checked.relations().iter().take(MOST_RELATIONS).map(ToString::to_string).collect();
    }

    pub(super) fn note_rows(&mut self, executed: &Executed, rows: &mut RowSet) {
        if let Some(cut) = executed.cut {
            rows.set_cut(cut);
        }
        let record = self.slot.record_mut();
        record.rows = rows.row_count().into();
        record.bytes = rows.value_bytes();
        record.truncated = rows.cut().is_some();
        record.database_duration += executed.duration;
    }

    pub(super) fn note_catalog(&mut self, executed: &Executed, cells: &mut Cells) {
        cells.cut |= executed.cut.is_some();
        let record = self.slot.record_mut();
        record.rows += u64::try_from(cells.rows.len()).unwrap_or(u64::MAX);
        record.truncated |= cells.cut;
        record.database_duration += executed.duration;
    }

    fn note_failure(&mut self, failure: &Failure) {
        let record = self.slot.record_mut();
        record.outcome = failure.outcome();
        record.reason = Some(failure.kind.reason());
        record.rule = failure.rule.map(str::to_owned);
        record.sqlstate = failure.sqlstate.clone();
    }
}
