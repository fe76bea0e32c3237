//! The Model Context Protocol over HTTP: one endpoint, no sessions, two eras.
//!
//! `router` mounts it; a `Handler` does the work. What happens to a request, in order:
//! `serve` (method, origin, admission, body) -> `message` (JSON-RPC) -> `prepare` (version, `headers`,
//! parameters) -> `dispatch` (the method) inside `running` (deadline, cancellation, panic) -> `encode`
//! -> one JSON answer, or `stream` when the call notifies.
//! Invariant: nothing of one request survives into another; any edge can serve any message.

mod batch;
pub mod call;
pub mod delivery;
mod dispatch;
mod encode;
pub mod error;
pub mod handler;
pub mod headers;
mod message;
pub mod notify;
pub mod options;
pub mod outcome;
mod params;
mod prepare;
mod running;
mod serve;
mod stream;
mod strict;
#[cfg(test)]
mod tests;
pub mod version;

pub use serve::router;
