//! The edge of NLA: it serves MCP over HTTPS, decides by the snapshot that the
//! control plane streams to it, runs statements that only read, and records
//! every call. `app` puts the parts together; `pipeline` is the way of a request.

pub mod app;
pub mod audit;
pub mod clock;
pub mod config;
#[cfg(test)]
mod fixture;
pub mod identity;
pub mod listener;
pub mod mcp;
pub mod pg;
pub mod pipeline;
pub mod retry;
pub mod snapshot;
pub mod sync;
pub mod tools;
