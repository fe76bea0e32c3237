//! The whole system over real sockets: PostgreSQL, a control plane, two edges
//! and an MCP client. Each file is one promise; each test starts a system of
//! its own, so that none sees what another has done to it.

#![expect(clippy::unwrap_used, reason = "what the tests share fails like a test")]

mod answers;
mod calls;
mod caps;
mod clocks;
mod drain;
mod edges;
mod identities;
mod quarantine;
mod refused;
mod restarts;
mod revocation;
mod role;
mod schema;
mod stale;
mod tokens;
