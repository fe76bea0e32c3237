//! The guard against a real server: what its lists say against what the server's
//! catalog says, and what it accepts run as a superuser outside of any read-only
//! transaction, after which nothing may have changed.
//!
//! `GUARD_PG_SEED` and `GUARD_PG_STATEMENTS` make other and more statements.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "what the tests share fails and tells like a test")]

mod bench;
mod calls;
mod generated;
mod grammar;
mod lists;
mod literals;
mod shown;
