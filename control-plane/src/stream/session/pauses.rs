//! Quarantine and drain as one edge hears of them: at once, before the state of a
//! new stream, and only what it was not told before.

use std::sync::Arc;

use nla_proto::v1::{self, control_message::Message as ToEdge};

use super::{End, following::Following};
use crate::{store::Pause, stream::Published};

impl Following<'_> {
    /// The state as this edge may have it.
    pub(super) fn of_kind(&self, state: &Arc<Published>) -> Arc<Published> {
        if self.quarantine.is_some() { state.bare() } else { Arc::clone(state) }
    }

    /// Tells the edge of quarantine and drain when it was told otherwise before.
    /// The end of quarantine it hears after the whole state, so that no call
    /// meets the bare one.
    pub(super) async fn tell_pauses(&mut self) -> Result<(), End> {
        let edge = self.session.standing()?;
        let reason = |pause: &Option<Pause>| pause.as_ref().map(|pause| pause.reason.clone());
        let (quarantine, draining) = (reason(&edge.value.quarantine), reason(&edge.value.draining));
        if quarantine.is_some() != self.quarantine.is_some() {
            self.before = self.held.take().map(|held| held.digest);
            self.release_due = quarantine.is_none();
        }
        if quarantine != self.quarantine {
            self.quarantine.clone_from(&quarantine);
            if let Some(reason) = quarantine {
                self.send_message(ToEdge::Quarantine(v1::Quarantine { reason })).await?;
            }
        }
        self.tell_drain(draining).await
    }

    /// Whether the edge is in quarantine and was not told so; it has to be one that
    /// may be told anything.
    pub(super) fn quarantine_begun(&self) -> Result<bool, End> {
        let edge = self.session.standing()?;
        Ok(self.quarantine.is_none() && edge.value.quarantine.is_some())
    }

    async fn tell_drain(&mut self, draining: Option<String>) -> Result<(), End> {
        if draining != self.draining {
            self.draining.clone_from(&draining);
            let message = match draining {
                Some(reason) => ToEdge::Drain(v1::Drain { reason }),
                None => ToEdge::Resume(v1::Resume {}),
            };
            self.send_message(message).await?;
        }
        Ok(())
    }
}
