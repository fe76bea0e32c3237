//! What the control plane does by itself, without a request.

mod expiry;

pub(crate) use expiry::Expiry;
