//! Gate 2: who is calling, by the bearer token in `Authorization` alone; a token
//! in the URL would end up in logs. Called by [`super::Pipeline::admit`].
//! Invariant: the request is registered under its token before the snapshot is
//! read, so that a revocation that comes in between cancels it.

use std::sync::Arc;

use http::{header::AUTHORIZATION, request::Parts};
use nla_domain::{
    policy,
    snapshot::Snapshot,
    token::{Token, TokenText},
};

use super::{Peer, Pipeline, running::Registration, turned_away::Why};

/// A caller whose token was proven.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) peer: Peer,
    pub(super) token: Arc<Token>,
    /// The state that it was proven by. A call that begins later is decided by
    /// the one that is held then.
    pub(super) snapshot: Arc<Snapshot>,
    /// Shared with the answer, which counts as running until it has left.
    pub(super) registration: Arc<Registration>,
}

impl Caller {
    pub(super) fn authenticate(pipeline: &Pipeline, peer: Peer, parts: &Parts) -> Result<Self, Why> {
        let presented = bearer(parts, peer)?;
        let registration = Arc::new(pipeline.running.register(presented.id()));
        let snapshot = pipeline.snapshots.current().ok_or(Why::NoSnapshot { peer })?;
        let age = pipeline.snapshots.age();
        let token = policy::authenticate(&snapshot, &presented, peer.address, pipeline.config.clock.now(), age)
            .map_err(|failure| Why::NotAuthenticated { peer, token: presented.id(), failure })?;
        Ok(Self { peer, token, snapshot, registration })
    }
}

/// RFC 6750, section 2.1.
fn bearer(parts: &Parts, peer: Peer) -> Result<TokenText, Why> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Err(Why::NoToken { peer }) };
    if values.next().is_some() {
        return Err(Why::Malformed { peer });
    }
    let text = value.to_str().map_err(|_| Why::Malformed { peer })?;
    let Some((scheme, token)) = text.split_once(' ') else { return Err(Why::Malformed { peer }) };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Why::NoToken { peer });
    }
    TokenText::parse(token.trim()).map_err(|_| Why::Malformed { peer })
}
