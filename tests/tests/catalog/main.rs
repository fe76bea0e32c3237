//! What an edge knows of a database, on a real server: the rights of the
//! database role and what the policy makes of them, and facts that are loaded
//! once, follow the schema and outlive a restart.

#![expect(clippy::unwrap_used, reason = "what the tests share fails like a test")]

#[path = "../edge_pg/bench.rs"]
#[expect(dead_code, reason = "the bench of edge_pg, of which these tests need a part")]
mod bench;
mod changes;
mod loads;
mod policy;
mod rights;
