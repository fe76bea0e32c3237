//! Gate 1: where a request comes from. The listener puts the address into the
//! request; the address limiter stands before it.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::request::Parts;

use super::turned_away::Why;

/// The other end of the connection. A listener behind a trusted proxy inserts
/// it with the address that the proxy names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
}

impl Peer {
    pub(super) fn of(parts: &Parts) -> Result<Self, Why> {
        if let Some(peer) = parts.extensions.get::<Self>() {
            return Ok(*peer);
        }
        // Without an address the token's address ranges cannot be checked.
        let ConnectInfo(address) = parts.extensions.get::<ConnectInfo<SocketAddr>>().ok_or(Why::NoAddress)?;
        Ok(Self { address: address.ip() })
    }
}
