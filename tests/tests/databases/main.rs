//! Databases as they are found: down, full, with a bad certificate, behind
//! PgBouncer, and with every type. A real edge over real sockets in front of a
//! real PostgreSQL; what a model is told and what an operator's probe says.

#![expect(clippy::unwrap_used, reason = "what the tests share fails like a test")]

mod bench;
mod bouncer;
mod certificates;
mod logins;
mod pgbouncer;
mod servers;
mod types;
