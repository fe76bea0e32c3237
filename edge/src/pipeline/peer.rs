//! Gate 1: where a request comes from. The listener puts the address into the
//! request; the address limiter stands before it.

use std::net::IpAddr;

use http::request::Parts;

use super::turned_away::Why;
use crate::listener::address::ClientAddress;

/// The other end of the connection, or the client that a trusted proxy names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
}

impl Peer {
    pub(super) fn of(parts: &Parts) -> Result<Self, Why> {
        // Without an address the token's address ranges cannot be checked.
        let ClientAddress(address) = *parts.extensions.get::<ClientAddress>().ok_or(Why::NoAddress)?;
        Ok(Self { address })
    }
}
