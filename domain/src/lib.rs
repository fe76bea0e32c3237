//! Types and decisions that every part of NLA shares: identifiers, tokens,
//! roles, databases, the edge's snapshot, the policy decision, audit events and
//! error kinds. No input or output happens here, and nothing here is async, so
//! that each rule can be tested as a table.

pub mod audit;
pub mod clock;
pub mod credential;
pub mod database;
pub mod error;
pub mod hex;
pub mod id;
pub mod join;
pub mod label;
pub mod operator;
pub mod pepper;
pub mod policy;
pub mod role;
pub mod secret;
pub mod snapshot;
pub mod token;
