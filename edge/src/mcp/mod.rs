//! The Model Context Protocol over HTTP: one endpoint, no sessions, two eras.
//!
//! `router` mounts it; a `Handler` does the work. What happens to a request, in order:
//! `serve` (method, origin, admission, body) -> `message` (JSON-RPC) -> `headers` (header against body)
//! -> `dispatch` (the method) -> `running` (deadline, cancellation, panic) -> `encode` (JSON or events).
//! Invariant: nothing of one request survives into another; any edge can serve any message.

pub mod call;
pub mod error;
pub mod handler;
pub mod headers;
pub mod notify;
pub mod outcome;
pub mod version;
