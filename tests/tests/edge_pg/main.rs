//! The edge's way to PostgreSQL, on a real server: values, limits, ends,
//! containment and TLS. It calls the tools in process; the snapshot is made
//! here, without a control plane.

#![expect(clippy::unwrap_used, reason = "what the tests share fails like a test")]

mod bench;
mod between;
mod containment;
mod ends;
mod limits;
mod login;
mod passwords;
mod replaced;
mod session;
mod tools;
mod values;
