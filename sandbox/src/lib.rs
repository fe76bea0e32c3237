//! A whole NLA on one machine, for the demo and the tests: a private PostgreSQL
//! with sample data, a control plane, edges and a client. Nothing in the other
//! programs depends on it.

pub mod postgres;
pub mod sample;
