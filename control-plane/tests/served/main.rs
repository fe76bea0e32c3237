//! A whole control plane in process, over real mTLS on loopback, with a real
//! store: who may call what, what changes do, and what edges are told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod authorities;
mod authorization;
mod backups;
mod certificates;
mod drain;
mod enrolment;
mod garbage;
mod greedy;
mod keys;
mod objects;
mod plane;
mod program;
mod quarantine;
mod receipts;
mod renewal;
mod stream;
mod tokens_life;
mod tokens_notices;
mod tokens_uses;
